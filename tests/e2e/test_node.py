"""What the node keeps, shows and mends by itself: logs of what was deleted, probe history, damaged files."""
import errno
import json
import os
import shutil
import subprocess

import pytest

from lab import APPS, DIALTONE, Load, Platform, run, wait_for


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hello")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    return folder


def push(platform, folder, name, more="", process=""):
    (folder / "dialtone.yaml").write_text(
        f"name: {name}\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 16M\n    cpu: 0.05\n{process}{more}")
    platform.push(folder)


def kept(platform, app):
    """Ids of instances of the app that the node keeps something of."""
    found = []
    for folder in (platform.data / "node" / "instances").iterdir():
        for name in ("past", "spec.json"):
            try:
                found += [folder.name] if json.loads((folder / name).read_text())["app"] == app else []
            except (OSError, ValueError):
                pass
    return found


def test_logs_go_with_the_app(platform, hello):
    push(platform, hello, "gone")
    push(platform, hello, "stays")
    for app in ("gone", "stays"):
        platform.cli("restart", app)  # leaves an instance that is over
        wait_for("an instance that is over", lambda: len(kept(platform, app)) == 2)
    platform.cli("stop", "gone")
    assert len(kept(platform, "gone")) == 2
    platform.cli("delete", "gone", "--yes")
    wait_for("the logs to go", lambda: not kept(platform, "gone"), 10)
    assert len(kept(platform, "stays")) == 2
    push(platform, hello, "gone")
    assert platform.cli("logs", "gone").stdout.count("listening") == 1
    for app in ("gone", "stays"):
        platform.cli("delete", app, "--yes")


def test_logs_go_when_the_agent_was_away(platform, hello):
    push(platform, hello, "away")
    platform.cli("stop", "away")
    assert kept(platform, "away")
    platform.cli("delete", "away", "--yes")
    platform.kill("agent")
    wait_for("the logs to go", lambda: not kept(platform, "away"), 10)


def one(platform, app):
    return platform.ready(app, 1)[0]


def damage(platform, instance, text="{\"instance\": nothing"):
    (platform.data / "node" / "instances" / instance / "spec.json").write_text(text)


def test_a_damaged_assignment_is_mended(platform, hello):
    push(platform, hello, "mended")
    before = one(platform, "mended")
    pid = platform.get("mended")[2]
    damage(platform, before["instance"])
    with Load(platform, "mended", connections=2):
        platform.kill("agent")
        wait_for("the assignment", lambda: '"mended"' in
                 (platform.data / "node" / "instances" / before["instance"] / "spec.json").read_text(), 10)
    after = one(platform, "mended")
    assert after["instance"] == before["instance"] and after["restarts"] == 0 and platform.get("mended")[2] == pid
    assert not platform.json("nodes")["items"][0].get("problems")
    platform.get("mended", "/exit/3")  # it is managed as before
    wait_for("a restart", lambda: one(platform, "mended")["restarts"] == 1)
    assert platform.get("mended")[0] == 200
    damage(platform, before["instance"], "")
    platform.cli("stop", "mended")
    platform.cli("delete", "mended", "--yes")


def test_what_cannot_be_read_is_left_alone_and_shown(platform, hello):
    folder = platform.data / "node" / "instances" / "stranger"
    (folder / "bundle").mkdir(parents=True)
    damage(platform, "stranger")
    platform.kill("agent")
    problem = wait_for("a problem", lambda: platform.json("nodes")["items"][0].get("problems"))[0]
    assert "stranger" in problem and "spec.json" in problem and f"remove {folder}" in problem
    assert "stranger" in platform.cli("nodes").stdout
    assert (folder / "bundle").exists()
    shutil.rmtree(folder)
    wait_for("the problem to go", lambda: not platform.json("nodes")["items"][0].get("problems"))


def test_output_does_not_tell_where_it_goes(platform, hello):
    push(platform, hello, "secret")
    said = platform.cli("exec", "secret", "--", "./hello", "links").stdout
    assert said.split() == ["/out.fifo", "/err.fifo"], said
    platform.cli("delete", "secret", "--yes")


def test_what_crun_says_is_the_cause_and_not_in_the_log(platform, hello):
    push(platform, hello, "intact")
    init = next((platform.data / "node" / "base").rglob("init"))
    init.rename(init.with_name("away"))
    platform.get("intact", "/exit/3")
    why = wait_for("the cause", lambda: (lambda said: said if "/.dialtone/init" in said else None)(platform.cli("why", "intact").stdout))
    assert "crun create" in why, why
    init.with_name("away").rename(init)
    platform.ready("intact", 1)
    assert {r["text"] for r in map(json.loads, platform.cli("logs", "intact", "-o", "json").stdout.splitlines())} == {"listening on port 8080"}
    platform.cli("delete", "intact", "--yes")


@pytest.fixture()
def small_disk():
    """A platform whose data is on a small disk of its own."""
    p = Platform("full")
    image = p.root / "disk"
    run("truncate", "-s", "200M", image)
    run("mkfs.ext4", "-q", image)
    p.data.mkdir()
    run("mount", "-o", "loop", image, p.data)
    try:
        p.up()
        yield p
    finally:
        p.cli("down", "--data", p.data, "--apps", check=False)
        run("umount", p.data, check=False)
        p.close()


@pytest.fixture()
def without_mkfs():
    """A platform whose processes find no mkfs.ext4, which is there for everybody else."""
    p = Platform("nomkfs")
    plain = p.inside
    p.inside = lambda *command: ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /sbin/mkfs.ext4 && exec "$@"', "sh",
                                 *plain(*command)]
    try:
        p.up()
        p.inside = plain
        yield p
    finally:
        p.inside = plain
        p.close()


