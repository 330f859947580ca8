"""What a push says: to a person who made a mistake, whose app does not come up, whose build fails."""
import http.client
import json
import os
import pathlib
import subprocess
import time

import pytest

from lab import APPS, DIALTONE, connect_in, run, wait_for

CLI_USAGE, CLI_MANIFEST, CLI_BUILD, CLI_NOT_SERVING, CLI_NOT_FOUND, CLI_DENIED, CLI_CONFLICT, CLI_UNREACHABLE = 2, 3, 4, 5, 6, 7, 8, 9


@pytest.fixture()
def folder(tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    return tmp_path


def manifest(folder, text):
    (folder / "dialtone.yaml").write_text(text)


def test_a_mistake_in_the_manifest_names_place_and_remedy(platform, folder):
    manifest(folder, "name: wrong\nruntime: none\nprocesses:\n  web:\n    comand: ./hello\n")
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_MANIFEST
    assert "dialtone.yaml:5:" in said.stderr and "command" in said.stderr
    manifest(folder, "name: wrong\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 256\n")
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_MANIFEST and "dialtone.yaml:6:" in said.stderr and "256M" in said.stderr


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "name: shop\n"])
def test_an_empty_manifest_is_given_an_example_that_works(platform, tmp_path, text):
    manifest(tmp_path, text)
    (tmp_path / "server.js").write_text("require('http').createServer((q, a) => a.end('hello')).listen(process.env.PORT)\n")
    said = platform.cli("push", tmp_path, check=False)
    assert said.returncode == CLI_MANIFEST and "dialtone.yaml does not say what to run" in said.stderr, said.stderr
    example = said.stderr.split("these two lines:\n")[1]
    manifest(tmp_path, text + "".join(line.strip() + "\n" for line in example.splitlines()[:2]))
    assert platform.json("plan", tmp_path)["changed"]


def test_an_unknown_runtime_is_named(platform, folder):
    manifest(folder, "name: wrong\nruntime: cobol@1\nprocesses:\n  web:\n    command: ./hello\n")
    said = platform.push(folder, check=False)
    assert said.returncode != 0 and "cobol" in said.stderr and "hint:" in said.stderr


