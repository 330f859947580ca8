"""A stage for router scenarios: the real router process, instances that answer by script and record every byte they get."""
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DIALTONE = pathlib.Path(os.environ.get("DIALTONE", ROOT / "build" / "src" / "main" / "dialtone"))

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Instance:
    """Serves connections one thread each with `script(instance, connection)`; `record` holds what came, in order."""

    def __init__(self, script=None, listening=True):
        self.script = script or answer(OK)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.record = b""
        self.requests = 0
        self.connections = []
        self.closed = 0
        if listening:
            threading.Thread(target=self.accept, daemon=True).start()
        else:
            self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            try:
                self.script(self, connection)
            except OSError:
                pass
        self.closed += 1

    def read(self, connection, until=b"\r\n\r\n"):
        """Reads until the bytes of this request contain `until`; None at the end of input."""
        got = b""
        while until not in got:
            piece = connection.recv(65536)
            if not piece:
                return None
            got += piece
            self.record += piece
        self.requests += 1
        return got

    def kill(self):
        """As a crash: the port and every connection go, with a reset."""
        self.listener.close()
        for connection in self.connections:
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
            except OSError:
                pass


def answer(bytes_, until=b"\r\n\r\n", close=False):
    def script(instance, connection):
        while instance.read(connection, until) is not None:
            connection.sendall(bytes_)
            if close:
                return
    return script


class Router:
    def __init__(self, *instances, state="running", routes=None, files=None, limits=None, api="127.0.0.1:1", kept=True):
        """limits: {"head_ms": 500}; api: where the server is (none: the router serves by the table that it kept); kept=False:
        it has none."""
        self.folder = tempfile.TemporaryDirectory(prefix="dialtone-router-")
        data = pathlib.Path(self.folder.name)
        for name in ("router", "secrets"):
            (data / name).mkdir()
        (data / "secrets" / "node.token").write_text("secret\n")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.at = self.listener.getsockname()
        (data / "platform.json").write_text(json.dumps({
            "id": "abcdef", "domain": "test", "http": "127.0.0.1:%d" % self.at[1], "api": api,
            "cache": str(data), "subnet": "100.64.0.0/20"}))
        entry = {"host": "app.test", "path": "/", "tenant": "default", "environment": "dev", "app": "app", "state": state,
                 "instances": [{"id": "i%d" % k, "address": i.address} for k, i in enumerate(instances)]}
        table = {"version": 1, "routes": routes if routes is not None else [entry]}
        if kept:
            (data / "router" / "routes.json").write_text(json.dumps(table))
        self.listener.setblocking(False)
        os.set_inheritable(self.listener.fileno(), True)
        self.log = open(data / "log", "w+")
        environment = {**os.environ, "DIALTONE_LISTEN_FD": str(self.listener.fileno()),
                       "DIALTONE_ROUTER_LIMITS": ",".join(f"{name}={ms}" for name, ms in (limits or {}).items())}
        self.process = subprocess.Popen([DIALTONE, "router", "--data", str(data)], pass_fds=[self.listener.fileno()],
                                        env=environment, stderr=self.log)
        if files:
            resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (files, files))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.listener.close()
        self.log.seek(0)
        log = self.log.read()
        self.log.close()
        self.folder.cleanup()
        if kind is None:
            assert status == 0, f"the router ended with {status}\n{log}"

    def log_text(self):
        return pathlib.Path(self.log.name).read_text()

    def private_bytes(self):
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return 1024 * sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def freeze(self):
        """Stopped until SIGCONT, so that several things are there when it looks again."""
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        wait_for(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "the router to stand still")

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self, timeout=10):
        connection = socket.create_connection(self.at, timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def talk(self, request, pieces=1):
        """Sends the bytes over a connection of their own and reads to its end (the request must ask for it)."""
        with self.connect() as connection:
            step = max(1, len(request) // pieces)
            for at in range(0, len(request), step):
                connection.sendall(request[at:at + step])
                if pieces > 1:
                    time.sleep(0.001)
            return read_all(connection)


def read_all(connection):
    got = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return got
        got += piece


def read_until(connection, text):
    got = b""
    while text not in got:
        piece = connection.recv(65536)
        assert piece, f"the connection ended after {got!r}"
        got += piece
    return got


def get(path="/", host="app.test", extra="", close=True, method="GET"):
    return (f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}" + ("Connection: close\r\n" if close else "") +
            "\r\n").encode()


def status_of(reply):
    return int(reply.split(b" ", 2)[1])


def why(reply):
    """The status and X-Dialtone-Error of an answer of the router's own."""
    fields = dict(line.split(b": ", 1) for line in reply.split(b"\r\n\r\n")[0].split(b"\r\n")[1:])
    return status_of(reply), fields.get(b"x-dialtone-error", b"").decode()


def wait_for(condition, what, detail=lambda: "", seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what} {detail()}"
        time.sleep(0.05)


def raise_file_limit(n):
    """True when this process may open n files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
    return hard >= n


def sanitized():
    """True when the binary under test watches its memory (and so takes much more of it)."""
    return b"__asan_init" in DIALTONE.read_bytes()


def exhaust(connection, bytes_=b"x" * 65536):
    """Sends the bytes over and over until nothing has been taken for half a second; how many were."""
    connection.setblocking(False)
    sent, full_since = 0, time.monotonic()
    while time.monotonic() - full_since < 0.5:
        try:
            sent += connection.send(bytes_[sent % len(bytes_):])
            full_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    connection.setblocking(True)
    connection.settimeout(10)
    return sent
