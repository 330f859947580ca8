"""`dialtone up` and `dialtone down`: what they say, change, take over and leave behind."""
import json
import os
import signal
import stat
import subprocess

import pytest
from lab import APPS, DIALTONE, Platform, connect_in, run, wait_for


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
    elsewhere = {**lab.env, "HOME": str(lab.root / "elsewhere")}
    again = run(*lab.inside(DIALTONE, "up", "--data", lab.data, "--detach"), check=False, env=elsewhere)
    assert again.returncode == 0 and "already up" in again.stdout, again.stderr
    assert run(*lab.inside(DIALTONE, "apps"), check=False, env=elsewhere).returncode == 0
    (lab.home / ".config" / "dialtone" / "config.json").unlink()
    again = lab.up()
    assert "already up" in again.stdout and lab.cli("apps", check=False).returncode == 0
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


def test_a_data_path_too_long_for_sockets_is_refused_at_once(lab):
    lab.data = lab.root / ("x" * (82 - len(str(lab.root)) - 1))
    assert len(str(lab.data)) == 82
    result = lab.cli("up", "--data", lab.data, "--detach", check=False)
    assert result.returncode == 1 and "82 bytes" in result.stderr and "81" in result.stderr and "--data" in result.stderr, result.stderr
    assert not lab.data.exists()
    (lab.root / "short").symlink_to("y" * 120)
    (lab.root / ("y" * 120)).mkdir()
    result = lab.cli("up", "--data", lab.root / "short", "--detach", check=False)
    assert result.returncode == 1 and "--data" in result.stderr
    lab.data = lab.root / ("x" * (81 - len(str(lab.root)) - 1))
    lab.up()


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


@pytest.fixture
def running(lab, tmp_path):
    """A platform with an app that is up, and the app's name."""
    lab.up()
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (tmp_path / "dialtone.yaml").write_text("name: stay\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    lab.push(tmp_path)
    assert lab.get("stay")[0] == 200
    return "stay"


def damage(lab):
    """Makes the database unreadable, and returns how to mend it."""
    database = lab.data / "store" / "store.db"
    kept = {file: file.read_bytes() for file in database.parent.glob("store.db*")}
    for file in kept:
        file.unlink()
    database.write_bytes(b"this is not a database" * 500)

    def mend():
        for file, content in kept.items():
            file.write_bytes(content)
    return mend


def test_without_a_control_plane_what_runs_is_served(lab, running):
    lab.down()
    mend = damage(lab)
    said = lab.cli("up", "--data", lab.data, "--detach", check=False, timeout=100)
    assert said.returncode == 1
    for word in ("the server does not stay up", "server.log", "1 instance runs", f"http://{lab.http}"):
        assert word in said.stderr, said.stderr
    assert lab.get(running)[0] == 200
    again = lab.cli("up", "--data", lab.data, "--detach", check=False, timeout=100)
    assert again.returncode == 1 and "1 instance runs" in again.stderr, again.stderr
    assert lab.get(running)[0] == 200
    mend()
    wait_for("the server to come by itself", lambda: lab.cli("status", check=False).returncode == 0)
    assert "already up" in lab.up().stdout
    assert lab.get(running)[0] == 200


def test_a_taken_api_port_leaves_what_runs_served(lab, running):
    lab.down()
    taken = subprocess.Popen(lab.inside("python3", "-c", "import socket,sys\ns=socket.socket()\n"
                                        "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\ns.bind(('127.0.0.1',7070))\n"
                                        "s.listen()\nprint('there',flush=True)\nsys.stdin.read()"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert taken.stdout.readline() == "there\n"
        said = lab.cli("up", "--data", lab.data, "--detach", check=False)
        assert said.returncode == 1 and "127.0.0.1:7070" in said.stderr and "1 instance runs" in said.stderr, said.stderr
        assert lab.get(running)[0] == 200
    finally:
        taken.stdin.close()
        taken.wait()
    wait_for("the server to come by itself", lambda: lab.cli("status", check=False).returncode == 0)
    assert lab.get(running)[0] == 200


def test_in_the_foreground_it_stays_without_a_control_plane(lab, running):
    lab.down()
    mend = damage(lab)
    up = subprocess.Popen(lab.inside(DIALTONE, "up", "--data", lab.data), env=lab.env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    try:
        while "1 instance runs" not in (line := up.stderr.readline()):
            assert line, "it ended"
        assert up.poll() is None and lab.get(running)[0] == 200
        mend()
        wait_for("the server to come by itself", lambda: lab.cli("status", check=False).returncode == 0)
        up.send_signal(signal.SIGINT)
        assert "The platform is stopped." in up.communicate(timeout=30)[0] and up.returncode == 0
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()


def test_up_does_not_suggest_what_is_so(lab):
    lab.http = "0.0.0.0:8080"
    said = lab.up().stdout
    assert "--http 0.0.0.0" not in said and "this machine's address" in said, said
    lab.down()
    lab.http = "127.0.0.1:8080"
    assert "up --http 0.0.0.0:8080" in lab.up().stdout


def test_up_and_down_for_programs(lab):
    answer = json.loads(lab.up("-o", "json").stdout)
    assert answer["api"] == "http://127.0.0.1:7070" and not answer["already_up"] and answer["data"] == str(lab.data)
    assert json.loads(lab.up("-o", "json").stdout)["already_up"]
    other = lab.cli("up", "--data", lab.data, "--http", "127.0.0.1:8090", "-o", "json", check=False)
    assert other.returncode == 1 and "8090" in json.loads(other.stderr)["error"]
    assert json.loads(lab.down("-o", "json").stdout) == {"stopped": True, "running": 0, "ended": 0}


def test_doctor_finds_the_platform(lab):
    """Without --data it looks at the one that 'up' started last, wherever that is; also when it is down."""
    lab.up()
    said = lab.cli("doctor").stdout
    for word in (str(lab.data), "keeper", "server", "agent", "router", "http://127.0.0.1:7070", f"http://{lab.http}"):
        assert word in said, said
    assert "failed" not in said, said
    os.kill(lab.pid("up"), signal.SIGKILL)
    assert "nobody restarts the keeper" in lab.cli("doctor").stdout
    lab.up()
    lab.down()
    down = lab.cli("doctor", check=False)
    assert down.returncode == 0 and "is down" in down.stdout and f"dialtone up --detach --data {lab.data}" in down.stdout, down.stdout
    assert {"state", "what", "detail", "mend"} <= set(lab.json("doctor")["items"][0])


def test_doctor_names_a_part_that_does_not_run(lab, running):
    lab.down()
    damage(lab)
    lab.cli("up", "--data", lab.data, "--detach", check=False, timeout=100)
    said = wait_for("the doctor to find it", lambda: (lambda r: r if r.returncode else None)(lab.cli("doctor", check=False)))
    assert "server.log" in said.stdout and "the router answers" in said.stdout, said.stdout


def test_doctor_where_nothing_is(lab):
    said = lab.cli("doctor", "--data", lab.root / "nothing", check=False)
    assert "no platform was started" in said.stdout and "dialtone up" in said.stdout, said.stdout
