"""Real applications, from a directory to a served page: C, static files, Express built by npm ci, Flask on gunicorn, Java,
Node 20, Python with a package of its own."""
import hashlib
import json
import shutil
import subprocess
import zipfile

import pytest

from lab import APPS, ROOT, Uplink


@pytest.fixture(scope="module")
def hello(tmp_path_factory):
    """A directory with nothing but a compiled C program."""
    folder = tmp_path_factory.mktemp("apps") / "hello"
    folder.mkdir()
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    return folder


def test_a_compiled_program_needs_no_manifest(platform, hello):
    said = platform.push(hello)
    assert "serves release 1" in said.stdout and "http://hello.apps.localhost:8080" in said.stdout
    status, headers, body = platform.get("hello")
    assert status == 200 and body.startswith("hello from 0 of ")


def test_unchanged_push_changes_nothing(platform, hello):
    before = platform.json("app", "hello")["release"]
    said = platform.push(hello)
    assert "unchanged" in said.stdout
    assert platform.json("app", "hello")["release"] == before


def test_static_site(platform):
    platform.push(APPS / "static-site")
    status, headers, body = platform.get("static-site")
    assert status == 200 and "<h1>A static site</h1>" in body and headers["content-type"].startswith("text/html")


def test_java_program_is_compiled_by_its_build(platform):
    platform.push(APPS / "java")
    status, _, body = platform.get("java")
    assert status == 200 and body.startswith("hello from Java 17")


def test_express_is_built_by_npm(platform):
    with Uplink(platform):
        said = platform.push(ROOT / "samples" / "express")
    assert "serves release 1" in said.stdout
    status, _, body = platform.get("express")
    answer = json.loads(body)
    assert status == 200 and answer["greeting"] == "hello from Express" and answer["node"].startswith("v22.")
    assert len(platform.ready("express", 2)) == 2


def test_the_same_build_is_not_run_again(platform):
    said = platform.push(ROOT / "samples" / "express")  # without an uplink
    assert "the earlier result is used" in said.stderr and "unchanged" in said.stdout


def test_flask_on_gunicorn(platform):
    platform.push(ROOT / "samples" / "flask")
    status, _, body = platform.get("flask")
    answer = json.loads(body)
    assert status == 200 and answer["python"].startswith("3.11") and answer["greeting"] == "hello from Flask"


def test_flask_runs_on_the_locked_packages(platform):
    """Unless the mirror has others by now; then the version says that it is not the locked one."""
    lock = [line.split() for line in (ROOT / "share" / "runtimes" / "flask.lock").read_text().splitlines()]
    locked = {f"{words[1]}={words[2]}" for words in lock if words[0] == "debian"}
    runtime = next(r for r in platform.json("runtimes")["items"] if r["name"] == "flask")
    if runtime["version"] == "2.2.2":
        assert set(runtime["packages"]) == locked and [["layer", runtime["layers"][0]]] == [w for w in lock if w[0] == "layer"]
    else:
        assert runtime["version"] == "2.2.2-" + runtime["layers"][0].removeprefix("sha256:")[:8]


def test_node_20(platform):
    platform.push(APPS / "node-20")
    status, _, body = platform.get("node-20")
    assert status == 200 and body.startswith("hello from Node v20.")


def wheel(folder):
    """A package as pip takes it; returns the line of requirements.txt that pins it."""
    folder.mkdir()
    path, info = folder / "greeting-1.0-py3-none-any.whl", "greeting-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("greeting.py", "def words():\n    return 'hello from'\n")
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return f"greeting==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_python_with_a_package_that_pip_installs(platform, tmp_path):
    app = tmp_path / "python"
    shutil.copytree(APPS / "python", app)
    (app / "requirements.txt").write_text(wheel(app / "wheels"))
    platform.push(app)
    status, _, body = platform.get("python")
    assert status == 200 and body.startswith("hello from Python 3.11.")
    pinned = (app / "requirements.txt").read_text()
    (app / "requirements.txt").write_text(pinned[:-2] + ("0" if pinned[-2] != "0" else "1") + "\n")  # another hash
    said = platform.push(app, check=False)
    assert said.returncode == 4 and "DO NOT MATCH THE HASHES" in said.stderr, said.stderr
    assert platform.get("python")[0] == 200


def test_the_apps_are_listed(platform):
    apps = {a["name"]: a for a in platform.json("apps")["items"]}
    assert {"hello", "express", "flask", "java", "static-site", "node-20", "python"} <= set(apps)
    assert all(a["state"] == "running" for a in apps.values()), {n: a["state"] for n, a in apps.items()}
