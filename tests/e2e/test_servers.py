"""Several servers on one store in etcd: one decides, any of them answers, and whichever process dies or hangs, the app serves and
nothing is started twice."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from cluster import Cluster
from lab import APPS, DIALTONE, Load, run, wait_for
from test_kills import app_processes
from test_steady import pid_of

APP = "/v1/tenants/default/environments/dev/apps/many"
TAKEOVER_S = 3


@pytest.fixture(scope="module")
def cluster():
    c = Cluster("servers")
    try:
        yield c
    finally:
        c.close()


@pytest.fixture(scope="module")
def folder(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text(
        "name: many\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    instances: 2\n    memory: 32M\n"
        f"env:\n  MARK: {cluster.platform.root}\n")
    return folder


@pytest.fixture(scope="module")
def app(cluster, folder):
    cluster.platform.push(folder)
    cluster.platform.ready("many", 2)
    return folder


def others(server):
    return "abc".replace(server, "")


def instances(cluster, of="abc"):
    """The app's instances as the first of these servers that answers has them."""
    for server in of:
        said = cluster.ask(server, APP + "/instances", timeout=3)
        if said and said[0] == 200:
            return said[2]["items"]
    return None


def ready(cluster, count, of="abc"):
    def look():
        items = instances(cluster, of)
        good = items is not None and len(items) == count and all(i["state"] == "ready" for i in items)
        return items if good else None
    return wait_for(f"{count} ready instances", look)


def scale(cluster, server, count):
    status, _, answer = cluster.ask(server, APP + "/scale", "POST", {"process": "web", "instances": count})
    assert status in (200, 202), answer


def restarts(items):
    return {i["instance"]: i["restarts"] for i in items}


def placed(cluster):
    """How many instances were ever placed, by the events that are written together with their records."""
    for server in "abc":
        said = cluster.ask(server, APP + "/events?limit=1000", timeout=3)
        if said and said[0] == 200:
            return sum(int(re.match(r"web: (\d+) instances? placed", e["message"])[1]) for e in said[2]["items"] if e["type"] == "placed")
    raise AssertionError("no server lists the events")


def assert_nothing_twice(cluster, count, placements):
    """No instance was placed that was not asked for, and as many processes run as are wanted, for a while: one too many may
    come late."""
    assert placed(cluster) == placements
    until = time.monotonic() + 2
    while time.monotonic() < until:
        assert len(app_processes(cluster.platform)) == count
        time.sleep(0.1)


