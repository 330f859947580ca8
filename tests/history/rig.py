"""What a history run stands on: three etcd members, each in a network namespace and on a small disk of its own, and the
processes that use them. Everything lives in the namespaces that `run` has entered, so all of it goes with that process."""
import ctypes
import json
import os
import pathlib
import random
import signal
import struct
import subprocess
import time

MEMBERS = 3
DISK = 1 << 30
QUOTA = 160 << 20
LIBFAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Failure(Exception):
    pass


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run(*command, check=True, seconds=20):
    result = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=seconds)
    if check and result.returncode:
        raise Failure(f"{' '.join(map(str, command))} ended with {result.returncode}: {result.stdout}{result.stderr}")
    return result.stdout


def wait_for(what, condition, seconds):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Disk:
    """A small file system in memory that can be filled."""

    def __init__(self, path, size):
        self.path = path
        path.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)

    def fill(self):
        with open(self.path / "ballast", "ab") as file:
            for block in (1 << 20, 4096):
                data = bytes(block)
                try:
                    while os.write(file.fileno(), data) == block:
                        pass
                except OSError:
                    pass

    def empty(self):
        (self.path / "ballast").unlink(missing_ok=True)


class Member:
    """One etcd."""

    def __init__(self, root, number):
        self.number = number
        self.name = f"m{number}"
        self.address = f"10.77.0.{11 + number}"
        self.disk = Disk(root / self.name, DISK)
        self.log = root / f"{self.name}.log"
        self.process = None
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", f"v{number}", "master", "br0", "up")
        for command in (("link", "set", "lo", "up"), ("addr", "add", f"{self.address}/24", "dev", "eth0"),
                        ("link", "set", "eth0", "up")):
            run("ip", "-n", self.name, *command)

    def start(self):
        members = ",".join(f"m{i}=http://10.77.0.{11 + i}:2380" for i in range(MEMBERS))
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.name}", "/usr/bin/etcd", "--name", self.name,
                 "--data-dir", str(self.disk.path / "data"), "--listen-client-urls", f"http://{self.address}:2379",
                 "--advertise-client-urls", f"http://{self.address}:2379",
                 "--listen-peer-urls", f"http://{self.address}:2380",
                 "--initial-advertise-peer-urls", f"http://{self.address}:2380", "--initial-cluster", members,
                 "--initial-cluster-state", "new", "--logger", "zap", "--quota-backend-bytes", str(QUOTA)],
                stdout=log, stderr=log, preexec_fn=die_with_parent)

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()
        elif number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def died(self):
        return self.process.poll() is not None

    def drop(self, chain, peers):
        """Nothing of these addresses comes in (chain input) or nothing goes out to them (chain output)."""
        side = "saddr" if chain == "input" else "daddr"
        rules = (f"table ip cut_{chain} {{ chain c {{ type filter hook {chain} priority 0; "
                 f"ip {side} {{ {', '.join(peers)} }} drop; }}; }}")
        run("nsenter", f"--net=/run/netns/{self.name}", "nft", rules)

    def join(self):
        run("nsenter", f"--net=/run/netns/{self.name}", "nft", "flush", "ruleset")


