"""Processes without a port: a release whose worker dies at once, or soon, never replaces one that works."""
import subprocess

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("worker begins");
	const char *life = getenv("LIFE_MS");
	if (!life)
		for (;;)
			pause();
	usleep(atoi(life) * 1000);
	puts("worker gives up");
	return 4;
}
"""


def test_a_worker_that_dies_replaces_nothing(platform, tmp_path):
    (tmp_path / "worker.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-static", "-o", tmp_path / "worker", tmp_path / "worker.c"], check=True)
    manifest = "name: toil\nruntime: none\nprocesses:\n  worker:\n    command: ./worker\n    memory: 32M\n"
    (tmp_path / "dialtone.yaml").write_text(manifest)
    platform.push(tmp_path)
    before = platform.ready("toil", 1)[0]["instance"]
    for life in (0, 400):
        (tmp_path / "dialtone.yaml").write_text(manifest + f"env:\n  LIFE_MS: '{life}'\n")
        answer = platform.cli("push", str(tmp_path), check=False)
        assert answer.returncode == 5, answer.stdout + answer.stderr
        assert "exit status 4" in answer.stderr or "status 4" in answer.stderr, answer.stderr
        assert "worker begins" in answer.stderr, answer.stderr
        assert [i["instance"] for i in platform.instances("toil") if i["state"] == "ready"] == [before]
    platform.cli("delete", "toil", "--yes")
