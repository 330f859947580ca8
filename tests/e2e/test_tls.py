"""The API on an address that others reach: TLS by the platform's own authority, seen from another network namespace."""
import json
import subprocess

import pytest

from lab import APPS, DIALTONE, Platform, run, wait_for

HERE, THERE = "10.86.1.1", "10.86.1.2"


class Far:
    """Another machine: a namespace joined to the platform's, with a home directory of its own."""

    def __init__(self, platform):
        self.platform = platform
        self.netns = f"{platform.netns}-far"
        self.home = platform.root / "far"
        self.home.mkdir()
        self.env = {**platform.env, "HOME": str(self.home)}
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", platform.netns, "link", "add", "far0", "type", "veth", "peer", "name", "near0", "netns", self.netns)
        for netns, link, address in ((platform.netns, "far0", HERE), (self.netns, "near0", THERE)):
            run("ip", "-n", netns, "address", "add", f"{address}/24", "dev", link)
            run("ip", "-n", netns, "link", "set", link, "up")
            run("ip", "-n", netns, "link", "set", "lo", "up")

    def inside(self, *command):
        return ["nsenter", f"--net=/run/netns/{self.netns}", *map(str, command)]

    def cli(self, *words, check=True, **options):
        return run(*self.inside(DIALTONE, *words), check=check, env=self.env, **options)

    def curl(self, *words):
        return run(*self.inside("curl", "-s", "-m", 10, "-w", "\n%{http_code}", *words), check=False)

    def close(self):
        run("ip", "netns", "del", self.netns, check=False)


@pytest.fixture(scope="module")
def place():
    platform = Platform("tls", api=f"{HERE}:7070")
    far = Far(platform)
    try:
        platform.up("--servers", f"https://{HERE}:7070")  # agent and router, too, come by TLS
        yield platform, far
    finally:
        platform.close()
        far.close()


def fingerprint(platform):
    text = run("openssl", "x509", "-in", platform.data / "secrets" / "authority.pem", "-noout", "-fingerprint", "-sha256").stdout
    return text.split("=", 1)[1].strip()


def log_in(platform, far, *words, check=True):
    return far.cli("login", f"https://{HERE}:7070", "--token-file", platform.data / "secrets" / "operator.token", *words,
                   check=check)


def test_parts_are_mutually_known(place):
    """Agent and router have asked for certificates; on this machine the CLI needs nothing, by the loopback."""
    platform, _ = place
    assert platform.json("status")["nodes"] == 1
    for part in ("agent", "router"):
        log = (platform.data / "log" / f"{part}.log").read_text()
        assert "certificate for dialtone://" in log, log


def test_login(place):
    platform, far = place
    unknown = log_in(platform, far, check=False)
    assert unknown.returncode == 7 and "is not known here" in unknown.stderr
    assert fingerprint(platform).replace(":", "").lower() in unknown.stderr
    wrong = log_in(platform, far, "--fingerprint", "ab" * 32, check=False)
    assert wrong.returncode == 7 and "not the one given" in wrong.stderr
    assert not (far.home / ".config").exists()
    log_in(platform, far, "--fingerprint", fingerprint(platform))
    assert json.loads(far.cli("status", "-o", "json").stdout)["platform"]["id"]


def test_plain_is_refused(place):
    platform, far = place
    body, status = far.curl(f"http://{HERE}:7070/v1/status").stdout.rsplit("\n", 1)
    assert status == "400" and "use https://" in json.loads(body)["detail"]
    refused = far.cli("login", f"http://{HERE}:7070", "--token-file", platform.data / "secrets" / "operator.token", check=False)
    assert refused.returncode and "plain HTTP to another machine" in refused.stderr


def test_another_authority_is_not_believed(place, tmp_path):
    platform, far = place
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other", "-keyout",
        tmp_path / "key.pem", "-out", tmp_path / "ca.pem")
    refused = log_in(platform, far, "--ca", tmp_path / "ca.pem", check=False)
    assert refused.returncode and "certificate is not good" in refused.stderr


def test_node_certificate(place, tmp_path):
    """The node token alone asks for a certificate, and for nothing else; with it, a node speaks for itself only."""
    platform, far = place
    authority = platform.data / "secrets" / "authority.pem"
    token = (platform.data / "secrets" / "node.token").read_text().strip()
    run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/", "-keyout",
        tmp_path / "key.pem", "-out", tmp_path / "request.pem")

    def ask(path, body, *words):
        answer = far.curl("--cacert", authority, "-H", f"Authorization: Bearer {token}", "-d", json.dumps(body), *words,
                          f"https://{HERE}:7070{path}").stdout
        text, status = answer.rsplit("\n", 1)
        return int(status), json.loads(text)

    status, problem = ask("/v1/nodes/n1/report", {})
    assert status == 403 and "together with the node's certificate" in problem["detail"]
    status, issued = ask("/v1/certificates", {"node": "n1", "request": (tmp_path / "request.pem").read_text()})
    assert status == 200
    (tmp_path / "cert.pem").write_text(issued["certificate"])
    names = run("openssl", "x509", "-in", tmp_path / "cert.pem", "-noout", "-ext", "subjectAltName").stdout
    assert "/node/n1" in names
    shown = ("--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem")
    status, problem = ask("/v1/nodes/n1/report", {}, *shown)
    assert status == 400 and problem["field"] == "boot"  # heard, though it says nothing
    status, problem = ask("/v1/nodes/n2/report", {}, *shown)
    assert status == 403
    status, problem = ask("/v1/certificates", {"node": "n1", "request": "nonsense"})
    assert status == 400 and problem["field"] == "request"


def test_streams(place, tmp_path):
    """Upload, events and both ways of exec, from the other machine."""
    platform, far = place
    log_in(platform, far, "--fingerprint", fingerprint(platform))
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (tmp_path / "dialtone.yaml").write_text(
        "name: words\nruntime: none\nstack: shell\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    far.cli("push", tmp_path, timeout=300)
    text = "x" * 300000 + "\nend\n"
    said = far.cli("exec", "--no-tty", "words", "cat", input=text, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    assert said.stdout == text
    assert far.cli("exec", "--no-tty", "words", "--", "sh", "-c", "exit 7", check=False, timeout=60).returncode == 7


def test_restart_keeps_the_authority(place):
    platform, far = place
    before = fingerprint(platform)
    log_in(platform, far, "--fingerprint", before)
    platform.kill("server")
    wait_for("the new server", lambda: far.cli("status", check=False).returncode == 0)
    assert fingerprint(platform) == before
