"""Real applications, from a directory to a served page: C, static files, Express built by npm ci, Flask on gunicorn, Java."""
import json
import subprocess

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


def test_the_apps_are_listed(platform):
    apps = {a["name"]: a for a in platform.json("apps")["items"]}
    assert {"hello", "express", "flask", "java", "static-site"} <= set(apps)
    assert all(a["state"] == "running" for a in apps.values()), {n: a["state"] for n, a in apps.items()}
