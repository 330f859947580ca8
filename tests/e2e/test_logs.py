"""Every line once and in order, whatever is killed meanwhile; what does not fit is counted; the app never waits."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from lab import APPS, DIALTONE, wait_for

INSTANCES, RATE, SECONDS = 20, 200, 30


@pytest.fixture()
def chatter(tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "chatter", APPS / "chatter.c"], check=True)
    return tmp_path


def manifest(folder, name, command, instances=1, more=""):
    (folder / "dialtone.yaml").write_text(
        f"name: {name}\nruntime: none\nroutes: []\nprocesses:\n  worker:\n    command: {command}\n    instances: {instances}\n"
        f"    memory: 16M\n    cpu: 0.05\n{more}")


def records(platform, app):
    said = platform.cli("logs", app, "--tail", "1000000", "-o", "json").stdout
    return [json.loads(line) for line in said.splitlines()]


def test_every_line_once_and_in_order_while_parts_die(platform, chatter):
    count = RATE * SECONDS
    manifest(chatter, "chatter", f"./chatter {RATE} {count}", INSTANCES)
    platform.push(chatter)
    began = time.monotonic()
    time.sleep(SECONDS / 3)
    platform.kill("agent")
    platform.kill("server")
    time.sleep(SECONDS / 6)
    platform.kill("agent")
    assert time.monotonic() - began < SECONDS, "the parts were not killed in the middle"

    def all_done():
        time.sleep(1)
        out = platform.cli("logs", "chatter", "--tail", str(INSTANCES * RATE * 5), check=False).stdout
        return out.count("done, longest write") == INSTANCES
    wait_for("all instances to end", all_done, SECONDS + 60)
    numbers = {}
    for record in records(platform, "chatter"):
        assert record["type"] == "log", record
        match = re.fullmatch(r"number (\d+) ", record["text"])
        if match:
            numbers.setdefault(record["instance"], []).append(int(match[1]))
    assert len(numbers) == INSTANCES
    for instance, seen in numbers.items():
        assert seen == list(range(count)), f"{instance}: {len(seen)} lines of {count}, first fault near {next((i for i, n in enumerate(seen) if n != i), len(seen))}"
    assert all(i["restarts"] == 0 for i in platform.instances("chatter"))
    platform.cli("delete", "chatter", "--yes")


def test_a_minute_without_an_agent(platform, chatter, tmp_path_factory):
    """The agent is stopped (SIGSTOP: it neither reads nor answers) while one app writes 1 MB/s, more than is kept: it never waits,
    and what was lost is counted. An instance of another app crashes in that minute: its end is known afterwards."""
    seconds, size = 60, 9985
    other = tmp_path_factory.mktemp("fall")
    shutil.copy(chatter / "chatter", other)
    manifest(other, "fall", "./chatter 10 1000000", 1, "env:\n  CRASH_AT: \"300\"\n")
    platform.push(other)
    manifest(chatter, "flood", f"./chatter 100 {100 * seconds} {size}")
    platform.push(chatter)
    crashing, = platform.instances("fall")
    assert not crashing.get("exit"), "it crashed before the agent was stopped"
    exit_file = platform.data / "node" / "instances" / crashing["instance"] / "exit"
    agent = platform.pid("agent")
    os.kill(agent, signal.SIGSTOP)
    try:
        time.sleep(seconds + 2)
        assert exit_file.exists(), "nothing crashed in that minute"
    finally:
        os.kill(agent, signal.SIGCONT)
    exit_ = wait_for("the exit", lambda: next((i["exit"] for i in platform.instances("fall") if i.get("exit")), None), 30)
    assert exit_["status"] == 3 and "giving up at 300" in exit_["lines"] and "number 299 " in exit_["lines"], exit_
    done = wait_for("the app's last line", lambda: re.search(r"longest write ([\d.]+) s", platform.cli("logs", "flood", "--tail", "5").stdout), 60)
    assert float(done[1]) < 1, "the application had to wait for its output"
    seen = records(platform, "flood")
    gaps = [r for r in seen if r["type"] == "gap"]
    lines = [r for r in seen if r["type"] == "log" and r["text"].startswith("number ")]
    # A line that is cut by the end of a gap is neither whole nor wholly lost.
    assert gaps and abs(sum(g["lines"] for g in gaps) + len(lines) - 100 * seconds) <= len(gaps)
    assert "were dropped here" in platform.cli("logs", "flood", "--tail", "1000000").stdout
    for app in ("fall", "flood"):
        platform.cli("delete", app, "--yes")


def test_a_follower_misses_nothing_when_its_connection_breaks(platform, tmp_path):
    """Also not the lines that had begun and not ended when it broke."""
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "slowly", APPS / "slowly.c"], check=True)
    manifest(tmp_path, "slowly", "./slowly", 2)
    platform.push(tmp_path)
    follower = subprocess.Popen(platform.inside(DIALTONE, "logs", "slowly", "-f", "--tail", "1000000", "-o", "json"), env=platform.env,
                                text=True, stdout=subprocess.PIPE)
    try:
        for part in ("agent", "server", "agent", "agent"):
            time.sleep(1.1)
            platform.kill(part)
        time.sleep(3)
    finally:
        follower.terminate()
        said, _ = follower.communicate(timeout=10)
    seen = {}
    for line in said.splitlines():
        record = json.loads(line)
        if record["type"] == "log":
            seen.setdefault((record["instance"], record["stream"]), []).append(record["text"])
    assert len(seen) == 4, seen.keys()
    for (_, stream), texts in seen.items():
        assert len(texts) > (3 if stream == "out" else 150)
        wanted = "line {} begins, and ends" if stream == "out" else "tick {}"
        assert texts == [wanted.format(n) for n in range(len(texts))]
    platform.cli("delete", "slowly", "--yes")
