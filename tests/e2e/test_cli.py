"""The command line itself: wrong words, errors for programs, completion, a platform that is away for a moment, Ctrl-C."""
import contextlib
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import threading
import time

import pytest

from lab import APPS, DIALTONE, wait_for

CLI_USAGE, CLI_NOT_FOUND, CLI_BUILD, CLI_NOT_SERVING, CLI_DENIED, CLI_UNREACHABLE = 2, 6, 4, 5, 7, 9


@pytest.fixture(scope="module")
def app(platform, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    subprocess.run(["gcc", "-O2", "-static", "-o", folder / "hello", APPS / "hello-c" / "hello.c"], check=True)
    (folder / "dialtone.yaml").write_text(
        "name: words\nruntime: none\nstack: shell\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    platform.push(folder)
    return "words"


@pytest.fixture()
def idle(tmp_path):
    """A directory with an app that never gets ready."""
    (tmp_path / "idle.c").write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "hello", tmp_path / "idle.c"], check=True)
    (tmp_path / "dialtone.yaml").write_text(
        "name: idle\nruntime: none\nprocesses:\n  web:\n    command: ./hello\n    memory: 32M\n")
    return tmp_path


WRONG = [
    ("up --http 99999", "ADDR:PORT"), ("up --http :0x50", "ADDR:PORT"), ("up --api 1.2.3.4", "ADDR:PORT"),
    ("up --http unix:/x", "ADDR:PORT"), ("up --domain UPPER", "domain name"), ("up --http :9 --api :9", "different ports"),
    ("up --data", "needs a value"), ("up --data= ", "needs a value"), ("up --htp :80", "--http"), ("up now", "'now'"),
    ("up --detach=yes", "takes no value"), ("down --app", "--apps"), ("down here", "'here'"), ("dwn", "'down'"),
    ("doctor --depp", "--deep"), ("doctor --api nowhere", "http://"), ("version 2", "'2'"), ("completion", "bash|zsh|fish"),
    ("completion tcsh", "fish"), ("completion bash zsh", "'zsh'"), ("help psh", "'push'"), ("help push pull", "'pull'"),
    ("stack build", "build RECIPE"), ("stack bild shell", "'build'"), ("runtime build a b", "'b'"),
    ("runtime build node --lock", "--locked"), ("stack build shell --locked --update-lock", "contradict"),
    ("push a b", "'b'"), ("push --timeout 5", "no unit"), ("push --timeout --no-wait", "needs a value"), ("push -n", "needs a value"),
    ("push --name Not_A_Name", "name"), ("push --timeout -3s", "--timeout"), ("push --nam x", "--name"), ("plan --timeout 3s", "--timeout"),
    ("apps words", "'words'"), ("apps -o yaml", "json"), ("apps -o", "needs a value"), ("apps --tenant A", "name"),
    ("apps --api ftp://x", "http://"), ("apps --environment ''", "needs a value"), ("app", "needs APP"), ("ps", "needs APP"), ("ps a b", "'b'"),
    ("logs words --since yesterday", "--since"), ("logs words --tail many", "lines"), ("logs words --tail 99999999", "lines"),
    ("logs words -x", "'-x'"), ("scale words", "PROCESS=COUNT"), ("scale words web", "PROCESS=COUNT"), ("scale words web=-1", "PROCESS=COUNT"),
    ("scale words web=two", "PROCESS=COUNT"), ("scale words web=1001", "1000"), ("rollback words x", "number of a release"),
    ("rollback words 0", "number of a release"), ("env words =x", "NAME=VALUE"), ("env words X", "NAME=VALUE"),
    ("events words --limit 0", "1 to 1000"), ("audit --limit 1001", "1 to 1000"), ("audit --limit ten", "1 to 1000"),
    ("run words", "COMMAND"), ("exec words", "COMMAND"), ("--quiet apps", "behind the command"), ("delete words", "--yes"),
]


@pytest.mark.parametrize("line,says", WRONG, ids=[line for line, _ in WRONG])
def test_wrong_words_end_with_2_and_say_what_is_right(platform, app, line, says):
    words = [word if word != "''" else "" for word in line.split()]
    said = platform.cli(*words, check=False)
    assert said.returncode == CLI_USAGE, said.stdout + said.stderr
    assert said.stderr.startswith("error: ") and says in said.stderr and "\nhint: " in said.stderr, said.stderr
    assert said.stdout == ""


