#!/usr/bin/env python3
"""What a platform of three servers on three members of etcd loses when the one that decides dies; all on this machine.

takeover_s   `kill -9` of the deciding server → an instance that was asked for right after it, of another server, is placed
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "e2e")]
from figures import end_in_order, fail, note, print_figure, wait_for
from cluster import Cluster
from lab import APPS

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
APP = "/v1/tenants/default/environments/dev/apps/taken"


def deploy(cluster, folder):
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text(
        "name: taken\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    instances: 1\n    memory: 32M\n")
    cluster.platform.push(folder)


def placed(cluster, servers):
    for server in servers:
        said = cluster.ask(server, APP + "/instances", timeout=2)
        if said and said[0] == 200:
            return len(said[2]["items"])
    return 0


def one_round(cluster, count):
    name, term = wait_for("a server that decides", cluster.leader)
    wait_for("three servers", lambda: len(cluster.servers() or []) == 3)
    rest = "abc".replace(name, "")
    began = time.monotonic()
    cluster.kill(name)
    status = cluster.ask(rest[0], APP + "/scale", "POST", {"process": "web", "instances": count})[0]
    if status != 202:
        fail(f"the change was answered {status}")
    wait_for("a decision", lambda: placed(cluster, rest) == count)
    took = time.monotonic() - began
    cluster.start(name)
    wait_for("all to agree", lambda: cluster.leader(after=term))
    note(f"{name} killed: {took:.2f} s")
    return took


def main():
    end_in_order()
    cluster = Cluster("takeover")
    try:
        with tempfile.TemporaryDirectory() as folder:
            deploy(cluster, pathlib.Path(folder))
            print_figure("store.takeover_s", [one_round(cluster, n + 2) for n in range(ROUNDS)], "s")
    finally:
        cluster.close()


main()
