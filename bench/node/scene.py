"""The real platform in a network and mount namespace of the bench's own, and the application that is measured on it."""
import ctypes
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parent.parent / "tests" / "e2e")]
from figures import fail, wait_for
from lab import APPS, Platform

STAMP = re.compile(rb"exec'd at (\d+)\n")
NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18


def enter_own_mounts():
    """What is mounted from now on is gone with this process. crun refuses a machine with cgroup v1 and v2, so v2 goes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        fail(f"cannot make a mount namespace: {os.strerror(ctypes.get_errno())}")
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)


def make_app(folder, name, instances):
    """The C web server of the end-to-end tests, which says on its output when it was exec'd."""
    folder.mkdir()
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c", HERE / "stamp.c"], check=True)
    (folder / "dialtone.yaml").write_text(f"name: {name}\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n"
                                          f"    instances: {instances}\n    memory: 32M\n")
    return folder


class Scene(Platform):
    """A platform in the namespaces that this process is in."""

    def __init__(self, name):
        super().__init__(name, netns="the bench's own")

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.close()
            raise
        self.token = (self.data / "secrets" / "operator.token").read_text().strip()
        host, port = self.api.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=60)
        self.connection.connect()
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.close()

    def inside(self, *command):
        return list(map(str, command))

    def connect(self):
        host, port = self.http.rsplit(":", 1)
        return socket.create_connection((host, int(port)), 30)

    def call(self, method, path, body=None):
        self.connection.request(method, "/v1/tenants/default/environments/dev/" + path, json.dumps(body) if body else None,
                                {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            fail(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text) if text else None

    def scale(self, app, instances):
        self.call("POST", f"apps/{app}/scale", {"process": "web", "instances": instances})

    def settled(self, app, instances, seconds=60):
        """Waits until so many are ready and no other is left."""
        def look():
            items = self.call("GET", f"apps/{app}/instances?limit=1000")["items"]
            ready = [item for item in items if item["state"] == "ready"]
            return (ready or [None]) if len(ready) == len(items) == instances else None
        return wait_for(f"{instances} ready instances of {app}", look, seconds)

    def folder(self, instance):
        return self.data / "node" / "instances" / instance

    def stamps(self, instance):
        """When the instance's application was exec'd: monotonic nanoseconds, one for each run."""
        pieces = sorted((self.folder(instance) / "log").glob("out.????????"))
        return [int(n) for n in STAMP.findall(b"".join(piece.read_bytes() for piece in pieces))]

    def folders(self):
        return {entry.name for entry in (self.data / "node" / "instances").iterdir()}

    def first_process(self, instance):
        """The container's init, as the keeper noted it."""
        text = (self.folder(instance) / "keeper").read_text()
        return int(re.search(r"\d+", text).group())

    def app_process(self, instance):
        init = self.first_process(instance)
        return int(pathlib.Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def private_kb(pid):
    """Memory that ending this process would free."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty|Hugetlb):\s+(\d+) kB", text, re.M))