class Cluster:
    HUB = "10.77.0.1"

    def __init__(self, root):
        run("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
        run("ip", "addr", "add", f"{self.HUB}/24", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        self.members = [Member(root, i) for i in range(MEMBERS)]
        for member in self.members:
            member.start()
        wait_for("the first leader", self.leader, 30)

    def url(self, first):
        order = self.members[first % MEMBERS:] + self.members[:first % MEMBERS]
        return "etcd://" + ",".join(f"{m.address}:2379" for m in order)

    def ctl(self, *args, member=None, check=True, seconds=10):
        ends = ",".join(f"{m.address}:2379" for m in ([member] if member else self.members))
        return run("/usr/bin/etcdctl", "--endpoints", ends, "--dial-timeout", "1s", "--command-timeout", f"{seconds}s", *args,
                   check=check, seconds=seconds + 20)

    def statuses(self):
        found = {}
        for member in self.members:
            text = self.ctl("endpoint", "status", "-w", "json", member=member, check=False, seconds=1)
            try:
                found[member] = json.loads(text)[0]["Status"]
            except (ValueError, IndexError, KeyError):
                pass
        return found

    def leader(self):
        for member, status in self.statuses().items():
            if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                return member
        return None

    def get(self, key):
        text = self.ctl("get", key, "--print-value-only", check=False, seconds=3)
        return text.strip()

    def make_room(self):
        """What an operator does when the quota is used up."""
        revision = max(s["header"]["revision"] for s in self.statuses().values())
        self.ctl("compact", str(revision), "--physical", check=False, seconds=30)
        for member in self.members:
            self.ctl("defrag", member=member, check=False, seconds=30)
        self.ctl("alarm", "disarm")

    def size(self):
        return max((s["dbSize"] for s in self.statuses().values()), default=0)


class Process:
    """One history-client."""

    def __init__(self, bench, url, slot, life):
        self.slot, self.life = slot, life
        self.clock = bench.root / f"clock-{life}"
        self.log = bench.root / f"{life}.history"
        self.out = bench.root / f"{life}.out"
        self.error = bench.root / f"{life}.err"
        self.set_clock(0)
        env = dict(os.environ)
        if pathlib.Path(LIBFAKETIME).exists():
            env.update(LD_PRELOAD=LIBFAKETIME, FAKETIME_TIMESTAMP_FILE=str(self.clock), FAKETIME_CACHE_DURATION="1",
                       FAKETIME_DONT_FAKE_MONOTONIC="1")
        with open(self.out, "w") as out, open(self.error, "w") as error:
            self.process = subprocess.Popen(
                [str(bench.build / "history-client"), "--store", url, "--life", str(life), "--log", str(self.log),
                 "--shared", str(bench.root / "shared"), "--seed", str(bench.seed), "--clients", str(bench.args.clients),
                 "--pace", str(bench.args.pace), "--hold", "3000"],
                env=env, stdin=subprocess.PIPE, stdout=out, stderr=error, text=True, preexec_fn=die_with_parent)

    def set_clock(self, seconds):
        self.clock.write_text(f"{seconds:+d}\n")

    def tell(self, word):
        try:
            self.process.stdin.write(word + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"process {self.life} is gone: {self.error.read_text()}") from None

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()
        elif number == signal.SIGSTOP:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def lines(self):
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.endswith("}")]

    def counts(self):
        before = len(self.lines())
        self.tell("counts")
        return wait_for(f"counts of process {self.life}", lambda: self.lines()[before:], 20)[-1]

    def stop(self):
        self.tell("stop")

    def ended(self):
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise Failure(f"process {self.life} does not end") from None
        if status:
            raise Failure(f"process {self.life} ended with {status}: {self.error.read_text()}")
        return self.lines()[-1]


class Bench:
    """The store, the processes on it, and what happened to them."""

    def __init__(self, args, root, build, seed):
        self.args, self.root, self.build, self.seed = args, root, build, seed
        self.random = random.Random(seed)
        self.lives = 0
        self.cluster = self.disk = None
        self.processes, self.history = [], []
        self.counts = {}
        self.fenced = 0
        run("ip", "link", "set", "lo", "up")
        if args.store == "etcd":
            self.cluster = Cluster(root)
        elif args.store == "sqlite":
            self.disk = Disk(root / "disk", DISK // 4)
        for slot in range(args.processes if self.cluster else 1):
            self.processes.append(self.launch(slot))

    def launch(self, slot):
        self.lives += 1
        url = "memory"
        if self.cluster:
            url = self.cluster.url(slot)
        elif self.disk:
            url = f"sqlite:{self.disk.path}/store"
        process = Process(self, url, slot, self.lives)
        self.history.append(process)
        return process

    def replace(self, process):
        self.processes[process.slot] = self.launch(process.slot)

    def any(self):
        return self.random.choice(self.processes)

    def acknowledged(self):
        try:
            return struct.unpack("=Q", (self.root / "shared").read_bytes()[:8])[0]
        except (OSError, struct.error):
            return 0

    def recovered(self, seconds=30):
        """New writes are acknowledged, and all processes are there."""
        before = self.acknowledged()
        began = time.monotonic()
        wait_for("writes acknowledged again", lambda: self.acknowledged() > before + 20, seconds)
        for process in self.processes:
            if process.process.poll() is not None:
                raise Failure(f"process {process.life} ended with {process.process.returncode}: {process.error.read_text()}")
        return time.monotonic() - began

    def leading(self):
        """The process that holds v1/leader."""
        def find():
            name = self.cluster.get("v1/leader")
            return next((p for p in self.processes if name == f"life {p.life}"), None)
        return wait_for("somebody who leads", find, 30)

    def count(self, fault):
        self.counts[fault] = self.counts.get(fault, 0) + 1
