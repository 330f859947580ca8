"""A platform from `up` to `down --apps`: an app is pushed and served, parts of the platform die, limits hold, nothing is left."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

WORK = pathlib.Path("/proof")
sys.path.insert(0, str(WORK / "tests" / "e2e"))
from lab import DIALTONE, Platform, run, wait_for  # noqa: E402

GROUPS = pathlib.Path("/sys/fs/cgroup")
V2 = os.environ["DIALTONE_TEST_GROUPS"] == "v2"
MIB = 1 << 20


@pytest.fixture(scope="module")
def platform():
    p = Platform("vm")
    try:
        p.up()
        yield p
    finally:
        keep_logs(p)
        p.close()


def keep_logs(p):
    """What the parts said, for whoever looks into a failure."""
    with open("/run/parts.log", "w") as kept:
        for log in sorted((p.data / "log").glob("*.log")):
            kept.write(f"---- {log.name}\n{log.read_text(errors='replace')[-6000:]}\n")


@pytest.fixture(scope="module")
def app(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hello")
    shutil.copytree(WORK / "app", folder, dirs_exist_ok=True)
    (folder / "dialtone.yaml").write_text(
        "name: hello\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 64M\n    cpu: 0.5\n    disk: 8M\n")
    assert "serves release 1" in platform.push(folder).stdout
    return "hello"


def identity(platform):
    return json.loads((platform.data / "platform.json").read_text())["id"]


def group(platform, controller, instance):
    below = f"dialtone-{identity(platform)}/{instance['instance']}"
    return GROUPS / below if V2 else GROUPS / controller / below


def init_pid(platform, instance):
    """The container's first process, in the machine's view."""
    pids = [int(pid) for pid in (group(platform, "pids", instance) / "cgroup.procs").read_text().split()]
    return min(pids)


def only(platform, app="hello"):
    return platform.ready(app, 1)[0]


def test_up_refuses_a_file_system_that_cannot_carry_layers(platform):
    said = run(*platform.inside(DIALTONE, "up", "--data", "/dev/shm/data", "--cache", WORK / "cache", "--http", "127.0.0.1:8090",
                                "--api", "127.0.0.1:7090", "--detach"), check=False, env=platform.env)
    assert said.returncode != 0 and "--data /dev/shm/data" in said.stderr and "ext4" in said.stderr, said


def test_push_serves(platform, app):
    status, _, body = platform.get(app)
    assert status == 200 and body.startswith("hello from 0 of ")
    assert only(platform)["state"] == "ready"


def test_limits_are_set(platform, app):
    instance = only(platform)

    def number(controller, v1, v2):
        return (group(platform, controller, instance) / (v2 if V2 else v1)).read_text().split()

    assert number("memory", "memory.limit_in_bytes", "memory.max") == [str(64 * MIB)]
    assert number("pids", "pids.max", "pids.max") == ["512"]
    assert number("cpu", "cpu.cfs_quota_us", "cpu.max")[0] == "50000"


def test_processes_and_scratch_are_bounded(platform, app):
    said = platform.cli("run", app, "./probe", "limits", "512", str(8 * MIB), check=False, timeout=300)
    assert said.returncode == 0 and "fork_bomb refused" in said.stdout and "fill_scratch refused" in said.stdout, said


def test_out_of_memory_is_seen(platform, app, tmp_path):
    shutil.copy(WORK / "app" / "probe", tmp_path)
    (tmp_path / "dialtone.yaml").write_text(
        f"name: eater\nruntime: none\nprocesses:\n  worker:\n    command: ./probe eat {256 * MIB}\n    memory: 24M\n")
    platform.push(tmp_path, check=False)  # it may be seen to run before it is killed
    wait_for("an end by lack of memory", lambda: any(e["exit"]["oom"] for e in platform.json("why", "eater")["exits"]))
    assert "out of memory" in platform.cli("why", "eater").stdout
    platform.cli("delete", "eater", "--yes")
    assert platform.get(app)[0] == 200  # who kept to its limit was not touched


def test_logs(platform, app):
    assert platform.get(app, "/log/50")[0] == 200
    lines = [f"line {i} of 50" for i in range(50)]
    said = wait_for("the lines", lambda: (lambda text: text if lines[-1] in text else None)(platform.cli("logs", app).stdout))
    assert [line[line.index("line "):] for line in said.splitlines() if " of 50" in line] == lines


def test_exec_and_exit_status(platform, app):
    assert platform.cli("exec", app, "./probe", "exit", "9", check=False).returncode == 9


def test_a_crash_is_restarted(platform, app):
    before = only(platform)
    os.kill(init_pid(platform, before), signal.SIGKILL)
    wait_for("a restart", lambda: any(i["restarts"] > before["restarts"] and i["state"] == "ready"
                                      for i in platform.instances(app)))
    assert platform.get(app)[0] == 200


@pytest.mark.parametrize("part", ["agent", "server", "router", "keeper"])
def test_parts_die_and_the_app_runs_on(platform, app, part):
    instance = only(platform)
    pid = init_pid(platform, instance)
    platform.kill(part)
    wait_for("an answer", lambda: serves(platform, app))
    after = wait_for("the instance", lambda: ready_again(platform, app), 60)
    assert (after["instance"], after["restarts"]) == (instance["instance"], instance["restarts"])
    assert init_pid(platform, after) == pid
    wait_for("a command", lambda: platform.cli("run", app, "./probe", "exit", "3", check=False).returncode == 3)


def serves(platform, app):
    try:
        return platform.get(app)[0] == 200
    except OSError:
        return False


def ready_again(platform, app):
    """The app's only ready instance, once the API answers."""
    said = platform.cli("ps", app, "-o", "json", check=False)
    ready = [i for i in json.loads(said.stdout)["items"] if i["state"] == "ready"] if said.returncode == 0 else []
    return ready[0] if len(ready) == 1 else None