def test_wrong_words_change_nothing(platform, app):
    before = platform.json("app", app)
    assert platform.cli("restart", app, "--timeout", "5", check=False).returncode == CLI_USAGE
    assert platform.cli("scale", app, "web=2", "web=x", check=False).returncode == CLI_USAGE
    assert platform.cli("env", app, "A=1", "--timeout", "soon", check=False).returncode == CLI_USAGE
    after = platform.json("app", app)
    assert (after["release"], after["processes"], after["revision"]) == (before["release"], before["processes"], before["revision"])


def commands(platform):
    return re.findall(r"^  ([a-z]+) ", platform.cli("help").stdout, re.M)


def test_every_command_has_help(platform):
    names = commands(platform)
    assert {"push", "up", "down", "doctor", "why"} <= set(names)
    for name in names:
        said = platform.cli(name, "--help").stdout
        assert said.startswith(f"Usage: dialtone {name}") and "-o, --output" in said, said
        assert platform.cli("help", name).stdout == said
        assert all(len(line) <= 120 for line in said.splitlines()), said


@pytest.mark.parametrize("words,status", [
    (("app", "nothere"), CLI_NOT_FOUND), (("ps", "nothere"), CLI_NOT_FOUND), (("logs", "nothere"), CLI_NOT_FOUND),
    (("rollback", "nothere"), CLI_NOT_FOUND), (("exec", "nothere", "sh"), CLI_NOT_FOUND), (("run", "nothere", "sh"), CLI_NOT_FOUND),
    (("push", "/nothere"), 3), (("plan", "/nothere"), 3), (("apps", "--nothere"), CLI_USAGE), (("stack", "build", "nothere"), CLI_NOT_FOUND),
    (("apps", "--api", "http://127.0.0.1:1"), CLI_DENIED), (("nothere",), CLI_USAGE),
], ids=str)
def test_errors_for_programs(platform, app, words, status):
    said = platform.cli(words[0], "-o", "json", *words[1:], check=False)
    error = json.loads(said.stderr)
    assert said.returncode == status == error["exit"] and error["error"] and error["hint"] and not said.stdout, said.stderr


def test_a_failed_push_for_programs(platform, idle):
    said = platform.push(idle, "-o", "json", "--timeout", "500ms", check=False)
    error = json.loads(said.stderr)
    assert said.returncode == CLI_NOT_SERVING == error["exit"] and error["app"]["name"] == "idle" and error["instances"]
    (idle / "dialtone.yaml").write_text("name: idle\nruntime: none\nbuild:\n  command: sh -c 'echo compiling; exit 3'\n"
                                        "processes:\n  web:\n    command: ./hello\n")
    error = json.loads(platform.push(idle, "-o", "json", check=False).stderr)
    assert error["exit"] == CLI_BUILD and "compiling" in error["output"]
    said = platform.push(idle, "--quiet", check=False).stderr  # silent until it fails
    assert said.startswith("error: the build failed") and "compiling" in said, said
    platform.cli("delete", "idle", "--yes")


def test_progress_is_lines_in_a_pipeline_and_nothing_when_quiet(platform, app):
    said = platform.cli("restart", app)
    assert "running: " in said.stderr and "\r" not in said.stderr and "\033" not in said.stderr
    assert len(set(said.stderr.splitlines())) == len(said.stderr.splitlines())
    said = platform.cli("restart", app, "--quiet")
    assert said.stderr == "" and "restarted" in said.stdout


# ---- Completion in the real shells ----

