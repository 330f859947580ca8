"""Random kills of everything, one after the other and together, under load: no request fails, nothing starts twice, nothing is
left behind. KILLS sets how many; the seed is printed with a failure (SEED repeats one)."""
import os
import pathlib
import random
import signal
import subprocess
import time

from lab import APPS, Load, wait_for
from test_steady import pid_of

KILLS = int(os.environ.get("KILLS", "10"))
SEED = int(os.environ.get("SEED", str(int(time.time()))))
PARTS = ["up", "keeper", "server", "agent"]  # not the router, with which its connections end: test_steady kills it


def app_processes(platform):
    """Processes of the application, by the addresses of their instances."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if command.startswith(b"./hello\0") and f"MARK={platform.root}".encode() in environment:
            found.append(int(entry.name))
    return found


def instance_links(platform):
    links = subprocess.run(["ip", "-n", platform.netns, "-o", "link"], text=True, capture_output=True, check=True).stdout
    return [line for line in links.splitlines() if "@" in line]


def test_random_kills(platform, tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (tmp_path / "dialtone.yaml").write_text(
        "name: kills\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    instances: 3\n    memory: 32M\n"
        f"env:\n  MARK: {platform.root}\n")
    platform.push(tmp_path)
    platform.ready("kills", 3)
    chance = random.Random(SEED)
    restarts = 0
    print(f"SEED={SEED} KILLS={KILLS}")
    with Load(platform, "kills", connections=10):
        for _ in range(KILLS):
            victims = chance.sample(PARTS, chance.choice([1, 1, 1, 2, 4]))
            instance = chance.random() < 0.3
            if instance:
                victim = chance.choice(platform.ready("kills", 3))
                os.kill(pid_of(platform, victim["instance"]), signal.SIGKILL)
                restarts += 1
            print("kill", *victims, "and an instance" if instance else "", flush=True)
            for part in victims:
                pid = platform.pid(part)
                if pid:
                    os.kill(pid, signal.SIGKILL)
            if "up" in victims:  # nobody starts it again but a person
                print(platform.up().stdout.splitlines()[:2], flush=True)
            time.sleep(chance.random())
            wait_for("the platform", lambda: platform.cli("status", check=False).returncode == 0)
            platform.ready("kills", 3)
            assert len(app_processes(platform)) <= 3
            wait_for("three processes", lambda: len(app_processes(platform)) == 3)
    assert sum(i["restarts"] for i in platform.instances("kills")) == restarts
    platform.cli("scale", "kills", "web=0")
    wait_for("no process", lambda: not app_processes(platform))
    platform.cli("delete", "kills", "--yes")
    wait_for("no interface of an instance", lambda: not instance_links(platform))
