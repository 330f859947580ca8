"""`dialtone store`: backups of a platform that is up and of one that is down, restoring into SQLite and etcd."""
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

import pytest
from lab import APPS, DIALTONE, Load, Platform, connect_in, run, wait_for


@pytest.fixture(scope="module")
def lab():
    p = Platform("store")
    try:
        p.up()
        p.push(APPS / "static-site", "--name", "shop")
        yield p
    finally:
        p.close()


class Etcd:
    """One member, in the root network namespace or a platform's."""

    def __init__(self, lab=None):
        inside = lab.inside if lab else lambda *words: words
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="dialtone-etcd-"))
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        client, peer = (s.getsockname()[1] for s in ports)
        for s in ports:
            s.close()
        self.url = f"etcd://127.0.0.1:{client}"
        urls = {"client": f"http://127.0.0.1:{client}", "peer": f"http://127.0.0.1:{peer}"}
        with open(self.root / "log", "w") as log:
            self.process = subprocess.Popen(
                [*inside("etcd"), "--name", "m", "--data-dir", str(self.root / "data"), "--listen-client-urls", urls["client"],
                 "--advertise-client-urls", urls["client"], "--listen-peer-urls", urls["peer"],
                 "--initial-advertise-peer-urls", urls["peer"], "--initial-cluster", f"m={urls['peer']}",
                 "--unsafe-no-fsync"], stdout=log, stderr=log)
        wait_for("etcd answers", lambda: run(*inside("etcdctl", "--endpoints", urls["client"], "endpoint", "health"),
                                             check=False, env={**os.environ, "ETCDCTL_API": "3"}).returncode == 0)

    def close(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)


@pytest.fixture(scope="module")
def etcd():
    if not shutil.which("etcd"):
        pytest.skip("etcd is not installed; scripts/install-deps installs it")
    e = Etcd()
    try:
        yield e
    finally:
        e.close()


def store(lab, *words, check=True):
    """Directly on files or on an etcd of the root network namespace."""
    return run(DIALTONE, "store", *words, check=check, env=lab.env)


def test_status(lab):
    said = lab.cli("store", "status").stdout
    assert "driver     sqlite" in said and "held back for a full disk" in said and "warning" not in said
    info = lab.json("store", "status")
    assert info["driver"] == "sqlite" and info["records"] > 5 and info["ballast_bytes"] > 0 and not info["full"]
    assert (lab.data / "store" / "ballast").stat().st_blocks * 512 >= info["ballast_bytes"]


def test_backup_of_a_platform_that_is_up(lab):
    file = lab.root / "backup"
    said = lab.cli("store", "backup", file).stdout
    assert "checked" in said and "secrets" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    newest = lab.json("audit")["items"][0]
    assert newest["action"] == "GET /v1/store/backup" and newest["who"] == "operator" and newest["outcome"] == "done"
    busy = store(lab, "backup", lab.root / "other", "--data", lab.data, check=False)
    assert busy.returncode and "is open there" in busy.stderr and not (lab.root / "other").exists()


def test_only_an_operator_gets_it(lab):
    token = (lab.data / "secrets" / "node.token").read_text().strip()
    for path in ("/v1/store/backup", "/v1/store"):
        connection = connect_in(lab.netns, "127.0.0.1", 7070)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert b" 403 " in connection.recv(100)
        connection.close()


def test_compact(lab):
    for i in range(3):
        lab.cli("env", "shop", f"N={i}", "--no-wait")
    assert lab.json("store", "status")["history_rows"] > 0
    lab.cli("store", "compact")
    wait_for("history is gone", lambda: lab.json("store", "status")["history_rows"] < 20)


def test_damaged_backups_are_refused(lab):
    file, bad = lab.root / "whole", lab.root / "bad"
    lab.cli("store", "backup", file)
    content = file.read_bytes()
    for damaged, word in ((content[:-30], "not whole"), (content[:500] + b"\xff" + content[501:], "damaged at byte"),
                          (b"hello" + content, "not a backup")):
        bad.write_bytes(damaged)
        said = store(lab, "restore", bad, "--store", lab.root / "nowhere", check=False)
        assert said.returncode and word in said.stderr and str(bad) in said.stderr
    assert not (lab.root / "nowhere").exists()


def seen(lab):
    """What the API shows, without what changes by itself."""
    app = lab.json("app", "shop")
    keep = {key: app[key] for key in ("uid", "name", "spec", "release", "created_ms", "stopped")}
    return keep, [(r["release"], r["artifact"], r["created_ms"]) for r in lab.json("releases", "shop")["items"]], \
        [(e["type"], e["at_ms"]) for e in lab.json("events", "shop")["items"]][-5:]


def test_there_and_back(lab, etcd):
    """SQLite to etcd, to another SQLite, and a platform up on that: the same app, as if nothing had been."""
    before = seen(lab)
    epoch = lab.json("store", "status")["epoch"]
    lab.down()
    files = lab.root / "moved"
    assert "compared one by one" in store(lab, "migrate", lab.data, etcd.url).stdout
    again = store(lab, "migrate", lab.data, etcd.url, check=False)
    assert again.returncode and "--replace" in again.stderr
    info = json.loads(store(lab, "status", "--store", etcd.url, "-o", "json").stdout)
    assert info["driver"] == "etcd" and info["members"][0]["leads"] and info["members"][0]["bytes"] > 0
    if info["members"][0]["version"].startswith("3.4."):
        assert any("upgrade" in w["mend"] for w in info["warnings"])
    backup = lab.root / "of-etcd"
    store(lab, "backup", backup, "--store", etcd.url)
    store(lab, "migrate", etcd.url, files)
    refused = store(lab, "restore", backup, "--data", lab.data, check=False)
    assert refused.returncode and "--replace" in refused.stderr
    store(lab, "restore", backup, "--data", lab.data, "--replace")
    assert (lab.data / "store.before-restore" / "store.db").exists()
    lab.up()
    assert seen(lab) == before
    assert lab.json("store", "status")["epoch"] != epoch
    wait_for("it serves", lambda: lab.json("app", "shop")["state"] == "running")


def test_moves_while_it_is_up(lab):
    """SQLite to etcd and back under a platform that serves all the while; changes in between are refused, or kept."""
    etcd = Etcd(lab)
    try:
        before = seen(lab)
        lab.cli("scale", "shop", "web=2")
        with Load(lab, "shop", connections=4):
            said = lab.cli("store", "migrate", lab.data, etcd.url).stdout
            assert "compared one by one" in said and "goes on with it" in said
            info = lab.json("store", "status")
            assert info["driver"] == "etcd" and info["members"][0]["in_use"]
            assert json.loads((lab.data / "platform.json").read_text())["store"] == etcd.url
            assert seen(lab) == before
            lab.cli("env", "shop", "MOVED=yes")
            lab.cli("store", "backup", lab.root / "online-of-etcd")
            back = lab.cli("store", "migrate", lab.data, lab.data / "store", check=False)
            assert back.returncode and "--replace" in back.stderr
            lab.cli("env", "shop", "AGAIN=yes")  # changes are taken again
            lab.cli("store", "migrate", lab.data, lab.data / "store", "--replace")
            assert lab.json("store", "status")["driver"] == "sqlite"
            assert "store" not in json.loads((lab.data / "platform.json").read_text())
            env = lab.cli("env", "shop").stdout
            assert "MOVED=yes" in env and "AGAIN=yes" in env
            lab.cli("scale", "shop", "web=1")
        assert seen(lab)[0]["uid"] == before[0]["uid"]
    finally:
        etcd.close()