def complete_bash(platform, *words):
    script = platform.cli("completion", "bash").stdout
    line = " ".join(words)
    probe = f"""{script}
COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={line!r}; COMP_POINT={len(line)}
_dialtone; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    said = subprocess.run(platform.inside("bash", "-c", probe), env=with_dialtone(platform), text=True, capture_output=True)
    assert said.stderr == ""
    return said.stdout.split()


def with_dialtone(platform):
    return {**platform.env, "PATH": f"{DIALTONE.parent}:{platform.env['PATH']}"}


def complete_fish(platform, *words):
    script = platform.cli("completion", "fish").stdout
    line = " ".join(words)
    said = subprocess.run(platform.inside("fish", "--no-config", "-c", f"{script}\ncomplete -C {line!r}"), env=with_dialtone(platform),
                          text=True, capture_output=True)
    assert said.stderr == "", said.stderr
    return [row.split("\t")[0] for row in said.stdout.splitlines()]


def complete_zsh(platform, words, expected):
    """Presses Tab in a real zsh, and reads what it lists or puts there."""
    (platform.home / ".zshrc").write_text("PS1='ready> '\nunsetopt beep\nzstyle ':completion:*' list-prompt ''\nLISTMAX=1000\n"
                                          + platform.cli("completion", "zsh").stdout)
    env = {**with_dialtone(platform), "ZDOTDIR": str(platform.home), "TERM": "dumb", "COLUMNS": "200"}
    shell = Terminal(platform.inside("zsh", "-i"), env)
    try:
        shell.until("ready> ")
        shell.write(" ".join(words) + "\t\t")
        shell.until(expected)
    finally:
        shell.close()


@contextlib.contextmanager
def started(platform, *words, seconds=40, **options):
    """A command that runs on, for so long at most: whoever reads its output then reads its end."""
    process = subprocess.Popen(platform.inside(DIALTONE, *words), env=platform.env, text=True, stdout=subprocess.PIPE, **options)
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


class Terminal:
    """A process whose terminal we are."""

    def __init__(self, command, env):
        self.master, slave = pty.openpty()
        self.slave = os.dup(slave)
        self.process = subprocess.Popen([str(word) for word in command], env=env, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.text = ""

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.text += os.read(self.master, 65536).decode(errors="replace")
        return True

    def until(self, words, seconds=20):
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert self.read(max(0, deadline - time.monotonic())), f"no {words!r} within {seconds} s: {self.text!r}"

    def write(self, text):
        os.write(self.master, text.encode())

    def mode(self):
        return termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def wait(self, seconds=20):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"did not end: {self.text!r}"
            self.read(0.05)
        while self.read(0):
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


def shells():
    return [pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name} here"))
            for name in ("bash", "zsh", "fish")]


COMPLETED = [(("dialtone", "pl"), "plan"), (("dialtone", "logs", "--f"), "--follow"), (("dialtone", "up", "--de"), "--detach")]


@pytest.mark.parametrize("shell", shells())
def test_completion_in_the_shell(platform, app, shell):
    for words, expected in [*COMPLETED, (("dialtone", "ps", app[:2]), app)]:
        if shell == "zsh":
            complete_zsh(platform, words, expected)
        else:
            assert expected in (complete_bash if shell == "bash" else complete_fish)(platform, *words)


# ---- A platform that is away for a moment ----

def has_ended(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_restarting_server_is_waited_for(platform, app):
    for words in (("apps",), ("ps", app), ("env", app, "ROUND=1"), ("status",), ("run", app, "true")):
        server = wait_for("the server", lambda: platform.pid("server"))
        os.kill(server, signal.SIGKILL)
        wait_for("its end", lambda: has_ended(server))  # a change that it may have read is rightly not sent again
        said = platform.cli(*words, check=False)
        assert said.returncode == 0, (words, said.stderr)


def test_where_nobody_is_known_to_be_nothing_is_waited_for(platform):
    began = time.monotonic()
    assert platform.cli("apps", "--api", "http://127.0.0.1:1", check=False).returncode == CLI_DENIED
    assert time.monotonic() - began < 1
    platform.env["DIALTONE_TOKEN"] = "some"
    try:
        for words in (("apps",), ("logs", "words", "-f")):
            said = platform.cli(*words, "--api", "http://127.0.0.1:1", check=False, timeout=20)
            assert said.returncode == CLI_UNREACHABLE and "no platform listens" in said.stderr
    finally:
        del platform.env["DIALTONE_TOKEN"]


def test_following_logs_goes_on_after_a_restart(platform, app):
    with started(platform, "logs", app, "-f", "--tail", "1", stderr=subprocess.PIPE) as follow:
        platform.get(app, "/log/1")
        assert "line 0 of 1" in follow.stdout.readline() or "line 0 of 1" in follow.stdout.readline()
        platform.kill("server")
        assert "going on as soon as it is back" in follow.stderr.readline()
        wait_for("the server", lambda: platform.cli("status", check=False).returncode == 0)
        platform.get(app, "/log/2")
        assert "of 2" in follow.stdout.readline()
        follow.send_signal(signal.SIGINT)
        assert follow.wait(10) == -signal.SIGINT  # what a shell shows as 130


# ---- Ctrl-C ----

def test_ctrl_c_during_a_push_says_what_goes_on(platform, idle):
    terminal = Terminal(platform.inside(DIALTONE, "push", idle), platform.env)
    try:
        terminal.until("starting: ")
        terminal.write("\x03")
        assert terminal.wait() == -signal.SIGINT
        assert "the platform goes on with it; 'dialtone app idle'" in terminal.text, terminal.text
        assert platform.json("app", "idle")["state"] == "starting"
    finally:
        terminal.close()
        platform.cli("delete", "idle", "--yes")


def test_ctrl_c_during_a_build_stops_it(platform, idle):
    (idle / "dialtone.yaml").write_text("name: idle\nruntime: none\nbuild:\n  command: sh -c 'echo compiling; sleep 4321'\n"
                                        "processes:\n  web:\n    command: ./hello\n")
    terminal = Terminal(platform.inside(DIALTONE, "push", idle), platform.env)
    try:
        terminal.until("compiling")
        terminal.write("\x03")
        assert terminal.wait() == -signal.SIGINT and "nothing was deployed" in terminal.text, terminal.text
        assert platform.cli("app", "idle", check=False).returncode == CLI_NOT_FOUND
        wait_for("the build to end", lambda: not inside_containers(platform, "sleep 4321"))
    finally:
        terminal.close()


def inside_containers(platform, line):
    """The processes below the platform's keeper with this command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().replace(b"\0", b" ").decode().strip()
            if words == line and str(platform.pid("keeper")) in ancestors(pid):
                found.append(int(pid))
        except OSError:
            pass
    return found


