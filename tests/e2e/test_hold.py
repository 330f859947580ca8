"""`dialtone down` with containers alive: the keeper stays for their output and their ends, until `up` or their last."""
import json
import os
import re
import signal
import subprocess
import time

import pytest
from lab import APPS, DIALTONE, Platform, connect_in, run, wait_for

PARTS = ("keeper", "server", "agent", "router")


@pytest.fixture
def lab():
    p = Platform("hold")
    try:
        p.up()
        yield p
    finally:
        p.close()


@pytest.fixture
def chatter(tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "chatter", APPS / "chatter.c"], check=True)

    def push(platform, name, words, env=""):
        (tmp_path / "dialtone.yaml").write_text(
            f"name: {name}\nruntime: none\nroutes: []\n{env}processes:\n  worker:\n    command: ./chatter {words}\n    memory: 16M\n")
        platform.push(tmp_path)
        return platform.instances(name)[0]["instance"]
    return push


def living(platform):
    return {part for part in PARTS if platform.pid(part)}


def init_pid(platform, instance):
    return int(re.match(r"pid (\d+)", (platform.data / "node" / "instances" / instance / "keeper").read_text())[1])


def numbers(platform, app):
    said = platform.cli("logs", app, "--tail", "1000000", "-o", "json").stdout
    records = [json.loads(line) for line in said.splitlines()]
    assert all(r["type"] == "log" for r in records), [r for r in records if r["type"] != "log"]
    found = [re.fullmatch(r"number (\d+) x*", r["text"]) for r in records]
    return [int(m[1]) for m in found if m]


def all_in_order(platform, app, least):
    wait_for("more lines", lambda: len(numbers(platform, app)) >= least)
    seen = numbers(platform, app)
    assert seen == list(range(len(seen)))


def written(platform, instance):
    return sum(f.stat().st_size for f in (platform.data / "node" / "instances" / instance / "log").glob("out.????????"))


def test_nothing_is_lost_and_nobody_waits_while_it_is_down(lab, chatter):
    count = 200 * 14
    loud = chatter(lab, "loud", f"200 {count} 3000")
    keeper = lab.pid("keeper")
    said = lab.down().stdout
    assert said.startswith("The platform is stopped. 1 instance runs on; ") and f"process {keeper}" in said
    assert "'dialtone down --apps" in said and said.count("\n") == 1
    assert living(lab) == {"keeper"} and lab.pid("keeper") == keeper and not lab.pid("up")
    with pytest.raises(ConnectionRefusedError):
        connect_in(lab.netns, "127.0.0.1", 8080)
    before = written(lab, loud)
    time.sleep(5)
    assert written(lab, loud) - before > 2 << 20
    again = lab.down().stdout
    assert again.startswith("The platform is down already. 1 instance runs on; ") and lab.pid("keeper") == keeper
    assert "1 instance was running" in lab.up().stdout
    assert lab.pid("keeper") == keeper and living(lab) == set(PARTS)
    last = lambda: lab.cli("logs", "loud", "--tail", "1").stdout
    done = wait_for("the last line", lambda: re.search(r"longest write ([\d.]+) s", last()), 60)
    assert float(done[1]) < 0.9, "the application had to wait for its output"
    assert numbers(lab, "loud") == list(range(count))
    instance = lab.instances("loud")[0]
    assert instance["instance"] == loud and instance["restarts"] == 0


def test_a_crash_while_it_is_down_is_known_afterwards(lab, chatter):
    fall = chatter(lab, "fall", "10 1000000", 'env:\n  CRASH_AT: "100"\n')
    lab.down()
    assert living(lab) == {"keeper"}
    record = lab.data / "node" / "instances" / fall / "exit"
    assert not record.exists(), "it crashed before the platform was down"
    wait_for("the keeper to end with the last instance", lambda: not living(lab), 30)
    assert "status 768" in record.read_text()
    assert "not up" in lab.down().stdout
    lab.up()
    end = wait_for("the exit", lambda: lab.instances("fall")[0].get("exit"), 30)
    assert end["status"] == 3 and "giving up at 100" in end["lines"], end
    assert "number 100 " in end["lines"]


