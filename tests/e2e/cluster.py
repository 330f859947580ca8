"""A platform whose control plane is several: etcd members, servers beside the node's own, all in the platform's network
namespace, each of which can be killed and paused."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from lab import CACHE, DIALTONE, Platform, run, wait_for


class Etcd:
    """Members on loopback, in memory where the machine has that."""

    def __init__(self, platform, members=3):
        self.platform = platform
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dialtone-etcd-", dir=base))
        self.clients = [f"127.0.0.1:{23790 + 10 * n}" for n in range(members)]
        self.peers = [f"http://127.0.0.1:{23795 + 10 * n}" for n in range(members)]
        self.processes = [None] * members
        for n in range(members):
            self.start(n)
        wait_for("etcd", lambda: self.leader() is not None)

    @property
    def url(self):
        return "etcd://" + ",".join(self.clients)

    def start(self, n):
        cluster = ",".join(f"m{i}={peer}" for i, peer in enumerate(self.peers))
        command = ["etcd", "--name", f"m{n}", "--data-dir", self.root / f"m{n}", "--listen-client-urls",
                   f"http://{self.clients[n]}", "--advertise-client-urls", f"http://{self.clients[n]}",
                   "--listen-peer-urls", self.peers[n], "--initial-advertise-peer-urls", self.peers[n],
                   "--initial-cluster", cluster, "--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error"]
        with open(self.root / f"m{n}.log", "ab") as log:
            self.processes[n] = subprocess.Popen(self.platform.inside(*command), stdout=log, stderr=log)

    def leader(self):
        """Which member leads; None while none does."""
        for n, client in enumerate(self.clients):
            if not self.processes[n] or self.processes[n].poll() is not None:
                continue
            said = run(*self.platform.inside("etcdctl", "--endpoints", client, "--command-timeout", "1s", "endpoint", "status",
                                             "-w", "json"), check=False, env={**os.environ, "ETCDCTL_API": "3"})
            if said.returncode == 0:
                status = json.loads(said.stdout)[0]["Status"]
                if status["leader"] and status["leader"] == status["header"]["member_id"]:
                    return n
        return None

    def kill(self, n):
        self.processes[n].kill()
        self.processes[n].wait()
        self.processes[n] = None

    def close(self):
        for n, process in enumerate(self.processes):
            if process:
                self.kill(n)
        shutil.rmtree(self.root, ignore_errors=True)


class Cluster:
    """The node's platform with a server of its own, `a`, and two more servers, `b` and `c`."""

    def __init__(self, name):
        self.platform = Platform(name)
        self.etcd = None
        self.apis = {"a": self.platform.api, "b": "127.0.0.1:7072", "c": "127.0.0.1:7073"}
        self.processes = {}
        try:
            self.etcd = Etcd(self.platform)
            self.platform.up("--store", self.etcd.url, "--name", "a")
            self.token = (self.platform.data / "secrets" / "operator.token").read_text().strip()
            for server in "bc":
                self.make(server)
                self.start(server)
            wait_for("three servers", lambda: self.servers() and len(self.servers()) == 3)
        except BaseException:
            self.close()
            raise

    def data(self, server):
        return self.platform.data if server == "a" else self.platform.root / server

    def make(self, server):
        self.data(server).mkdir(mode=0o700)
        (self.data(server) / "platform.json").write_text(json.dumps({
            "id": server * 6, "domain": self.platform.domain, "http": self.platform.http, "api": self.apis[server],
            "cache": CACHE, "subnet": "100.64.0.0/20", "store": self.etcd.url, "name": server}))

    def start(self, server):
        if server == "a":
            return  # the keeper does
        with open(self.data(server) / "log", "ab") as log:
            self.processes[server] = subprocess.Popen(self.platform.inside(DIALTONE, "server", "--data", self.data(server)),
                                                      stdout=log, stderr=log, env=self.platform.env)

    def pid(self, server):
        return self.platform.pid("server") if server == "a" else self.processes[server].pid

    def kill(self, server):
        os.kill(self.pid(server), signal.SIGKILL)
        if server != "a":
            self.processes[server].wait()

    def log(self, server):
        path = self.platform.data / "log" / "server.log" if server == "a" else self.data(server) / "log"
        return path.read_text(errors="replace")

    def ask(self, server, path, method="GET", body=None, headers=(), timeout=15):
        """(status, headers, JSON) of one server; None when it does not answer."""
        command = ["curl", "-s", "-m", timeout, "-X", method, "-H", f"Authorization: Bearer {self.token}", "-D", "-"]
        for header in headers:
            command += ["-H", header]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        said = subprocess.run([str(word) for word in self.platform.inside(*command, f"http://{self.apis[server]}{path}")],
                              capture_output=True)
        if said.returncode:
            return None
        head, _, rest = said.stdout.decode().partition("\r\n\r\n")
        lines = head.split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return int(lines[0].split()[1]), fields, json.loads(rest) if rest.strip() else None

    def status(self, server):
        said = self.ask(server, "/v1/status", timeout=2)
        return said[2] if said and said[0] == 200 else None

    def servers(self, of="abc"):
        """What any of these servers says: name → its term, 0 for those that do not decide."""
        for server in of:
            status = self.status(server)
            if status:
                return {s["name"]: s.get("term", 0) for s in status["servers"]}
        return None

    def leader(self, of="abc", after=0):
        """(name, term) of the server that decides, as these agree, with a term after this one; None while they do not."""
        said = {one for server in of for one in (self.servers(server) or {}).items() if one[1]}
        leader = said.pop() if len(said) == 1 else None
        return leader if leader and leader[1] > after else None

    def close(self):
        for server, process in self.processes.items():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        # etcd last: the platform can only be taken down while its store is there
        try:
            self.platform.cli("down", "--data", self.platform.data, "--apps", check=False, timeout=120)
        finally:
            if self.etcd:
                self.etcd.close()
            self.platform.close()
