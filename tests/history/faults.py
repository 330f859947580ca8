"""The faults: each is a function that does it to a bench, undoes it, and returns when that is over. What a run makes of them
is recovered() after each, and the judgement of the histories at the end."""
import signal
import time

from rig import Cluster, Failure, wait_for

LATER = 2  # seconds that a fault lasts when nothing says how long


def member_of(bench, leader):
    first = wait_for("etcd's leader", bench.cluster.leader, 30)
    return first if leader else bench.random.choice([m for m in bench.cluster.members if m is not first])


def kill_member(bench, leader):
    member = member_of(bench, leader)
    member.signal(signal.SIGKILL)
    time.sleep(LATER)
    member.start()


def stop_member(bench, leader, seconds):
    member = member_of(bench, leader)
    member.signal(signal.SIGSTOP)
    time.sleep(seconds)
    member.signal(signal.SIGCONT)


def kill_client(bench):
    process = bench.any()
    process.signal(signal.SIGKILL)
    bench.replace(process)


def stop_client(bench, seconds):
    process = bench.any()
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.signal(signal.SIGCONT)


def writing(bench):
    """Who leads and has just written as such, so that its next write is made already; and its counts."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        process = bench.leading()
        first = process.counts()
        time.sleep(0.5)
        second = process.counts()
        if second["fenced_ok"] > first["fenced_ok"]:
            return process, second
    raise Failure("nobody writes as the one who leads: not within 30 s")


def stop_leading(bench, seconds):
    """Who leads is paused and woken: another leads by then, and what the first still wanted to write is refused."""
    process, before = writing(bench)
    process.signal(signal.SIGSTOP)
    time.sleep(seconds)
    if bench.leading() is process:
        raise Failure(f"process {process.life} still leads after a pause of {seconds} s")
    process.signal(signal.SIGCONT)

    def refused():
        now = process.counts()
        return now["counter_fenced"] - before["counter_fenced"]
    bench.fenced += wait_for("the late write of who led before is fenced", refused, 20)


def one_way(bench):
    member = member_of(bench, bench.random.random() < 0.5)
    peers = [m.address for m in bench.cluster.members if m is not member]
    sets = [peers, peers[:1], [Cluster.HUB], peers + [Cluster.HUB]]
    member.drop(bench.random.choice(["input", "output"]), bench.random.choice(sets))
    time.sleep(3 + 3 * bench.random.random())
    member.join()


def partition(bench):
    """A member is cut off, with or without its clients; or all from each other."""
    way = bench.random.randrange(4)
    chosen = bench.cluster.members if way == 3 else [member_of(bench, way == 0)]
    for member in chosen:
        others = [m.address for m in bench.cluster.members if m is not member]
        if way == 1:
            others.append(Cluster.HUB)
        for chain in ("input", "output"):
            member.drop(chain, others)
    time.sleep(3 + 3 * bench.random.random())
    for member in chosen:
        member.join()


def compact_kill(bench):
    """History is compacted up to the very last revision, and a member dies meanwhile."""
    member = member_of(bench, bench.random.random() < 0.5)
    bench.any().tell("compact")
    time.sleep(0.2 * bench.random.random())
    member.signal(signal.SIGKILL)
    bench.any().tell("compact")
    time.sleep(1)
    member.start()


def big_until(bench, what, condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        for process in bench.processes:
            process.tell("big")
        time.sleep(1)


def disk_full(bench):
    """etcd ends by itself when its disk is full; a store on SQLite goes on without writes."""
    if bench.cluster:
        member = bench.random.choice(bench.cluster.members)
        member.disk.fill()
        big_until(bench, f"{member.name} notices that its disk is full", member.died, 60)
        member.disk.empty()
        member.start()
        return
    process = bench.processes[0]
    bench.disk.fill()
    big_until(bench, "writes are refused", lambda: process.counts().get("no space"), 60)
    time.sleep(1)
    bench.disk.empty()


def quota(bench):
    """etcd's space quota is used up and gives an alarm; an operator makes room."""
    big_until(bench, "the quota is used up", lambda: "NOSPACE" in bench.cluster.ctl("alarm", "list", check=False), 60)
    time.sleep(1)
    bench.cluster.make_room()


def clock(bench):
    process = bench.any()
    for seconds in (3600, -3600, 0):
        process.set_clock(seconds)
        time.sleep(1.5)


def storm(bench):
    """Hundreds of keys are held, contended for and given back; one of the holders dies."""
    for process in bench.processes:
        process.tell("storm")
    time.sleep(1)
    if bench.cluster:
        kill_client(bench)
        time.sleep(LATER)


FAULTS = {  # name: (what to do, seconds that it may take, on which stores)
    "kill-leader": (lambda b: kill_member(b, True), 6, "etcd"),
    "kill-follower": (lambda b: kill_member(b, False), 6, "etcd"),
    "stop3-leader": (lambda b: stop_member(b, True, 3), 8, "etcd"),
    "stop3-follower": (lambda b: stop_member(b, False, 3), 8, "etcd"),
    "stop30-leader": (lambda b: stop_member(b, True, 30), 40, "etcd"),
    "stop30-follower": (lambda b: stop_member(b, False, 30), 40, "etcd"),
    "kill-client": (kill_client, 4, "etcd sqlite"),
    "stop3-client": (lambda b: stop_client(b, 3), 6, "etcd sqlite memory"),
    "stop8-leading": (lambda b: stop_leading(b, 8), 14, "etcd"),
    "stop30-leading": (lambda b: stop_leading(b, 30), 40, "etcd"),
    "one-way": (one_way, 10, "etcd"),
    "partition": (partition, 10, "etcd"),
    "compact-kill": (compact_kill, 5, "etcd"),
    "disk-full": (disk_full, 15, "etcd sqlite"),
    "quota": (quota, 20, "etcd"),
    "clock": (clock, 6, "etcd sqlite memory"),
    "storm": (storm, 6, "etcd sqlite memory"),
}
