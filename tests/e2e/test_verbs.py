"""The day-to-day verbs on a running app, and the shape of their JSON."""
import json
import os
import select
import subprocess

import pytest

from lab import APPS, DIALTONE, run, wait_for


@pytest.fixture(scope="module")
def app(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verbs")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text(
        "name: verbs\nruntime: none\nstack: shell\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\nenv:\n  COLOUR: blue\n")
    platform.push(folder)
    return "verbs"


APP = {"name", "uid", "tenant", "environment", "spec", "release", "stopped", "state", "urls", "processes", "revision"}

# What a set names is in the answer; a list stands for a list that is not empty, each of whose items has this shape.
SHAPES = {
    ("apps",): {"items": [{"name", "state", "release", "processes", "urls", "updated_ms"}]},
    ("app", "verbs"): APP,
    ("ps", "verbs"): {"items": [{"instance", "process", "index", "node", "release", "state", "address", "restarts",
                                 "started_ms"}]},
    ("releases", "verbs"): {"items": [{"release", "artifact", "created_ms", "by", "reason", "spec", "current"}]},
    ("events", "verbs"): {"items": [{"at_ms", "type", "message"}]},
    ("audit",): {"items": [{"at_ms", "who", "from", "action", "outcome"}]},
    ("why", "verbs"): {"": {"app", "state", "summary", "missing", "exits", "probes", "hints", "nodes"},
                       "routes": [{"host", "path", "instances"}]},
    ("nodes",): {"items": [{"name", "state", "memory_bytes", "cpu_millis"}]},
    ("stacks",): {"items": [{"name", "version", "layers", "shell"}]},
    ("runtimes",): {"items": [{"name", "version", "layers", "build_ready"}]},
    ("status",): {"platform", "nodes", "apps", "instances", "store"},
    ("env", "verbs"): {"COLOUR"},
    ("version",): {"version"},
    ("doctor",): {"items": [{"state", "what", "detail"}]},
    ("help",): {"items": [{"name", "args", "summary", "options"}]},
    ("help", "push"): {"": {"name", "args", "summary"}, "options": [{"name", "letter", "value", "help"}]},
    ("push", "--help"): {"": {"name", "args", "summary"}, "options": [{"name", "letter", "value", "help"}]},
    ("completion", "fish"): {"shell", "script"},
}


def check_shape(answer, shape):
    for key, fields in ({"": shape} if isinstance(shape, set) else shape).items():
        if isinstance(fields, set):
            assert fields <= set(answer), fields - set(answer)
            continue
        assert answer[key], f"{key} is empty"
        for item in answer[key]:
            assert fields[0] <= set(item), fields[0] - set(item)


@pytest.mark.parametrize("words", SHAPES, ids=" ".join)
def test_json_has_its_shape(platform, app, words):
    check_shape(platform.json(*words), SHAPES[words])


