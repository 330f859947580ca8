#!/usr/bin/env python3
"""The node's figures, on the real platform: every part, system-call filter, user namespaces and logs as always.

An application says on its output when it was exec'd (stamp.c; a static constructor, some 0.2 ms after execve); all times
are CLOCK_MONOTONIC of this machine.

exec_ms            the API's answer to "one instance more" has arrived here → the new instance's application is exec'd
exec_request_ms    the same from before the request was sent
exec_bare_ms       before `crun create` → exec'd, of the same bundle (bare.py), in turns with the above
exec_ratio         exec_ms beside exec_bare_ms of the same round
crash_ms           before `kill -9` of a running application that never crashed before → its replacement is exec'd
push_noop_s        `dialtone push` of what runs already, whole command
push_10mb_s        `dialtone push` of an app with 10 MB of new bytes, whole command: until the new release serves and the old
                   instance is out; less what the application takes from exec to its first answer
hundred_s          0 → 100 instances: before the request → 100 are ready and each has answered a request
rss_mb             private memory (smaps_rollup) of up, keeper, server, agent and router, and the init of one instance
rss_per_instance_kb  growth of that from 1 instance to 100, with their inits, over 99
"""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from figures import end_in_order, enter_own_network, fail, note, print_figure, wait_for
from bare import Bare
from lab import CACHE
from scene import Scene, enter_own_mounts, make_app, private_kb

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
FEW = max(1, ROUNDS // 5)
PARTS = ("up", "keeper", "server", "agent", "router")


def one_more(scene):
    """From one instance to two: (ms from the answer, ms from the request, the new instance)."""
    before = scene.folders()
    sent = time.monotonic_ns()
    scene.scale("bench", 2)
    accepted = time.monotonic_ns()
    instance = wait_for("the new instance", lambda: next(iter(scene.folders() - before), None)).removesuffix(".tmp")
    stamp = wait_for("its exec", lambda: scene.stamps(instance))[0]
    return (stamp - accepted) / 1e6, (stamp - sent) / 1e6, instance


def crash(scene, instance):
    scene.settled("bench", 2)
    victim = scene.app_process(instance)
    began = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    stamp = wait_for("the replacement", lambda: scene.stamps(instance)[1:])[0]
    return (stamp - began) / 1e6


def starts_and_crashes(scene):
    figures = {name: [] for name in ("exec", "exec_request", "bare", "ratio", "crash")}
    bare = Bare(scene, scene.settled("bench", 1)[0]["instance"], CACHE)
    try:
        for n in range(-2, ROUNDS):  # the first ones warm up
            bare_ms = bare.start_ms()
            exec_ms, request_ms, instance = one_more(scene)
            crash_ms = crash(scene, instance)
            scene.settled("bench", 2)
            scene.scale("bench", 1)
            scene.settled("bench", 1)
            note(f"round {n + 1}: exec {exec_ms:.1f} ms ({request_ms:.1f} from the request), bare crun {bare_ms:.1f} ms, "
                 f"crash {crash_ms:.1f} ms")
            if n >= 0:
                values = (exec_ms, request_ms, bare_ms, exec_ms / bare_ms, crash_ms)
                for name, value in zip(figures, values):
                    figures[name].append(value)
    finally:
        bare.close()
    for name, key, unit in (("exec_ms", "exec", "ms"), ("exec_ratio", "ratio", "ratio"), ("crash_ms", "crash", "ms"),
                            ("exec_request_ms", "exec_request", "ms"), ("exec_bare_ms", "bare", "ms")):
        print_figure("node." + name, figures[key], unit)


def push(scene, folder):
    began = time.monotonic()
    scene.push(folder)
    return time.monotonic() - began


def own_start_s(folder):
    """From exec to the first answer, of the application alone on this machine."""
    began = time.monotonic()
    process = subprocess.Popen([folder / "hello"], env={"PORT": "9321"}, stdout=subprocess.DEVNULL)
    try:
        def asks():
            try:
                with socket.create_connection(("127.0.0.1", 9321), 1) as connection:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    return connection.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                return False
        wait_for("the application alone", asks, pause=0.0005)
        return time.monotonic() - began
    finally:
        process.kill()
        process.wait()


def pushes(scene, folder):
    noop = [push(scene, folder) for _ in range(ROUNDS)]
    print_figure("node.push_noop_s", noop, "s")
    big = make_app(scene.root / "big", "big", 1)
    changed = []
    before = None
    for n in range(-1, ROUNDS // 2 + 1):  # the first one makes the app
        (big / "content").write_bytes(os.urandom(10 << 20))
        seconds = push(scene, big) - own_start_s(big)
        serves = scene.get("big")[2]  # says which instance it is
        if not serves.startswith("hello from") or serves == before:
            fail(f"push of 10 MB: the new release does not serve: {serves!r}")
        before = serves
        note(f"push of 10 MB: {seconds:.2f} s")
        if n >= 0:
            changed.append(seconds)
    print_figure("node.push_10mb_s", changed, "s")
    scene.cli("delete", "big", check=False)


def answers(address):
    try:
        with socket.create_connection(address.rsplit(":", 1), 5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def ask_all_by_router(scene, count):
    """Requests until every instance has answered one; the body names it."""
    seen = set()
    for _ in range(50 * count):
        seen.add(scene.get("bench")[2].split(",")[0])
        if len(seen) == count:
            return
    fail(f"only {len(seen)} of {count} instances are reached through the router")


def hundred(scene):
    began = time.monotonic()
    scene.scale("bench", 100)
    items = scene.settled("bench", 100, 180)
    silent = [item["instance"] for item in items if not answers(item["address"] if ":" in item["address"]
                                                               else item["address"] + ":8080")]
    seconds = time.monotonic() - began
    if silent:
        fail(f"{len(silent)} of 100 ready instances do not answer: {silent[:3]}")
    ask_all_by_router(scene, 100)
    return seconds


def memory_kb(scene, instances):
    """(all, by part): the platform's processes and the containers' inits."""
    by_part = {part: private_kb(scene.pid(part)) for part in PARTS}
    by_part["inits"] = sum(private_kb(scene.first_process(item["instance"])) for item in instances)
    return sum(by_part.values()), by_part


def settled_memory(scene, count):
    items = scene.settled("bench", count)
    time.sleep(3)  # not a condition: what the parts still have to do after the last report
    total, by_part = memory_kb(scene, items)
    note(f"{count} instances: " + ", ".join(f"{part} {kb} kB" for part, kb in by_part.items()))
    return total


def crowds():
    seconds, rss, growth = [], [], []
    for n in range(FEW):  # each on a platform of its own: what has grown once stays
        with Scene("bench") as scene:
            scene.push(make_app(scene.root / "app", "bench", 1))
            one = settled_memory(scene, 1)
            scene.scale("bench", 0)
            scene.settled("bench", 0)
            seconds.append(hundred(scene))
            note(f"0 to 100 instances: {seconds[-1]:.2f} s")
            growth.append((settled_memory(scene, 100) - one) / 99)
            rss.append(one / 1024)
    print_figure("node.hundred_s", seconds, "s")
    print_figure("node.rss_mb", rss, "MB")
    print_figure("node.rss_per_instance_kb", growth, "kB")


def main():
    end_in_order()
    enter_own_network()
    enter_own_mounts()
    with Scene("bench") as scene:
        folder = make_app(scene.root / "app", "bench", 1)
        scene.push(folder)
        starts_and_crashes(scene)
        pushes(scene, folder)
    crowds()


main()
