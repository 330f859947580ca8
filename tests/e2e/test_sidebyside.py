"""Two platforms on one machine, in one network namespace, do not touch each other."""
import subprocess

from lab import APPS, Platform


def test_two_platforms_side_by_side(tmp_path):
    subprocess.run(["gcc", "-O2", "-static", "-o", tmp_path / "hello", APPS / "hello-c" / "hello.c"], check=True)
    one = Platform("one")
    two = Platform("two", http="127.0.0.1:8081", api="127.0.0.1:7071", domain="two.localhost", netns=one.netns)
    try:
        one.up()
        two.up()
        for p in (one, two):
            p.push(tmp_path, "-n", "same")
        assert one.get("same")[0] == 200 and two.get("same")[0] == 200
        addresses = [p.instances("same")[0]["address"] for p in (one, two)]
        assert addresses[0] != addresses[1]
        two.down("--apps")
        assert one.get("same")[0] == 200
        assert len(one.ready("same", 1)) == 1
    finally:
        two.close()
        one.close()
