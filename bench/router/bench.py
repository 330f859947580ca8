#!/usr/bin/env python3
"""The router beside nginx as a proxy: same upstream, same cores, in turns in the same run.

The proxy under test has core 0 for itself; the upstream and wrk share core 1. On loopback each side does about the same
work in the kernel, so the proxy need not be the bottleneck, and where it is not, the ratio of requests/s says little
about it. Two things are therefore printed beside it: the part of the time in which the proxy had work to do (ran, or
waited for its core; router.busy: near 100 % the proxy is the limit), and the processor time that it spends on one
request, kernel included, which does not depend on who waits for whom (router.cpu_us, router.cpu_us_nginx).
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from figures import DIALTONE, end_in_order, enter_own_network, fail, note, print_figure, wait_for

HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "9"))
SECONDS = 3
CONNECTIONS = 64
UPSTREAM, NGINX, ROUTER = "127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"
PROXY_CORE, LOAD_CORE = 0, 1


def pinned(core, *command, **options):
    """Before whatever else runs on this machine, both proxies and the load alike."""
    return subprocess.Popen(["nice", "-n", "-15", "taskset", "-c", str(core), *map(str, command)], **options)


def answers(address):
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), 1) as connection:
            connection.sendall(b"GET /1k HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
            got = b""
            while piece := connection.recv(65536):
                got += piece
    except OSError:
        return False
    return got.startswith(b"HTTP/1.1 200") and got.endswith(b"x" * 1024)


def start_nginx(folder, config, core, listen):
    place = folder / config.removesuffix(".conf")
    (place / "files").mkdir(parents=True)
    (place / "files" / "1k").write_text("x" * 1024)
    place.chmod(0o755)
    text = (HERE / config).read_text()
    for name, value in (("@DIR@", place), ("@LISTEN@", listen), ("@UPSTREAM@", UPSTREAM)):
        text = text.replace(name, str(value))
    (place / "nginx.conf").write_text(text)
    return pinned(core, "nginx", "-p", place, "-c", place / "nginx.conf")


def start_router(folder, core):
    """The real router process; no server is there, so it serves by the table it kept."""
    data = folder / "router-data"
    for name in ("router", "secrets"):
        (data / name).mkdir(parents=True)
    (data / "secrets" / "node.token").write_text("secret\n")
    (data / "platform.json").write_text(json.dumps({
        "id": "abcdef", "domain": "test", "http": ROUTER, "api": "127.0.0.1:1", "cache": str(data), "subnet": "100.64.0.0/20"}))
    (data / "router" / "routes.json").write_text(json.dumps({"version": 1, "routes": [
        {"host": "app.test", "path": "/", "tenant": "default", "environment": "dev", "app": "app", "state": "running",
         "instances": [{"id": "i0", "address": UPSTREAM}]}]}))
    host, port = ROUTER.split(":")
    listener = socket.create_server((host, int(port)), backlog=512)
    listener.setblocking(False)
    fd = listener.fileno()
    process = pinned(core, DIALTONE, "router", "--data", data, pass_fds=[fd],
                     env={**os.environ, "DIALTONE_LISTEN_FD": str(fd)})
    listener.close()
    return process


def scheduled_ns(process):
    """Time on a processor, and time spent waiting for one; of all threads."""
    tasks = pathlib.Path(f"/proc/{process.pid}/task")
    stats = [[int(word) for word in (task / "schedstat").read_text().split()] for task in tasks.iterdir()]
    return sum(stat[0] for stat in stats), sum(stat[1] for stat in stats)


def measure(address, process):
    (ran, waited), began = scheduled_ns(process), time.monotonic_ns()
    wrk = pinned(LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", "Host: app.test", "-s",
                 HERE / "report.lua", f"http://{address}/1k", stdout=subprocess.PIPE, text=True)
    output, _ = wrk.communicate()
    (ran_end, waited_end), ended = scheduled_ns(process), time.monotonic_ns()
    words = output.strip().splitlines()[-1].split()
    said = dict(zip(words[::2], map(float, words[1::2])))
    if said["errors"] or not said["requests"]:
        fail(f"wrk met errors at {address}: {output}")
    return {"rps": said["requests"] / said["duration_us"] * 1e6, "p99_us": said["p99_us"],
            "cpu_us": (ran_end - ran) / 1000 / said["requests"],
            "busy": 100 * (ran_end - ran + waited_end - waited) / (ended - began)}


def run_rounds(router, nginx):
    rounds = []
    for n in range(-1, ROUNDS):  # the first one warms up
        order = [("router", ROUTER, router), ("nginx", NGINX, nginx)]
        got = {name: measure(address, process) for name, address, process in (order if n % 2 else order[::-1])}
        note(f"round {n + 1}: " + "; ".join(f"{name} {m['rps']:.0f}/s, p99 {m['p99_us']:.0f} us, {m['cpu_us']:.1f} us a request, "
                                        f"{m['busy']:.0f} % busy" for name, m in sorted(got.items())))
        if n >= 0:
            rounds.append(got)
    return rounds


def print_all(rounds):
    def ratio(key):
        return [got["router"][key] / got["nginx"][key] for got in rounds]

    def values(name, key):
        return [got[name][key] for got in rounds]

    print_figure("router.rps_ratio", ratio("rps"), "ratio")
    print_figure("router.p99_ratio", ratio("p99_us"), "ratio")
    print_figure("router.rps", values("router", "rps"), "1/s")
    print_figure("router.rps_nginx", values("nginx", "rps"), "1/s")
    print_figure("router.cpu_us", values("router", "cpu_us"), "us")
    print_figure("router.cpu_us_nginx", values("nginx", "cpu_us"), "us")
    print_figure("router.busy", values("router", "busy"), "%")
    print_figure("router.busy_nginx", values("nginx", "busy"), "%")


def main():
    end_in_order()
    enter_own_network()
    running = []
    with tempfile.TemporaryDirectory(prefix="dialtone-bench-router-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        try:
            running.append(start_nginx(folder, "upstream.conf", LOAD_CORE, UPSTREAM))
            running.append(start_nginx(folder, "proxy.conf", PROXY_CORE, NGINX))
            running.append(start_router(folder, PROXY_CORE))
            for address in (UPSTREAM, NGINX, ROUTER):
                wait_for(f"an answer from {address}", lambda: answers(address))
            print_all(run_rounds(running[2], running[1]))
        finally:
            for process in running:
                process.terminate()
            for process in running:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


main()