@contextlib.contextmanager
def paused(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_decides_and_all_say_so(cluster, app):
    name, term = wait_for("one that decides", cluster.leader)
    assert term > 0
    for server in "abc":
        status = cluster.status(server)
        assert status["server"] == server and status["store"]["driver"] == "etcd" and len(status["store"]["members"]) == 3
        assert status["nodes"] == 1 and status["instances"] == {"wanted": 2, "ready": 2}, server
    for server in others(name):
        said = cluster.ask(server, "/v1/nodes/some/assignments")
        assert said[0] == 421 and said[2]["leader"]["name"] == name and said[2]["leader"]["api"].endswith(cluster.apis[name])
    assert_nothing_twice(cluster, 2, 2)
    shown = cluster.platform.cli("status").stdout
    assert re.search(rf"\b{name} at http://\S+, decides", shown), shown


def test_who_wrote_sees_it_on_any_server(cluster, app):
    release = cluster.ask("a", APP + "/releases")[2]["items"][0]
    spec = {**release["spec"], "name": "idle"}
    spec["processes"]["web"]["instances"] = 0
    spec.pop("routes", None)
    idle = APP.replace("many", "idle")
    status, headers, answer = cluster.ask("a", idle, "PUT", {"spec": spec, "artifact": release["artifact"]})
    assert status == 202, answer
    for n in range(15):
        writer, reader = "abc"[n % 3], "abc"[(n + 1) % 3]
        status, headers, answer = cluster.ask(writer, idle + "/env", "PATCH", {"N": str(n)},
                                              headers=[f"Dialtone-Revision: {headers['dialtone-revision']}"])
        assert status == 202, answer
        said = cluster.ask(reader, idle + "/env", headers=[f"Dialtone-Revision: {headers['dialtone-revision']}"])
        assert said[2]["N"] == str(n), f"{reader} does not show what {writer} wrote"
    of_before_a_restore = "Dialtone-Revision: another-epoch:999999999999"
    assert cluster.ask("a", idle + "/env", headers=[of_before_a_restore])[0] == 200
    trail = cluster.ask("c", "/v1/audit?limit=100")[2]["items"]
    assert sum(r["action"] == f"PATCH {idle}/env" for r in trail) == 15, "records of several servers displaced each other"
    assert cluster.ask("b", idle, "DELETE")[0] == 204


def test_command_line_goes_on_at_another_server(cluster, app):
    config = json.loads((cluster.platform.home / ".config" / "dialtone" / "config.json").read_text())
    known = config["platforms"][config["current"]]["servers"].split(",")  # by `status`, above
    assert sorted(known) == sorted(f"http://{api}" for api in cluster.apis.values())
    dead = "http://127.0.0.1:1"
    environment = {**cluster.platform.env, "DIALTONE_API": f"{dead},http://{cluster.apis['c']}", "DIALTONE_TOKEN": cluster.token}
    said = run(*cluster.platform.inside(DIALTONE, "status", "-o", "json"), env=environment, timeout=20)
    assert json.loads(said.stdout)["server"] == "c"
    with paused(cluster.pid("b")):
        environment["DIALTONE_API"] = f"http://{cluster.apis['b']},http://{cluster.apis['c']}"
        said = run(*cluster.platform.inside(DIALTONE, "status", "-o", "json"), env=environment, timeout=20)
        assert json.loads(said.stdout)["server"] == "c"


def test_push_through_another_server(cluster, app):
    """The artifact is at one server only; the agent asks another one."""
    name, _ = wait_for("one that decides", cluster.leader)
    server = others(name)[0]
    (app / "note.txt").write_text("pushed elsewhere")
    before, placements = restarts(ready(cluster, 2)), placed(cluster)
    run(*cluster.platform.inside(DIALTONE, "push", app), timeout=120,
        env={**cluster.platform.env, "DIALTONE_API": f"http://{cluster.apis[server]}", "DIALTONE_TOKEN": cluster.token})
    assert not set(before) & set(restarts(ready(cluster, 2)))
    assert_nothing_twice(cluster, 2, placements + 2)
    digest = cluster.ask("a", APP + "/releases")[2]["items"][0]["artifact"]
    held = [s for s in "abc" if list((cluster.data(s) / "blobs").rglob(f"*{digest.split(':')[1]}*"))]
    assert held == [server]


def test_deciding_server_killed(cluster, app):
    name, term = wait_for("one that decides", cluster.leader)
    before, placements = restarts(ready(cluster, 2)), placed(cluster)
    with Load(cluster.platform, "many"):
        cluster.kill(name)
        began = time.monotonic()
        scale(cluster, others(name)[0], 3)
        wait_for("a decision", lambda: len(instances(cluster, others(name)) or []) == 3)
        took = time.monotonic() - began
        print(f"takeover_s {took:.2f}")
        assert took <= TAKEOVER_S
        wait_for("one that decides", lambda: cluster.leader(others(name), after=term))
        cluster.start(name)
        now = restarts(ready(cluster, 3, others(name)))
        assert before.items() <= now.items(), "an instance was started again"
        wait_for("three servers", lambda: len(cluster.servers(others(name))) == 3)
    assert_nothing_twice(cluster, 3, placements + 1)


def test_deciding_server_paused_and_woken(cluster, app):
    name, term = wait_for("one that decides", cluster.leader)
    before, placements = restarts(ready(cluster, 3)), placed(cluster)
    rest = others(name)
    with Load(cluster.platform, "many"):
        with paused(cluster.pid(name)):
            stopped = time.monotonic()
            scale(cluster, rest[0], 4)
            after = wait_for("another that decides", lambda: cluster.leader(rest, after=term))
            now = restarts(ready(cluster, 4, rest))
            assert before.items() <= now.items(), "an instance was started again"
            time.sleep(max(0, stopped + 10 - time.monotonic()))
        wait_for("the old one to know", lambda: cluster.leader("abc") == after)
        assert "leads no longer" in cluster.log(name)
        scale(cluster, name, 2)  # any server takes a change
        ready(cluster, 2)
    assert cluster.leader() == after
    assert_nothing_twice(cluster, 2, placements + 1)


def test_etcd_leader_killed(cluster, app):
    before, placements = restarts(ready(cluster, 2)), placed(cluster)
    with Load(cluster.platform, "many"):
        member = wait_for("etcd's leader", lambda: cluster.etcd.leader() is not None) and cluster.etcd.leader()
        cluster.etcd.kill(member)
        began = time.monotonic()
        wait_for("a change", lambda: (cluster.ask("b", APP + "/scale", "POST", {"process": "web", "instances": 3}) or [0])[0] in
                 (200, 202))
        now = restarts(ready(cluster, 3))
        print(f"changed and decided {time.monotonic() - began:.2f} s after etcd's leader was killed")
        assert before.items() <= now.items(), "an instance was started again"
        cluster.etcd.start(member)
    assert_nothing_twice(cluster, 3, placements + 1)


def test_whole_control_plane_dead(cluster, app):
    wait_for("etcd", lambda: cluster.etcd.leader() is not None)
    before, placements = restarts(ready(cluster, 3)), placed(cluster)
    victim = sorted(before)[0]
    with Load(cluster.platform, "many"):
        for member in range(3):
            cluster.etcd.kill(member)
        for server in "bca":
            cluster.kill(server)
        first = pid_of(cluster.platform, victim)
        os.kill(first, signal.SIGKILL)
        wait_for("the agent to restart it", lambda: len(app_processes(cluster.platform)) == 3 and
                 not pathlib.Path(f"/proc/{first}").exists())
        time.sleep(5)  # the load goes on with nobody there
        assert len(app_processes(cluster.platform)) == 3
        for member in range(3):
            cluster.etcd.start(member)
        wait_for("etcd", lambda: cluster.etcd.leader() is not None)
        for server in "bc":
            cluster.start(server)
        wait_for("one that decides", lambda: cluster.leader("bc"), 60)
        now = restarts(ready(cluster, 3, "bc"))
        assert now == {**before, victim: before[victim] + 1}
        assert_nothing_twice(cluster, 3, placements)
        wait_for("three servers", lambda: len(cluster.servers("bc")) == 3, 60)
    assert restarts(ready(cluster, 3)) == now
