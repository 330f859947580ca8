"""What all benches share: the form of a figure, and a place to run that leaves nothing behind."""
import ctypes
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIALTONE = pathlib.Path(os.environ.get("DIALTONE", ROOT / "build" / "src" / "main" / "dialtone"))


def spread(values):
    """The distance between the quartiles; of fewer than four values, between the least and the greatest."""
    if len(values) < 4:
        return max(values) - min(values)
    quarters = statistics.quantiles(values, n=4, method="inclusive")
    return quarters[2] - quarters[0]


def print_figure(name, values, unit):
    print(f"{name}\t{statistics.median(values):.4g}\t{spread(values):.2g}\t{unit}", flush=True)


def note(text):
    """For a person who watches; figures alone go to stdout."""
    print(f"# {text}", file=sys.stderr, flush=True)


def fail(text):
    sys.exit(f"error: {text}")


def wait_for(what, condition, seconds=30, pause=0.01):
    """Waits until condition() is true, and returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            fail(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return value


def end_in_order():
    """A signal that ends this program does so as an error would: what it started is stopped."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("error: told to stop"))


def enter_own_network():
    """Moves this process into a network namespace of its own, which ends with the last process in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:
        fail(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}; benches need root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
