"""The five-minute tour of README.md: every command in it runs as it stands there, and shows what the text around it says."""
import re
import subprocess

import pytest

from lab import DIALTONE, ROOT, Uplink, wait_for


def tour():
    """The commands of the tour's code blocks, in order. A block with a language is an example of a file."""
    text = (ROOT / "README.md").read_text().split("\n## Five minutes\n", 1)[1].split("\n## ", 1)[0]
    return [line for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def samples(platform):
    """As `make up` leaves it."""
    with Uplink(platform):
        platform.push(ROOT / "samples" / "express")
    platform.push(ROOT / "samples" / "flask")


SHOWS = {  # what a person would look for in the output of a command that starts so
    "curl http://express.": "hello from Express",
    "dialtone apps": "flask",
    "dialtone ps express": "ready",
    "dialtone logs express": "listening",
    "dialtone push hello": "http://hello.apps.localhost:8080",
    "curl http://hello.": "<h1>hello</h1>",
    "dialtone plan hello": "artifact",
    "dialtone releases hello": "2 *",
    "dialtone rollback hello": "serves release 3",
    "dialtone run flask": "Python 3.11",
    "dialtone events express": "crashed",
    "dialtone audit": "scale",
}


def looks(command):
    """Whether a person may do it again, a moment later: the platform hears of a crash when the node reports it."""
    return command.startswith(("dialtone events", "dialtone logs", "dialtone ps"))


def ends_well(command, status):
    dies_with_its_container = "process.kill" in command and status == 128 + 9
    return status == 0 or dies_with_its_container


def test_every_command_of_the_tour_is_true(platform, samples, tmp_path):
    env = {**platform.env, "PATH": f"{DIALTONE.parent}:{platform.env['PATH']}"}
    unseen = dict(SHOWS)
    commands = tour()
    assert len(commands) > 15

    def do(command, words):
        said = subprocess.run(platform.inside("bash", "-c", command), env=env, cwd=tmp_path, text=True, capture_output=True, timeout=120)
        assert ends_well(command, said.returncode) and "error:" not in said.stderr, f"{command}\n{said.stdout}{said.stderr}"
        shown = all(word in said.stdout for word in words)
        assert shown or looks(command), f"{command}\n{said.stdout}{said.stderr}"
        return shown

    for command in commands:
        words = [unseen.pop(start) for start in list(unseen) if command.startswith(start)]
        wait_for(f"{words} in the output of {command}", lambda: do(command, words), 15)
    assert not unseen, f"the tour does not have these any more: {list(unseen)}"