def test_an_app_that_crashes_says_status_and_last_lines(platform, folder):
    manifest(folder, "name: crash\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    port: 8080\nenv:\n  PORT: nonsense\n")
    (folder / "crash.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("about to fail"); fflush(stdout); fputs("no database\\n", stderr); return 7; }\n')
    subprocess.run(["gcc", "-static", "-o", folder / "hello", folder / "crash.c"], check=True)
    manifest(folder, "name: crash\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    said = platform.push(folder, "--timeout", "60s", check=False)
    assert said.returncode == CLI_NOT_SERVING, said.stderr
    assert "exit status 7" in said.stderr and "no database" in said.stderr and "hint:" in said.stderr
    why = platform.cli("why", "crash").stdout
    assert "exit status 7" in why and "no database" in why


def test_a_bad_release_leaves_the_good_one_serving(platform, folder):
    manifest(folder, "name: safe\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    platform.push(folder)
    manifest(folder, "name: safe\nruntime: none\nprocesses:\n  web:\n    command: ./missing\n    memory: 32M\n")
    said = platform.push(folder, "--timeout", "60s", check=False)
    assert said.returncode == CLI_NOT_SERVING and "still serving" in said.stderr, said.stderr
    assert platform.get("safe")[0] == 200
    platform.cli("rollback", "safe")
    assert platform.get("safe")[0] == 200 and len(platform.ready("safe", 1)) == 1


@pytest.mark.parametrize("command,text,said_why", [
    ("./missing", None, "there is no program '/app/missing'"),
    ("./script", "#!/bin/sh\n", "needs the interpreter '/bin/sh'"),
    ("./data", "text\n", "not executable"),
])
def test_what_cannot_be_run_is_named(platform, folder, command, text, said_why):
    if text:
        (folder / command).write_text(text)
        (folder / command).chmod(0o644 if "data" in command else 0o755)
    manifest(folder, f"name: cannot\nruntime: none\nprocesses:\n  web:\n    command: {command}\n    memory: 32M\n")
    said = platform.push(folder, "--timeout", "60s", check=False)
    assert said.returncode == CLI_NOT_SERVING and said_why in said.stderr, said.stderr


def test_a_failing_build_deploys_nothing(platform, folder):
    manifest(folder, "name: nobuild\nruntime: none\nbuild:\n  command: sh -c 'echo compiling; exit 3'\nprocesses:\n  web:\n    command: ./hello\n")
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_BUILD, said.stderr
    assert "compiling" in said.stderr and "nothing was deployed" in said.stderr
    assert "exit status 3" in said.stderr and "output is above" in said.stderr and "what ran before" not in said.stderr
    assert platform.cli("app", "nobuild", check=False).returncode == CLI_NOT_FOUND
    kept = [item for item in platform.json("audit")["items"] if item["action"].endswith("/builds")]
    assert any(i["outcome"] == "failed" and "the build command failed" in i["detail"] for i in kept), kept


def test_the_manifest_is_no_input_of_the_build(platform, folder):
    """Another variable or count is no reason to build again."""
    text = ("name: built\nruntime: none\nstack: shell\nbuild:\n  command: sh -c 'ls > seen; cat /proc/sys/kernel/random/uuid >> seen'\n"
            "processes:\n  web:\n    command: ./hello\n    memory: 32M\n")
    (folder / "Procfile").write_text("web: other\n")
    manifest(folder, text)
    platform.push(folder)
    seen = platform.cli("exec", "built", "cat", "seen").stdout
    assert seen.splitlines()[:-1] == ["Procfile", "hello", "seen"]
    manifest(folder, text + "env:\n  A: b\n")
    said = platform.push(folder)
    assert "the earlier result is used" in said.stderr and platform.json("env", "built")["A"] == "b"
    assert platform.cli("exec", "built", "cat", "seen").stdout == seen
    (folder / "dialtone.yaml").rename(folder / "other.yaml")  # the same under another name, also when that is named from elsewhere
    assert not platform.json("plan", folder, "-f", folder / "other.yaml")["changes"]


def test_a_manifest_alone_is_enough(platform, tmp_path):
    manifest(tmp_path, "name: alone\nruntime: none\nstack: shell\nprocesses:\n  web:\n    command: sleep 1000\n    port: 0\n    memory: 32M\n"
                       "routes: []\n")
    platform.push(tmp_path)
    assert platform.cli("exec", "alone", "ls", "/app").stdout == ""
    platform.cli("delete", "alone", "--yes")


def test_plan_shows_what_push_then_does(platform, folder):
    manifest(folder, "name: plan\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\nenv:\n  OLD: x\n")
    first = platform.json("plan", folder)
    assert first["changed"] and not [c for c in first["changes"] if c["path"].startswith("build.")]
    platform.push(folder)
    assert not platform.json("plan", folder)["changes"]
    manifest(folder, "name: plan\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 64M\n")
    changes = {c["path"]: c for c in platform.json("plan", folder)["changes"]}
    assert changes["processes.web.memory"]["before"] == "32M" and changes["processes.web.memory"]["after"] == "64M"
    assert changes["env.OLD"]["before"] == "x" and changes["env.OLD"].get("after") is None
    platform.push(folder)
    assert not platform.json("plan", folder)["changes"]


def test_a_shell_line_is_refused_without_a_shell(platform, folder):
    manifest(folder, "name: shell\nruntime: none\nprocesses:\n  web:\n    command: ./hello | cat\n")
    said = platform.push(folder, check=False)
    assert said.returncode != 0 and "shell" in said.stderr


def test_a_request_without_a_token_is_refused(platform):
    script = ("import urllib.request, urllib.error\n"
              "try: urllib.request.urlopen('http://127.0.0.1:7070/v1/status')\n"
              "except urllib.error.HTTPError as e: print(e.code, e.headers['content-type'])\n")
    import lab
    said = lab.run(*platform.inside("/usr/bin/python3", "-c", script)).stdout
    assert said.startswith("401 application/problem+json")
    denied = platform.cli("apps", check=False)
    assert denied.returncode == 0
    platform.env["DIALTONE_TOKEN"] = "wrong"
    try:
        assert platform.cli("apps", check=False).returncode == CLI_DENIED
    finally:
        del platform.env["DIALTONE_TOKEN"]


def test_memory_of_large_requests_is_given_back(platform):
    token = (platform.data / "secrets" / "operator.token").read_text().strip()
    body = json.dumps({"digests": [f"sha256:{i:064x}" for i in range(250_000)]})

    def private_mb():
        status = pathlib.Path(f"/proc/{platform.pid('server')}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) / 1024
    host, port = platform.api.split(":")
    for _ in range(5):
        connection = http.client.HTTPConnection("platform")
        connection.sock = connect_in(platform.netns, host, int(port))
        connection.request("POST", "/v1/tenants/default/blobs/missing", body, {"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == 200
        connection.close()
    wait_for("the memory of requests that are over", lambda: private_mb() < 30, 20)


def test_nobody_there_is_said_so(platform):
    said = platform.cli("apps", "--api", "http://127.0.0.1:1", check=False)
    assert said.returncode in (CLI_UNREACHABLE, CLI_DENIED) and "hint:" in said.stderr
    said = run(*platform.inside(DIALTONE, "apps"), check=False, env={**platform.env, "DIALTONE_API": "127.0.0.1:7070"})
    assert said.returncode == CLI_USAGE and "DIALTONE_API" in said.stderr and "http://" in said.stderr, said.stderr


@pytest.mark.parametrize("command,place,said_why", [
    ("./hello $DATABASE_URL", "dialtone.yaml:5:14:", "$DATABASE_URL, which is not set"),
    ("./hello | cat", "dialtone.yaml:5:14:", "'|'"),
])
def test_what_the_server_finds_wrong_has_its_place_and_is_found_first(platform, folder, command, place, said_why):
    manifest(folder, f"name: early\nruntime: none\nprocesses:\n  web:\n    command: {command}\n")
    (folder / "unheard-of").write_bytes(os.urandom(1000))
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_MANIFEST and place in said.stderr and said_why in said.stderr, said.stderr
    assert "processes.web.command" in said.stderr and "spec." not in said.stderr
    assert "hint:" in said.stderr and "upload" not in said.stderr
    assert "POST /v1/tenants/default/blobs" not in [item["action"] for item in platform.json("audit")["items"]]


@pytest.mark.parametrize("files,command,runtime,stack", [
    ({"a": "ELF", "b": "ELF"}, "./a", "none", "minimal"),
    ({"main.py": "import app\n"}, "python3 main.py", "python", "minimal"),
    ({"bin/srv": "ELF"}, "bin/srv", "none", "minimal"),
    ({"run.sh": "#!/bin/sh\nexec ./a\n", "a": "ELF"}, "./run.sh", "none", "shell"),
])
def test_a_procfile_alone_says_the_runtime(platform, tmp_path, files, command, runtime, stack):
    program = b"\x7fELF"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(program if text == "ELF" else text.encode())
        (tmp_path / name).chmod(0o755)
    (tmp_path / "Procfile").write_text(f"web: {command}\n")
    changes = {c["path"]: c for c in platform.json("plan", tmp_path)["changes"]}
    assert changes["stack.version"]["after"].startswith(stack + "@")
    assert changes.get("runtime.version", {}).get("after", "none@").startswith(runtime + "@")


def test_a_procfile_that_says_nothing_of_the_runtime(platform, tmp_path):
    (tmp_path / "Procfile").write_text("web: rackup -p $PORT\n")
    said = platform.cli("plan", tmp_path, check=False)
    assert said.returncode == CLI_MANIFEST and "Procfile gives no runtime" in said.stderr, said.stderr
    assert "rackup" in said.stderr and "dialtone.yaml" in said.stderr and "python" in said.stderr
    names = said.stderr.split("one of: ")[1].split(";")[0].split(", ")
    assert len(names) == len(set(names)), names


def test_what_the_server_finds_wrong_is_the_manifests_fault_too(platform, folder):
    manifest(folder, "name: pipe\nruntime: none\nbuild:\n  command: sh -c 'echo compiling'\nprocesses:\n  web:\n    command: ./hello | cat\n")
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_MANIFEST and "'|'" in said.stderr, said.stderr
    assert "compiling" not in said.stderr  # it was refused before the build


def never_ready(folder):
    (folder / "idle.c").write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    subprocess.run(["gcc", "-static", "-o", folder / "hello", folder / "idle.c"], check=True)


def test_a_push_that_is_overtaken_says_so(platform, folder):
    never_ready(folder)  # so that the push is surely still waiting
    manifest(folder, "name: race\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    first = subprocess.Popen([str(word) for word in platform.inside(DIALTONE, "push", folder)], env=platform.env, text=True,
                             stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for("its first release", lambda: platform.cli("app", "race", check=False).returncode == 0)
    platform.cli("env", "race", "A=1", "--no-wait")
    said = first.communicate(timeout=60)[1]
    assert first.returncode == CLI_CONFLICT and "overtaken" in said, said


def test_an_app_that_listens_elsewhere_is_told(platform, folder):
    never_ready(folder)
    manifest(folder, "name: deaf\nruntime: none\nhealth: {grace: 1s}\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    said = platform.push(folder, check=False)
    assert said.returncode == CLI_NOT_SERVING, said.stderr
    assert "error: deaf does not come up: web.0 was stopped: not ready within 1000 ms" in said.stderr, said.stderr


def test_a_job_that_ended_well_has_completed(platform, folder):
    (folder / "done.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-static", "-o", folder / "hello", folder / "done.c"], check=True)
    manifest(folder, "name: job\nruntime: none\nprocesses:\n  job:\n    command: ./hello\n    memory: 32M\n    restart: on-failure\n")
    assert "job has completed release 1" in platform.push(folder).stdout
    why = platform.json("why", "job")
    assert why["state"] == "completed" and not why["missing"] and "ended with status 0" in why["summary"]
    assert [r["came_up"] for r in platform.json("releases", "job")["items"]] == [True]
    (folder / "done.c").write_text("int main(void) { return 4; }\n")
    subprocess.run(["gcc", "-static", "-o", folder / "hello", folder / "done.c"], check=True)
    manifest(folder, "name: job\nruntime: none\nprocesses:\n  job:\n    command: ./hello\n    memory: 32M\n    restart: never\n")
    said = platform.push(folder, "--timeout", "30s", check=False)
    assert said.returncode == CLI_NOT_SERVING and "exit status 4" in said.stderr, said.stderr
    assert [r["came_up"] for r in platform.json("releases", "job")["items"]] == [False, True]


def test_waiting_ends_in_time_while_nothing_changes(platform, folder):
    never_ready(folder)
    manifest(folder, "name: patient\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    for words in (["push", folder], ["restart", "patient"], ["env", "patient", "A=1"]):
        began = time.monotonic()
        said = platform.cli(*words, "--timeout", "1s", check=False)
        assert said.returncode == CLI_NOT_SERVING and time.monotonic() - began < 10, said.stderr
        assert "was not ready in the time allowed" in said.stderr and "the platform goes on with it" in said.stderr


def test_an_app_that_wants_more_memory_is_told_that_alone(platform, folder):
    (folder / "greedy.c").write_text("#include <stdlib.h>\n#include <string.h>\n"
                                     "int main(void) { for (;;) memset(malloc(1 << 20), 1, 1 << 20); }\n")
    subprocess.run(["gcc", "-O0", "-static", "-o", folder / "hello", folder / "greedy.c"], check=True)
    manifest(folder, "name: greedy\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 16M\n")
    said = platform.push(folder, "--timeout", "60s", check=False)
    assert said.returncode == CLI_NOT_SERVING and "out of memory" in said.stderr and "rollback" not in said.stderr, said.stderr
    hints = platform.json("why", "greedy")["hints"]
    assert any("raise `memory`" in hint for hint in hints)
    assert not any("$PORT" in hint or "rollback" in hint for hint in hints), hints


def test_one_crash_at_the_start_is_no_failure(platform, folder):
    # Its first run waits for a moment and then crashes; the second comes after that moment and serves.
    source = (APPS / "hello-c" / "hello.c").read_text().replace("int main(", "int run_web(")
    (folder / "late.c").write_text(source + """
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	time_t up = atol(getenv("UP_AT"));
	if (time(NULL) >= up)
		return run_web(argc, argv);
	while (time(NULL) < up)
		usleep(10000);
	return 7;
}
""")
    subprocess.run(["gcc", "-static", "-o", folder / "hello", folder / "late.c"], check=True)
    manifest(folder, f"name: late\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\nenv:\n  UP_AT: '{int(time.time()) + 5}'\n")
    platform.push(folder, "--timeout", "60s")
    assert [i["restarts"] for i in platform.ready("late", 1)] == [1]
    assert "crashed" in [e["type"] for e in platform.json("events", "late")["items"]]
    assert "failing" not in [e["type"] for e in platform.json("events", "late")["items"]]


def test_a_push_goes_on_when_the_server_dies_during_the_upload(platform, folder):
    manifest(folder, "name: heavy\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    (folder / "heavy").write_bytes(os.urandom(64 << 20))
    push = subprocess.Popen(platform.inside(DIALTONE, "push", folder), env=platform.env, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    arriving = platform.data / "blobs" / "default" / "tmp"
    wait_for("the upload", lambda: arriving.exists() and any(arriving.iterdir()))
    platform.kill("server")
    said, _ = push.communicate(timeout=60)
    assert push.returncode == 0 and "heavy serves release 1" in said, said
