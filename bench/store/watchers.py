#!/usr/bin/env python3
"""What an idle watcher of the API costs its server: 10,000 streams of one app's state, opened and left alone.

watcher_kb   memory of the server with them less that without, by watcher
"""
import asyncio
import ctypes
import os
import pathlib
import resource
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests" / "e2e")]
from figures import end_in_order, fail, note, print_figure, wait_for
from lab import APPS, Platform

WATCHERS = int(os.environ.get("BENCH_WATCHERS", "10000"))
AT_ONCE = 200
SPARE = 500  # descriptors of other kinds
SOCKET = "/v1/tenants/default/environments/dev/apps/watched/watch"


def memory(pid):
    """Resident, in bytes: private pages, not those of files."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    fail("the kernel does not tell the server's memory")


async def watch(token, gate):
    """Opens one; returns when its first event is in."""
    async with gate:
        reader, writer = await asyncio.open_connection("127.0.0.1", 7070, limit=4096)
        writer.write(f"GET {SOCKET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        got = b""
        while b"event: state" not in got or not got.endswith(b"\n\n\r\n"):
            piece = await asyncio.wait_for(reader.read(65536), 30)
            if not piece:
                raise SystemExit(f"error: a watch ended: {got[:300]!r}")
            got += piece
        return writer


async def open_all(token, count):
    gate = asyncio.Semaphore(AT_ONCE)
    return await asyncio.gather(*(watch(token, gate) for _ in range(count)))


def run_inside(pid, token):
    """In a process of its own, which enters the platform's network namespace."""
    before = memory(pid)
    loop = asyncio.new_event_loop()
    writers = loop.run_until_complete(open_all(token, WATCHERS))
    loop.run_until_complete(asyncio.sleep(12))  # one round of the comments that keep them alive
    after = memory(pid)
    for writer in writers:
        writer.close()
    return before, after


def measure(platform):
    pid = platform.pid("server")
    token = (platform.data / "secrets" / "operator.token").read_text().strip()
    with open(f"/run/netns/{platform.netns}") as netns:
        if ctypes.CDLL(None, use_errno=True).setns(netns.fileno(), 0) != 0:
            fail(f"cannot enter the platform's network: {os.strerror(ctypes.get_errno())}")
    before, after = run_inside(pid, token)
    note(f"{WATCHERS} watchers: {before >> 20} MiB before, {after >> 20} MiB with them")
    print_figure("store.watcher_kb", [(after - before) / WATCHERS / 1000], "kB")


def main():
    end_in_order()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < WATCHERS + SPARE:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (WATCHERS + SPARE, WATCHERS + SPARE))
        except ValueError:
            fail(f"{hard} open files are too few for {WATCHERS} watchers: 'ulimit -Hn {WATCHERS + SPARE}'")
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    platform = Platform("watchers")
    try:
        platform.up()
        platform.push(APPS / "static-site", "--name", "watched")
        wait_for("the app runs", lambda: platform.json("app", "watched")["state"] == "running")
        measure(platform)
    finally:
        platform.close()


main()
