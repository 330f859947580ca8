"""The tests of containers, and of what else leans on the kernel, from tests/unit: each program as a whole."""
import json
import pathlib
import subprocess

import pytest

COMMANDS = json.loads(pathlib.Path("/proof/unit-tests.json").read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_program(name):
    done = subprocess.run(COMMANDS[name], text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, f"ended with {done.returncode}"  # 77, skipped, would be a failure here, too
    assert "SKIPPED" not in done.stdout
