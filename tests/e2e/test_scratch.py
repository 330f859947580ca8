"""The writable place of an instance, as a real push gets it: on disk, bounded, fresh at each start, gone afterwards."""
import pathlib
import subprocess

import pytest

from lab import APPS, wait_for

MIB = 1 << 20


def manifest(folder, name, disk):
    (folder / "dialtone.yaml").write_text(f"name: {name}\nruntime: none\nstack: shell\nprocesses:\n  web:\n    command: ./hello\n"
                                          f"    memory: 32M\n    cpu: 1\n    disk: {disk}\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("scratch")
    subprocess.run(["gcc", "-O2", "-static", "-o", made / "hello", APPS / "hello-c" / "hello.c"], check=True)
    return made


@pytest.fixture(scope="module")
def app(platform, folder):
    manifest(folder, "scratch", "128M")
    platform.push(folder)
    return "scratch"


def devices(platform):
    """Loop devices that have a file of the platform."""
    files = []
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            files.append(path.read_text())
        except OSError:
            pass  # detached meanwhile
    return [file for file in files if f"{platform.data}/" in file]


def shell(platform, app, command, check=True):
    return platform.cli("exec", app, "--", "sh", "-c", command, check=check)


def room(platform, app):
    return int(shell(platform, app, "df -B1 --output=avail /tmp | tail -n 1").stdout)


def write(platform, app, mib, check=True):
    return shell(platform, app, f"dd if=/dev/zero of=/tmp/file bs=1M count={mib}", check)


def test_more_than_the_memory_can_be_written(platform, app):
    assert 127 * MIB < room(platform, app) <= 128 * MIB
    write(platform, app, 100)
    assert 27 * MIB < room(platform, app) <= 28 * MIB
    assert platform.get(app)[0] == 200
    assert [(i["restarts"], i["state"]) for i in platform.instances(app)] == [(0, "ready")]


def test_no_more_than_the_disk_can_be_written(platform, app):
    said = write(platform, app, 200, check=False)
    assert said.returncode and "No space left" in said.stdout + said.stderr
    shell(platform, app, "rm /tmp/file")
    assert room(platform, app) > 127 * MIB
    assert platform.get(app)[0] == 200


def test_a_restart_in_place_finds_it_empty(platform, app):
    write(platform, app, 1)
    platform.get(app, "/exit/3")
    wait_for("the restart", lambda: [(i["restarts"], i["state"]) for i in platform.instances(app)] == [(1, "ready")])
    assert shell(platform, app, "ls /tmp /run").stdout.split() == ["/run:", "/tmp:"]
    wait_for("the old one to go", lambda: len(devices(platform)) == 1)


def test_it_stays_when_the_platform_is_killed(platform, app):
    write(platform, app, 1)
    for part in ("agent", "keeper"):
        platform.kill(part)
    wait_for("the instance", lambda: [i["state"] for i in platform.instances(app)] == ["ready"])
    assert wait_for("exec", lambda: shell(platform, app, "ls /tmp", check=False).stdout) == "file\n"
    assert len(devices(platform)) == 1


def test_disk_is_reserved(platform, app, folder):
    node = platform.json("nodes")["items"][0]
    assert node["used"]["disk_bytes"] == 128 * MIB and node["disk_bytes"] > 1 << 30
    manifest(folder, "huge", "1T")
    assert platform.push(folder, "--timeout", "3s", check=False).returncode
    assert "not enough disk: 1048576 MiB needed" in platform.cli("why", "huge").stdout
    platform.cli("delete", "huge", "--yes")


def test_too_little_is_refused(platform, folder):
    manifest(folder, "tiny", "4M")
    said = platform.push(folder, check=False)
    assert said.returncode and "disk" in said.stderr and "8M" in said.stderr, said.stderr


def test_nothing_is_left(platform, app):
    platform.cli("delete", app, "--yes")
    wait_for("its loop device to go", lambda: not devices(platform))


def test_down_leaves_nothing(platform, folder):
    manifest(folder, "left", "16M")
    platform.push(folder)
    write(platform, "left", 10)
    assert len(devices(platform)) == 1
    platform.down("--apps")
    assert not devices(platform)