def ancestors(pid):
    found = []
    while pid != "0":
        pid = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1]
        found.append(pid)
    return found


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_ctrl_c_ends_a_command_and_the_terminal_is_as_before(platform, app, verb):
    terminal = Terminal(platform.inside(DIALTONE, verb, app, "sh", "-c", "echo ready; sleep 9876"), platform.env)
    before = terminal.mode()
    try:
        terminal.until("ready")
        assert terminal.mode() != before  # raw: keys are the command's
        wait_for("the command", lambda: inside_containers(platform, "sleep 9876"))
        terminal.write("\x03")
        assert terminal.wait() == 130, terminal.text
        assert terminal.mode() == before
        wait_for("the command to end", lambda: not inside_containers(platform, "sleep 9876"))
    finally:
        terminal.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_killed_command_line_leaves_the_terminal_as_before(platform, app, how):
    terminal = Terminal(platform.inside(DIALTONE, "exec", app, "sh", "-c", "echo ready; sleep 9877"), platform.env)
    before = terminal.mode()
    try:
        terminal.until("ready")
        terminal.process.send_signal(how)
        assert terminal.wait() == 128 + how and terminal.mode() == before
        wait_for("the command to end", lambda: not inside_containers(platform, "sleep 9877"))
    finally:
        terminal.close()


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_ctrl_c_without_a_terminal_reaches_the_command(platform, app, verb):
    with started(platform, verb, app, "sh", "-c", "echo ready; exec sleep 9878", stdin=subprocess.DEVNULL) as command:
        assert command.stdout.readline() == "ready\n"
        command.send_signal(signal.SIGINT)
        assert command.wait(20) == 130
    wait_for("the command to end", lambda: not inside_containers(platform, "sleep 9878"))


def test_a_command_line_that_is_killed_leaves_no_command_behind(platform, app):
    with started(platform, "run", app, "sh", "-c", "echo ready; sleep 9879", stdin=subprocess.DEVNULL) as command:
        assert command.stdout.readline() == "ready\n"
    wait_for("the command to end", lambda: not inside_containers(platform, "sleep 9879"))