def test_an_adopted_instances_exit_status_is_known(platform, app):
    """Its keeper was killed: it is nobody's child who waits for it. (Linux 6.15 tells the status in another way.)"""
    before = only(platform)
    request_that_ends_it(platform, app, 7)
    wait_for("a restart", lambda: any(i["restarts"] > before["restarts"] and i["state"] == "ready"
                                      for i in platform.instances(app)))
    last = platform.json("why", app)["exits"]
    assert any(e["exit"]["status"] == 7 for e in last), last


def request_that_ends_it(platform, app, status):
    try:
        platform.get(app, f"/exit/{status}")
    except OSError:
        pass  # the connection may end with it


def test_scale(platform, app):
    platform.cli("scale", app, "web=3")
    assert len(platform.ready(app, 3)) == 3
    platform.cli("scale", app, "web=1")
    platform.ready(app, 1)


def test_containers_outlive_the_platform(platform, app):
    instance = only(platform)
    pid = init_pid(platform, instance)
    platform.down()
    assert pathlib.Path(f"/proc/{pid}").exists()
    platform.up()
    after = wait_for("the instance", lambda: ready_again(platform, app), 60)
    assert after["instance"] == instance["instance"] and init_pid(platform, after) == pid
    assert platform.get(app)[0] == 200


def test_down_with_apps_leaves_nothing(platform, app):
    name, pid = identity(platform), init_pid(platform, only(platform))
    platform.down("--apps")
    assert not pathlib.Path(f"/proc/{pid}").exists()
    left = [folder for folder, names, _ in os.walk(GROUPS) if f"dialtone-{name}" in folder]
    assert not left
    mounts = [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if str(platform.data) in line]
    assert not mounts
    interfaces = platform_interfaces(platform, name)
    assert not interfaces, interfaces


def platform_interfaces(platform, name):
    links = subprocess.run(["ip", "-n", platform.netns, "-o", "link"], text=True, capture_output=True, check=True).stdout
    return [line for line in links.splitlines() if f"dt{name}" in line]
