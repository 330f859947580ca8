"""A platform of the test's own: a network namespace, a data directory, a home directory; and tools to drive it."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DIALTONE = pathlib.Path(os.environ.get("DIALTONE", ROOT / "build" / "src" / "main" / "dialtone"))
CACHE = os.environ.get("DIALTONE_TEST_CACHE", "/var/cache/dialtone")
APPS = pathlib.Path(__file__).resolve().parent / "apps"


def run(*command, check=True, **options):
    result = subprocess.run([str(word) for word in command], text=True, capture_output=True, **options)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def wait_for(what, condition, seconds=30):
    """Waits until condition() is true, and returns its value; fails with its last value at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s; last: {value!r}")
        time.sleep(0.02)


class Platform:
    """`dialtone up` in a network namespace of its own."""

    def __init__(self, name, http="127.0.0.1:8080", api="127.0.0.1:7070", domain="apps.localhost", netns=None):
        self.netns = netns or f"dt-{name}-{os.getpid()}"
        self.own_netns = netns is None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=f"dialtone-{name}-"))
        self.data = self.root / "data"
        self.http, self.api, self.domain = http, api, domain
        self.home = self.root / "home"
        self.home.mkdir()
        self.env = {**os.environ, "HOME": str(self.home), "DIALTONE_SHARE": str(ROOT / "share"), "NO_COLOR": "1"}
        for name_ in ("DIALTONE_API", "DIALTONE_TOKEN"):
            self.env.pop(name_, None)
        if self.own_netns:
            run("ip", "netns", "add", self.netns)
            run("ip", "-n", self.netns, "link", "set", "lo", "up")

    def inside(self, *command):
        """A command line that runs in the platform's network namespace (and, unlike `ip netns exec`, leaves /sys as it is)."""
        return ["nsenter", f"--net=/run/netns/{self.netns}", *map(str, command)]

    def cli(self, *words, check=True, **options):
        return run(*self.inside(DIALTONE, *words), check=check, env=self.env, **options)

    def json(self, *words):
        return json.loads(self.cli(*words, "-o", "json").stdout)

    def up(self, *words):
        return self.cli("up", "--data", self.data, "--cache", CACHE, "--http", self.http, "--api", self.api, "--domain",
                        self.domain, "--detach", *words, timeout=120)

    def down(self, *words):
        return self.cli("down", "--data", self.data, *words, timeout=120)

    def close(self):
        self.cli("down", "--data", self.data, "--apps", check=False, timeout=120)
        if self.own_netns:
            run("ip", "netns", "del", self.netns, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def push(self, folder, *words, **options):
        return self.cli("push", folder, *words, timeout=600, **options)

    def instances(self, app):
        return self.json("ps", app)["items"]

    def ready(self, app, count, seconds=60):
        return wait_for(f"{count} ready instances of {app}",
                        lambda: [i for i in self.instances(app) if i["state"] == "ready"] if
                        sum(i["state"] == "ready" for i in self.instances(app)) == count else None, seconds)

    def pid(self, part):
        """The process id of a part of the platform: up, keeper, server, agent, router."""
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(words) > 3 and words[1] == part.encode() and str(self.data).encode() in words:
                return int(entry.name)
        return None

    def kill(self, part):
        """kill -9 of a part; returns once it is replaced by a new process."""
        old = wait_for(f"a {part} to kill", lambda: self.pid(part))
        os.kill(old, signal.SIGKILL)
        return wait_for(f"a new {part}", lambda: (lambda new: new if new and new != old else None)(self.pid(part)))

    def connect(self):
        """A connected socket to the router, made inside the namespace."""
        host, port = self.http.rsplit(":", 1)
        return connect_in(self.netns, host, int(port))

    def get(self, app, path="/", headers=None):
        return request(self, f"{app}.{self.domain}", path, headers)


_libc_lock = threading.Lock()


def connect_in(netns, host, port, timeout=30):
    """A socket belongs to the namespace that it was made in, so a thread that visits the namespace is enough."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    with _libc_lock, open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{netns}") as there:
        if libc.setns(there.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        finally:
            libc.setns(here.fileno(), 0x40000000)
    sock.settimeout(timeout)
    sock.connect((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Connection(http.client.HTTPConnection):
    def __init__(self, platform):
        super().__init__("platform")
        self.platform = platform

    def connect(self):
        self.sock = self.platform.connect()


def request(platform, host, path="/", headers=None, method="GET", body=None):
    """One request over a connection of its own: (status, headers, body)."""
    connection = Connection(platform)
    try:
        connection.request(method, path, body=body, headers={"Host": host, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")
    finally:
        connection.close()


class Load:
    """Constant load: a closed loop of idempotent requests over kept-alive connections, everything counted.

    Before the block begins, a second is measured in which nothing happens. In the block, and on until LEAST seconds have passed,
    every request that was sent must be answered with 200, at least SHARE as many a second as in that one, and at no time may all
    connections wait for STALL seconds. With retry, a request whose connection broke is sent again, once, as clients do with
    idempotent ones, and counted in `retried`."""

    LEAST, STALL, SHARE = 2, 5, 1 / 3

    def __init__(self, platform, app, connections=20, pause=0.02, retry=False):
        self.platform, self.host, self.pause, self.retry = platform, f"{app}.{platform.domain}", pause, retry
        self.sent = self.retried = 0
        self.answers = []  # (when, seconds since it was sent first) of each good answer
        self.failures = []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        try:
            wait_for("the first answers", lambda: len(self.answers) >= len(self.threads) or self.failures)
            self.usual = self.usual_rate()
        except BaseException:
            self.stop()
            raise
        self.began = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            time.sleep(max(0, self.began + self.LEAST - time.monotonic()))
        self.ended = time.monotonic()
        self.stop()
        if kind is None:
            self.check()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def usual_rate(self):
        """Good answers a second, over a second in which nothing else happens."""
        began, before = time.monotonic(), len(self.answers)
        time.sleep(1)
        return (len(self.answers) - before) / (time.monotonic() - began)

    def work(self):
        connection = Connection(self.platform)
        while not self.stopping.is_set():
            began = time.monotonic()
            with self.lock:
                self.sent += 1
            failure = self.one(connection)
            now = time.monotonic()
            with self.lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.answers.append((now, now - began))
            time.sleep(self.pause)
        connection.close()

    def one(self, connection):
        try:
            try:
                return self.ask(connection)
            except (ConnectionError, http.client.IncompleteRead):
                if not self.retry:
                    raise
                connection.close()
                with self.lock:
                    self.retried += 1
                return self.ask(connection)
        except Exception as error:  # whatever a client can meet counts as a failure
            connection.close()
            return repr(error)

    def ask(self, connection):
        connection.request("GET", "/", headers={"Host": self.host})
        answer = connection.getresponse()
        body = answer.read()
        return None if answer.status == 200 else f"{answer.status} {dict(answer.getheaders())} {body[:200]!r}"

    def check(self):
        assert not self.failures, f"{len(self.failures)} of {self.sent} failed: {self.failures[:5]}"
        assert len(self.answers) == self.sent, f"{self.sent} requests were sent, {len(self.answers)} answered"
        times = sorted(when for when, _ in self.answers if self.began <= when <= self.ended)
        slowest = max(seconds for _, seconds in self.answers)
        points = [self.began, *times, self.ended]
        silence = max(b - a for a, b in zip(points, points[1:]))
        assert silence <= self.STALL, f"no connection had an answer for {silence:.1f} s; the slowest took {slowest:.1f} s"
        rate = len(times) / (self.ended - self.began)
        assert rate >= self.usual * self.SHARE, \
            f"{rate:.0f} answers a second, {self.usual:.0f} in the second before; the slowest took {slowest:.1f} s"


class Uplink:
    """Lets the platform's namespace out through the machine, for a step that needs a package registry."""

    def __init__(self, platform):
        self.netns = platform.netns
        self.link = f"dtup{os.getpid() % 10000}"
        self.table = f"dt_uplink_{os.getpid()}"

    def __enter__(self):
        inner = self.link + "i"
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", inner, "netns", self.netns)
        run("ip", "addr", "add", "198.18.77.1/30", "dev", self.link)
        run("ip", "link", "set", self.link, "up")
        run("ip", "-n", self.netns, "addr", "add", "198.18.77.2/30", "dev", inner)
        run("ip", "-n", self.netns, "link", "set", inner, "up")
        run("ip", "-n", self.netns, "route", "add", "default", "via", "198.18.77.1")
        self.forwarding = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
        self.before = self.forwarding.read_text()
        self.forwarding.write_text("1")
        run("nft", "-f", "-", input=f"""table ip {self.table} {{
    chain postrouting {{
        type nat hook postrouting priority 100;
        ip saddr 198.18.77.0/30 masquerade
    }}
}}
""")
        return self

    def __exit__(self, *_):
        run("nft", "delete", "table", "ip", self.table, check=False)
        run("ip", "link", "del", self.link, check=False)
        self.forwarding.write_text(self.before)