def test_a_crash_after_up_again_has_its_status(lab, chatter):
    """The keeper has stayed the parent, so it is known on every kernel."""
    app = chatter(lab, "app", "10 1000000")
    lab.down()
    lab.up()
    os.kill(init_pid(lab, app), signal.SIGKILL)
    end = wait_for("the exit", lambda: lab.instances("app")[0].get("exit"), 30)
    assert end["signal"] == 9, end


def test_a_killed_holder_is_followed_by_the_next(lab, chatter):
    app = chatter(lab, "app", "50 1000000")
    init = init_pid(lab, app)
    lab.down()
    os.kill(lab.pid("keeper"), signal.SIGKILL)
    wait_for("no keeper", lambda: not living(lab))
    assert "1 instance runs on" in lab.down().stdout  # another one holds
    assert living(lab) == {"keeper"}
    os.kill(lab.pid("keeper"), signal.SIGKILL)
    wait_for("no keeper", lambda: not living(lab))
    assert "1 instance was running" in lab.up().stdout
    assert init_pid(lab, app) == init and lab.ready("app", 1)[0]["restarts"] == 0
    all_in_order(lab, "app", 100)


@pytest.mark.parametrize("killed", [("up",), ("up", "keeper")])
def test_down_holds_also_without_a_supervisor(lab, chatter, killed):
    chatter(lab, "app", "50 1000000")
    for part in killed:
        os.kill(lab.pid(part), signal.SIGKILL)
    assert "The platform is stopped. 1 instance runs on; process" in lab.down().stdout
    assert living(lab) == {"keeper"}
    assert lab.up().returncode == 0
    all_in_order(lab, "app", 100)


def test_ctrl_c_says_what_runs_on(lab, chatter):
    chatter(lab, "app", "50 1000000")
    lab.down()
    up = subprocess.Popen(lab.inside(DIALTONE, "up", "--data", lab.data), env=lab.env, text=True, stdout=subprocess.PIPE)
    try:
        assert "1 instance was running" in up.stdout.readline()
        wait_for("all of it said", lambda: up.stdout.readline().startswith("Ctrl-C"))
        up.send_signal(signal.SIGINT)
        rest, _ = up.communicate(timeout=40)
        assert "The platform is stopped. 1 instance runs on; process" in rest
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()
    assert living(lab) == {"keeper"}


def left(lab, platform):
    """What a platform called so still has on this machine."""
    links = [line.split()[0] for line in run(*lab.inside("ip", "-br", "link")).stdout.splitlines() if line]
    mounts = [line for line in open("/proc/self/mounts").read().splitlines() if str(lab.data) in line]
    groups = run("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", f"dialtone-{platform}", check=False).stdout.split()
    processes = run("pgrep", "-f", str(lab.root), check=False).stdout.split()
    return {"links": [n for n in links if n != "lo"], "tables": run(*lab.inside("nft", "list", "tables")).stdout, "mounts": mounts,
            "groups": groups, "processes": processes, "files": list((lab.data / "run").iterdir())}


@pytest.mark.parametrize("down_before", [False, True])
def test_down_apps_leaves_nothing_but_data(lab, chatter, down_before):
    instance = chatter(lab, "app", "50 1000000")
    name = json.loads((lab.data / "platform.json").read_text())["id"]
    init = init_pid(lab, instance)
    assert run("find", "/sys/fs/cgroup", "-maxdepth", "2", "-name", f"dialtone-{name}").stdout
    if down_before:
        lab.down()
    said = lab.down("--apps").stdout
    assert "1 instance is ended." in said and ("down already" in said) == down_before
    assert not os.path.exists(f"/proc/{init}")
    assert not any(left(lab, name).values()), left(lab, name)
