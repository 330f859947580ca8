"""`dialtone up` and `dialtone down`: what they say, change, take over and leave behind."""
import json
import os
import signal
import stat
import subprocess

import pytest
from lab import DIALTONE, Platform, connect_in, run, wait_for


@pytest.fixture
def lab(request):
    """A platform that is not up."""
    p = Platform("updown")
    try:
        yield p
    finally:
        p.close()


def parts(platform):
    return {part: platform.pid(part) for part in ("keeper", "server", "agent", "router")}


def test_up_says_how_to_reach_it_and_again_that_it_is_up(lab):
    said = lab.up().stdout
    for word in ("The platform is up", "http://127.0.0.1:7070", "http://APP.apps.localhost:8080", "Host: APP.apps.localhost",
                 "--domain NAME", str(lab.data)):
        assert word in said, said
    before = parts(lab)
    again = lab.up()
    assert again.returncode == 0 and "already up" in again.stdout
    assert parts(lab) == before
    other = lab.cli("up", "--data", lab.data, "--http", "127.0.0.1:8090", "--detach", check=False)
    assert other.returncode == 1 and "127.0.0.1:8080" in other.stderr and "hint:" in other.stderr
    assert parts(lab) == before


def test_the_token_is_kept_from_others_and_other_platforms_stay(lab):
    config = lab.home / ".config" / "dialtone" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"current": "http://10.0.0.1:7070", "platforms": {"http://10.0.0.1:7070": {"token": "x"}}}))
    lab.up()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    content = json.loads(config.read_text())
    assert content["current"] == "http://127.0.0.1:7070"
    assert content["platforms"]["http://10.0.0.1:7070"]["token"] == "x"
    token = content["platforms"]["http://127.0.0.1:7070"]["token"]
    assert (lab.data / "secrets" / "operator.token").read_text().strip() == token
    for secret in (lab.data / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_taken_port_is_named(lab):
    taken = subprocess.Popen(lab.inside("python3", "-c", "import socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',8080))\n"
                                        "s.listen()\nprint('there',flush=True)\nsys.stdin.read()"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert taken.stdout.readline() == "there\n"
        result = lab.cli("up", "--data", lab.data, "--http", lab.http, "--detach", check=False)
        assert result.returncode == 1
        assert "127.0.0.1:8080" in result.stderr and "--http" in result.stderr
        assert not any(parts(lab).values())
    finally:
        taken.stdin.close()
        taken.wait()


def test_a_part_that_cannot_start_is_shown_with_its_log(lab):
    lab.up()
    lab.down()
    database = lab.data / "store" / "store.db"
    for extra in ("-wal", "-shm"):
        database.with_name(database.name + extra).unlink(missing_ok=True)
    database.write_bytes(b"this is not a database" * 500)
    result = lab.cli("up", "--data", lab.data, "--detach", check=False, timeout=100)
    assert result.returncode == 1
    assert "the server does not stay up" in result.stderr and "server.log" in result.stderr and "store.db" in result.stderr
    assert not any(parts(lab).values())


@pytest.mark.parametrize("killed", [("up",), ("keeper",), ("up", "keeper"), ("up", "keeper", "server")])
def test_up_takes_over_what_lives(lab, killed):
    lab.up()
    before = parts(lab)
    for part in killed:
        os.kill(lab.pid(part), signal.SIGKILL)
    if "up" in killed:
        said = lab.up().stdout
        found = "running without a keeper" if "keeper" in killed else f"process {before['keeper']}) was running without"
        assert found in said, said
        assert lab.pid("up")
        lab.kill("keeper")  # and the new supervisor does what the old one did
    wait_for("all parts", lambda: all(parts(lab).values()))
    after = parts(lab)
    for part in ("server", "agent", "router"):
        assert (after[part] == before[part]) == (part not in killed), (part, before, after)
    assert lab.cli("status").returncode == 0
    assert "already up" in lab.up().stdout


def test_a_changed_address_is_taken_also_over_a_living_keeper(lab):
    lab.up()
    os.kill(lab.pid("up"), signal.SIGKILL)
    lab.http = "127.0.0.1:8090"
    assert "8090" in lab.up().stdout
    lab.connect().close()
    with pytest.raises(ConnectionRefusedError):
        connect_in(lab.netns, "127.0.0.1", 8080)
    assert json.loads((lab.data / "platform.json").read_text())["http"] == "127.0.0.1:8090"


def test_in_the_foreground_ctrl_c_stops_it(lab):
    up = subprocess.Popen(lab.inside(DIALTONE, "up", "--data", lab.data, "--http", lab.http),
                          env=lab.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        line = up.stdout.readline()
        assert "The platform is up" in line
        os.kill(lab.pid("keeper"), signal.SIGKILL)  # it is kept running here as well
        wait_for("a new keeper", lambda: lab.cli("status", check=False).returncode == 0 and lab.pid("keeper"))
        up.send_signal(signal.SIGINT)
        rest, _ = up.communicate(timeout=30)
        assert up.returncode == 0 and "The platform is stopped." in rest
        assert not any(parts(lab).values())
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()


@pytest.mark.parametrize("killed", [(), ("up",), ("up", "keeper")])
def test_down_stops_whoever_is_left(lab, killed):
    lab.up()
    for part in killed:
        os.kill(lab.pid(part), signal.SIGKILL)
    assert "The platform is stopped." in lab.down().stdout
    assert not any(parts(lab).values()) and not lab.pid("up")
    assert "not up" in lab.down("--apps").stdout
    links = run(*lab.inside("ip", "-br", "link")).stdout.split("\n")
    assert [line.split()[0] for line in links if line] == ["lo"]
    assert run(*lab.inside("nft", "list", "tables")).stdout == ""
    assert str(lab.data) not in open("/proc/self/mounts").read()
    assert list((lab.data / "run").iterdir()) == []


def test_down_where_nothing_is(lab):
    result = lab.cli("down", "--data", lab.root / "nothing")
    assert "nothing to stop" in result.stdout
