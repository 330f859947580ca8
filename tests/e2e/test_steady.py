"""Constant load while everything changes or dies: no request fails."""
import os
import pathlib
import signal
import subprocess
import time

import pytest

from lab import APPS, Load, wait_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steady")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text(
        "name: steady\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    instances: 2\n    memory: 32M\n")
    return folder


@pytest.fixture(scope="module")
def app(platform, folder):
    platform.push(folder)
    platform.ready("steady", 2)
    return folder


def test_push_of_a_new_release(platform, app):
    before = {i["instance"] for i in platform.instances("steady")}
    with Load(platform, "steady"):
        (app / "note.txt").write_text(f"{time.time()}")
        platform.push(app)
    after = {i["instance"] for i in platform.ready("steady", 2)}
    assert not before & after, "the instances were not replaced"


def test_scale_up_and_down(platform, app):
    with Load(platform, "steady"):
        platform.cli("scale", "steady", "web=5")
        assert len(platform.ready("steady", 5)) == 5
        platform.cli("scale", "steady", "web=1")
        platform.ready("steady", 1)
    platform.cli("scale", "steady", "web=2")
    platform.ready("steady", 2)


def test_rollback(platform, app):
    before = platform.json("app", "steady")["release"]
    with Load(platform, "steady"):
        platform.cli("rollback", "steady")
    assert platform.json("app", "steady")["release"] > before
    platform.ready("steady", 2)


def test_restart(platform, app):
    with Load(platform, "steady"):
        platform.cli("restart", "steady")
    platform.ready("steady", 2)


def pid_of(platform, instance):
    """The application's process in the host's view: the child of the container's first process."""
    record = (platform.data / "node" / "instances" / instance / "keeper")
    words = record.read_text(errors="replace").split() if record.exists() else []
    init = next(int(word.split("=")[-1]) for word in words if word.split("=")[-1].isdigit())
    children = pathlib.Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return int(children[0])


def test_kill_one_of_two_instances(platform, app):
    victim = platform.ready("steady", 2)[0]
    with Load(platform, "steady"):
        os.kill(pid_of(platform, victim["instance"]), signal.SIGKILL)
        wait_for("a restart", lambda: any(i["instance"] == victim["instance"] and i["restarts"] > victim["restarts"] and
                                          i["state"] == "ready" for i in platform.instances("steady")))


@pytest.mark.parametrize("part", ["agent", "server", "keeper"])
def test_kill_a_part_of_the_platform(platform, app, part):
    before = {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)}
    with Load(platform, "steady"):
        platform.kill(part)
        wait_for("the platform to answer", lambda: platform.cli("status", check=False).returncode == 0)
        platform.ready("steady", 2)
    assert {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)} == before, "an instance was started again"


def test_kill_the_router(platform, app):
    """The connections of a killed router end with it: a client sends again what had no answer, once. Nothing else is lost: new
    connections wait in the listening socket, which outlives it."""
    before = {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)}
    with Load(platform, "steady", retry=True) as load:
        platform.kill("router")
        assert platform.get("steady", "/log/17")[0] == 200, "the first request to the new router"
        wait_for("what the app wrote since", lambda: platform.cli("logs", "steady").stdout.count("line 16 of 17") == 1, 10)
    assert 0 < load.retried <= len(load.threads), f"{load.retried} requests were sent again: one a connection had no answer"
    assert {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)} == before, "an instance was started again"


def test_down_and_up_again_leaves_the_apps_running(platform, app):
    before = {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)}
    pids = {pid_of(platform, i) for i in before}
    platform.down()
    assert all(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    platform.up()
    after = {i["instance"]: i["restarts"] for i in platform.ready("steady", 2)}
    assert after == before and {pid_of(platform, i) for i in after} == pids
