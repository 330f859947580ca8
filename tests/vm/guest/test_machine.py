"""The machine is what it says it is; otherwise the other tests prove something else."""
import os
import pathlib
import platform

GROUPS = os.environ["DIALTONE_TEST_GROUPS"]


def mounts():
    """Mount point -> file system type, in the machine's first mount namespace."""
    found = {}
    for line in pathlib.Path("/proc/1/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        found[left.split()[4]] = right.split()[0]
    return found


def test_control_groups_are_those_asked_for():
    found = mounts()
    first = {"v2": "cgroup2", "v1": "tmpfs", "hybrid": "tmpfs"}[GROUPS]
    assert found["/sys/fs/cgroup"] == first
    assert found.get("/sys/fs/cgroup/memory") == (None if GROUPS == "v2" else "cgroup")
    assert found.get("/sys/fs/cgroup/unified") == ("cgroup2" if GROUPS == "hybrid" else None)


def test_controllers_are_there():
    if GROUPS == "v2":
        assert {"cpu", "memory", "pids"} <= set(pathlib.Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
    else:
        assert all(pathlib.Path(f"/sys/fs/cgroup/{name}/cgroup.procs").exists() for name in ("cpu", "memory", "pids"))


def test_kernel_is_debians():
    assert platform.release().startswith("6.1.0-")