def test_json_of_changes_has_its_shape(platform, tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    manifest = "name: shapes\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n"
    (tmp_path / "dialtone.yaml").write_text(manifest)
    check_shape(platform.json("plan", tmp_path), {"": {"changed"}, "changes": [{"path"}]})
    check_shape(platform.json("push", tmp_path), APP | {"changed"})
    for words in (("env", "shapes", "A=b"), ("rollback", "shapes"), ("scale", "shapes", "web=2"), ("stop", "shapes"), ("start", "shapes"),
                  ("restart", "shapes")):
        check_shape(platform.json(*words), APP)
    (tmp_path / "dialtone.yaml").write_text(manifest + "env:\n  A: c\n")
    check_shape(platform.json("plan", tmp_path), {"": {"changed"}, "changes": [{"path", "after"}]})
    wait_for("a node that refuses", lambda: refused(platform))
    check_shape(platform.json("delete", "shapes", "--yes"), {"name", "deleted"})


def refused(platform):
    """Asks for more than the node has; returns whether `why` says so."""
    platform.cli("scale", "shapes", "web=1000", "--no-wait")
    answer = platform.json("why", "shapes")
    if not answer["nodes"]:
        return False
    check_shape(answer, {"": {"app", "state", "summary", "hints"}, "nodes": [{"node", "refused"}],
                         "missing": [{"process", "wanted", "ready", "detail"}]})
    return True


def test_json_of_logs_is_an_object_a_line(platform, app):
    platform.get(app, "/log/3")
    wait_for("the lines", lambda: "line 2 of 3" in platform.cli("logs", app).stdout)
    lines = [json.loads(line) for line in platform.cli("logs", app, "-o", "json").stdout.splitlines()]
    assert lines
    for line in lines:
        check_shape(line, {"type", "at_ms", "process", "index", "instance", "stream", "text"})


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_json_of_what_is_run(platform, app, verb):
    """Each line is an object, no character is cut in two, and the last one has the status."""
    script = r"printf '\303'; sleep 0.3; printf '\251\000\377'; echo bad >&2; printf '\342\202'; exit 3"
    said = platform.cli(verb, "-o", "json", app, "sh", "-c", script, check=False)
    lines = [json.loads(line) for line in said.stdout.splitlines()]
    assert said.returncode == 3 and lines.pop() == {"type": "exit", "exit": 3} and not said.stderr
    assert {line["type"] for line in lines} == {"output"}
    text = {stream: "".join(line["text"] for line in lines if line["stream"] == stream) for stream in ("out", "err")}
    assert text == {"out": "\u00e9\0\ufffd\ufffd\ufffd", "err": "bad\n"}
    said = platform.cli(verb, "-o", "json", app, "nothere", check=False)
    assert said.returncode == json.loads(said.stderr)["exit"] == 127 and not said.stdout
    assert platform.cli(verb, "-o", "json", "--tty", app, "true", check=False).returncode == 2


def test_json_of_builds_has_its_shape(platform, tmp_path):
    """A stack and a recipe of one's own over it, both made of files alone."""
    shipped, own = tmp_path / "share" / "stacks", tmp_path / "own"
    shipped.mkdir(parents=True)
    own.mkdir()
    (shipped / "tiny.yaml").write_text("kind: stack\nname: tiny\nversion: '1'\nfiles: {/etc/motd: hello}\n")
    (own / "lang.yaml").write_text("kind: runtime\nname: lang\nversion: '2'\nover: tiny@1\nfiles: {/usr/bin/lang: x}\n")
    env = {**platform.env, "DIALTONE_SHARE": str(tmp_path / "share")}
    for words in (("runtime", "build", "./lang.yaml"), ("stack", "build", "tiny")):
        said = run(*platform.inside(DIALTONE, *words, "--cache", tmp_path / "cache", "-o", "json"), env=env, cwd=own)
        check_shape(json.loads(said.stdout), {"name", "version", "digest", "built"})
    assert not json.loads(said.stdout)["built"]  # tiny was, for lang


@pytest.mark.parametrize("words", [w for w in SHAPES if w[0] not in ("version", "completion")], ids=" ".join)
def test_tables_are_for_people(platform, app, words):
    said = platform.cli(*words, check=False)
    assert said.stdout.strip() and "\033" not in said.stdout and "(null)" not in said.stdout


def test_env_change_makes_a_release_that_sees_it(platform, app):
    before = platform.json("app", app)["release"]
    platform.cli("env", app, "COLOUR=green", "SIZE=big")
    assert platform.json("env", app)["COLOUR"] == "green"
    assert platform.json("app", app)["release"] == before + 1
    assert platform.get(app, "/env/COLOUR")[2] == "green\n"
    platform.cli("env", app, "--unset", "SIZE")
    assert "SIZE" not in platform.json("env", app)


def test_stop_and_start(platform, app):
    platform.cli("stop", app)
    status, headers, _ = platform.get(app)
    assert status == 503 and headers["x-dialtone-error"] == "stopped"
    said = wait_for("the end in the events", lambda: [e["message"] for e in platform.json("events", app)["items"]
                                                      if e["type"] == "stopped" and e.get("instance")])
    assert said[0].startswith("web.0 ") and ("status" in said[0] or "signal" in said[0]), said
    platform.cli("start", app)
    assert platform.get(app)[0] == 200


def test_run_passes_the_exit_status_on(platform, app):
    said = platform.cli("run", app, "sh", "-c", "echo out; echo err >&2; echo $COLOUR; exit 42", check=False)
    assert said.returncode == 42 and "out" in said.stdout and "err" in said.stderr and "green" in said.stdout


def test_run_reads_standard_input(platform, app):
    said = platform.cli("run", app, "cat", input="through\n")
    assert said.stdout == "through\n"


def test_input_that_is_not_read_does_not_hold_up_the_output(platform, app):
    much = "0123456789abcde\n" * (2 << 20)
    said = platform.cli("exec", app, "sh", "-c", "head -c 100000000 /dev/zero; wc -c", input=much, timeout=60)
    assert said.stdout.lstrip("\0").strip() == str(len(much)) and len(said.stdout) > 100_000_000


def fill(pipe):
    """Writes to it until nothing is taken any more."""
    os.set_blocking(pipe, False)
    while select.select([], [pipe], [], 0.5)[1]:
        os.write(pipe, bytes(4096))


def test_a_client_that_goes_away_ends_what_it_started(platform, app):
    """Also when nobody reads its input, so that the end of its connection lies behind that."""
    words = f"sleep {10_000_000 + os.getpid()}"
    ours, theirs = os.pipe()[::-1]
    with subprocess.Popen(platform.inside(DIALTONE, "exec", app, "sh", "-c", f"echo begun; exec {words}"), env=platform.env,
                          stdin=theirs, stdout=subprocess.PIPE) as client:
        os.close(theirs)
        assert client.stdout.readline() == b"begun\n"
        fill(ours)
        client.kill()
    os.close(ours)
    wait_for("the end of the process", lambda: subprocess.run(["pgrep", "-f", f"^{words}$"]).returncode == 1, 15)


def test_exec_is_inside_the_instance(platform, app):
    said = platform.cli("exec", app, "sh", "-c", "echo $INSTANCE_INDEX; ls /app")
    assert said.stdout.splitlines()[0] == "0" and "hello" in said.stdout
    assert platform.cli("exec", app, "sh", "-c", "exit 9", check=False).returncode == 9


def test_a_missing_program_is_named(platform, app):
    for verb in ("run", "exec"):
        said = platform.cli(verb, app, "nothere", check=False)
        assert said.returncode == 127 and "no program 'nothere'" in said.stderr, said.stderr


def test_logs_keep_past_instances(platform, app):
    platform.get(app, "/log/3")
    wait_for("the lines", lambda: "line 2 of 3" in platform.cli("logs", app).stdout)
    platform.cli("restart", app)
    said = platform.cli("logs", app, "--tail", "1000").stdout
    assert "line 2 of 3" in said and "web.0" in said and "OUT" in said
    lines = [l for l in said.splitlines() if " of 3" in l]
    assert [l.split()[-3] for l in lines[-3:]] == ["0", "1", "2"]


def test_scale_and_its_limits(platform, app):
    platform.cli("scale", app, "web=3")
    assert len(platform.ready(app, 3)) == 3
    assert sorted(i["index"] for i in platform.instances(app)) == [0, 1, 2]
    bad = platform.cli("scale", app, "nothere=2", check=False)
    assert bad.returncode != 0 and "nothere" in bad.stderr
    none = platform.cli("scale", app, "web=0")
    assert platform.json("app", app)["processes"]["web"]["running"] == 0, none
    assert "scaled to 0 does not run any more" in none.stdout and "/0 ready" not in none.stderr, none
    status, headers, page = platform.get(app)
    assert status == 503 and headers["x-dialtone-error"] == "stopped" and "scaled to 0" in page
    assert "scaled to 0" in platform.json("why", app)["summary"]
    said = platform.cli("scale", app, "web=1")
    assert said.stdout == f"{app} runs as wanted\n"


def test_what_cannot_be_placed_says_why(platform, app):
    said = platform.cli("scale", app, "web=1000", "--no-wait", check=False)
    if said.returncode == 0:
        why = wait_for("a reason", lambda: (lambda w: w if w["nodes"] else None)(platform.json("why", app)))
        assert "not enough" in why["nodes"][0]["refused"]
    platform.cli("scale", app, "web=1")


def test_delete_leaves_nothing(platform, app):
    instance = platform.instances(app)[0]["instance"]
    assert platform.cli("delete", app, check=False).returncode == 2  # without --yes and without a terminal
    platform.cli("delete", app, "--yes")
    assert platform.cli("app", app, check=False).returncode == 6
    assert platform.get(app)[0] == 404
    wait_for("the container to go", lambda: not (platform.data / "node" / "instances" / instance / "bundle" / "config.json").exists())


def test_completion_is_valid_shell(platform):
    script = platform.cli("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_mistyped_words_get_a_suggestion(platform):
    said = platform.cli("psuh", check=False)
    assert said.returncode == 2 and "did you mean 'push'" in said.stderr
    said = platform.cli("logs", "x", "--folow", check=False)
    assert said.returncode == 2 and "--follow" in said.stderr