def test_scratch_in_memory_is_told(without_mkfs):
    """By what the agent found when it started: the machine may have been mended since."""
    nodes = wait_for("the node's report", lambda: [n for n in without_mkfs.json("nodes")["items"] if n["problems"]])
    assert "scratch of instances is in memory" in nodes[0]["problems"][0] and "e2fsprogs" in nodes[0]["problems"][0], nodes
    assert "dialtone down && dialtone up" in without_mkfs.cli("nodes").stdout
    item = [i for i in without_mkfs.json("doctor")["items"] if i["what"] == "scratch"]
    assert len(item) == 1 and item[0]["state"] == "warning" and "in memory" in item[0]["detail"], item
    assert "e2fsprogs" in item[0]["mend"] and "dialtone down && dialtone up" in item[0]["mend"], item


def test_scratch_on_disk_is_no_problem(platform):
    item = [i for i in platform.json("doctor", "--data", platform.data)["items"] if i["what"] == "scratch"]
    assert [i["state"] for i in item] == ["ok"], item
    assert platform.json("nodes")["items"][0]["problems"] == []


def fill(folder):
    """Takes all room, the last block too."""
    for size in (1 << 20, 4096):
        for n in range(1000):
            try:
                (folder / f"ballast.{size}.{n}").write_bytes(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                break


def test_a_crash_on_a_full_disk_restarts(small_disk, hello):
    push(small_disk, hello, "full", process="    disk: 10M\n")
    fill(small_disk.data)
    for crashes in (1, 2):
        small_disk.get("full", "/exit/3")
        wait_for("a restart", lambda: [i for i in small_disk.instances("full") if (i["restarts"], i["state"]) == (crashes, "ready")])
        assert small_disk.get("full")[0] == 200
    small_disk.kill("agent")  # it knows of the new process, not of the one before the disk was full
    assert one(small_disk, "full")["restarts"] == 2


def test_a_missing_loader_is_named(platform, tmp_path):
    (tmp_path / "loader.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", tmp_path / "hello", tmp_path / "loader.c", "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"],
                   check=True)
    (tmp_path / "dialtone.yaml").write_text("name: loader\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    said = platform.push(tmp_path, "--timeout", "60s", check=False)
    assert "needs the dynamic loader '/lib/ld-musl-x86_64.so.1'" in said.stderr and "statically" in said.stderr, said.stderr
    assert not platform.cli("logs", "loader").stdout
    platform.cli("delete", "loader", "--yes")


def probes(platform, app):
    return [entry["probe"] for entry in platform.json("why", app)["probes"]]


def processes(words):
    """Process ids of this very command line."""
    return subprocess.run(["pgrep", "-f", f"^{words}$"], text=True, capture_output=True).stdout.split()


def test_commands_of_a_dead_agent_end(platform, hello):
    """What an exec started ends with the agent that it came through; what the app itself left running in there stays."""
    push(platform, hello, "strays", "stack: shell\n")
    own, foreign, child = (f"sleep {n}{os.getpid()}" for n in (771, 772, 773))
    # A grandchild whose parent ends: it is the container's init that has it then, like any daemon of the app.
    platform.cli("exec", "strays", "--", "sh", "-c", f"{own} >/dev/null 2>&1 &")
    wait_for("the daemon", lambda: processes(own))
    command = platform.inside(DIALTONE, "exec", "strays", "--", "sh", "-c", f"{child} & {foreign}; true")
    with subprocess.Popen(command, env=platform.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as client:
        wait_for("the command", lambda: processes(foreign) and processes(child))
        platform.kill("agent")
        said = client.communicate(timeout=30)[1]
    assert client.returncode != 0 and "agent or server went away" in said and "run the command again" in said, said
    wait_for("the end of the command", lambda: not processes(foreign) and not processes(child), 15)
    assert processes(own)
    assert [(i["restarts"], i["state"]) for i in platform.instances("strays")] == [(0, "ready")]
    assert wait_for("the next command", lambda: platform.cli("exec", "strays", "--", "echo", "well", check=False).stdout) == "well\n"
    platform.cli("delete", "strays", "--yes")
    wait_for("the end of the daemon", lambda: not processes(own))


def test_why_shows_the_history_of_probes(platform, hello):
    push(platform, hello, "moody", process="    health:\n      type: http\n      path: /health\n      interval: 200ms\n"
         "      timeout: 2s\n      grace: 20s\n")
    platform.get("moody", "/sick")
    failing = wait_for("failed probes", lambda: (lambda p: p if p[0]["count"] >= 3 else None)(probes(platform, "moody")))
    assert [p["ok"] for p in failing[:2]] == [False, True], failing
    assert failing[0]["detail"] == "answered 503" and failing[1]["detail"] == "answered 200"
    assert failing[0]["since_ms"] < failing[0]["at_ms"] and failing[0]["took_ms"] < 2000
    assert failing[1]["at_ms"] <= failing[0]["since_ms"]
    said = platform.cli("why", "moody").stdout
    assert "failed " in said and " times since " in said and "answered 503" in said, said
    platform.ready("moody", 1)  # restarted after some failures
    after = wait_for("a good probe", lambda: (lambda p: p if p[0]["ok"] else None)(probes(platform, "moody")))
    assert len(after) <= 10 and any(p["detail"] == "answered 503" for p in after), after
    platform.cli("delete", "moody", "--yes")
