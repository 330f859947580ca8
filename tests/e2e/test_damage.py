"""A flipped byte in an uploaded file, an unpacked artifact or a layer is found and named. (The database: test_updown.)"""
import json
import pathlib
import shutil
import subprocess

import pytest

from lab import APPS, CACHE, wait_for


def flip(path, at=None):
    """Changes one byte in the middle."""
    content = bytearray(path.read_bytes())
    at = len(content) // 2 if at is None else at
    content[at] ^= 0x20
    mode = path.stat().st_mode
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.write(content)
    path.chmod(mode)


@pytest.fixture(scope="module")
def app(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    platform.push(folder, "-n", "damage")
    return folder


def doctor(platform, cache):
    said = platform.cli("doctor", "--deep", "--data", platform.data, "--cache", cache, "-o", "json", check=False)
    return said.returncode, [i for i in json.loads(said.stdout)["items"] if i["state"] == "failed"]


@pytest.fixture(scope="module")
def small_cache(tmp_path_factory):
    """A copy of one layer, to be damaged."""
    folder = tmp_path_factory.mktemp("cache")
    layer = next(p for p in sorted(pathlib.Path(CACHE, "layers").iterdir(), key=lambda p: (p / "manifest").stat().st_size)
                 if (p / "root").is_dir())
    subprocess.run(["mkdir", "-p", folder / "layers"], check=True)
    subprocess.run(["cp", "-a", layer, folder / "layers"], check=True)
    return folder


def test_sound_content_passes(platform, app, small_cache):
    assert doctor(platform, small_cache) == (0, [])


def test_a_damaged_layer_is_named(platform, app, small_cache):
    victim = next(p for p in (small_cache / "layers").rglob("*") if p.is_file() and not p.is_symlink() and
                  "root" in p.parts and p.stat().st_size > 100)
    flip(victim)
    status, found = doctor(platform, small_cache)
    assert status == 1 and len(found) == 1 and victim.name in found[0]["detail"], found
    flip(victim)


def test_a_damaged_upload_is_named_and_never_runs(platform, app, small_cache):
    victim = max((platform.data / "blobs" / "default" / "files").iterdir(), key=lambda p: p.stat().st_size)
    flip(victim)
    status, found = doctor(platform, small_cache)
    assert status == 1 and victim.name in found[0]["detail"], found
    unpacked = next((platform.data / "node" / "artifacts").iterdir())
    platform.cli("stop", "damage")
    shutil.rmtree(unpacked)  # must be fetched again
    platform.cli("start", "damage", "--no-wait")
    why = wait_for("a reason", lambda: (lambda text: text if victim.name[7:] in text else None)(platform.cli("why", "damage").stdout))
    assert platform.get("damage")[0] == 503, why
    flip(victim)
    platform.ready("damage", 1)


def test_a_damaged_artifact_is_named(platform, app, small_cache):
    victim = next((platform.data / "node" / "artifacts").rglob("root/app/hello"))
    flip(victim)
    status, found = doctor(platform, small_cache)
    flip(victim)
    assert status == 1 and "hello" in found[0]["detail"], found
