"""The rules that separate instances come back when somebody else flushes the machine's packet filter."""
import subprocess

from lab import run, wait_for


def tables(platform):
    return run(*platform.inside("nft", "list", "ruleset")).stdout


def test_flushed_rules_come_back(platform):
    before = wait_for("the rules", lambda: tables(platform))
    run(*platform.inside("nft", "flush", "ruleset"))
    wait_for("the same rules", lambda: tables(platform) == before, 20)
