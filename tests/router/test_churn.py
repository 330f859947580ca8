"""Instances come and go a hundred times a second under load: nobody notices, and nothing is left behind."""
import http.server
import json
import random
import threading
import time

from stage import OK, Instance, Router, answer, get, read_until, sanitized, wait_for

CLIENTS = 20


class Server:
    """The router's end of the platform's API: a stream of tables, and acknowledgements."""

    def __init__(self):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                sent = 0
                while not server.over:
                    with server.changed:
                        server.changed.wait_for(lambda: server.table["version"] != sent or server.over, 1)
                        table = server.table
                    if table["version"] != sent:
                        sent = table["version"]
                        self.wfile.write(b"event: routes\ndata: %s\n\n" % json.dumps(table).encode())
                        self.wfile.flush()

            def do_POST(self):
                ack = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.changed:
                    server.ack = ack
                    server.acks += 1
                    server.changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.over = False
        self.changed = threading.Condition()
        self.table = {"version": 1, "routes": []}
        self.ack = {"version": 0, "busy": []}
        self.acks = 0
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.address = "127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.http.shutdown()
        self.http.server_close()

    def publish(self, instances):
        """instances: {id: Instance}. Returns the table's version."""
        with self.changed:
            route = {"host": "app.test", "path": "/", "tenant": "default", "environment": "dev", "app": "app",
                     "state": "running", "instances": [{"id": i, "address": each.address} for i, each in instances.items()]}
            self.table = {"version": self.table["version"] + 1, "routes": [route]}
            self.changed.notify_all()
            return self.table["version"]

    def acknowledged(self, version, without=()):
        """Waits as the platform does before it stops an instance: the version is served, the instance not busy."""
        with self.changed:
            assert self.changed.wait_for(
                lambda: self.ack["version"] >= version and not set(without) & set(self.ack["busy"]), 10)


class Load:
    """Clients that each ask again as soon as they have their answer."""

    def __init__(self, router, clients):
        self.router, self.over, self.answered, self.faults = router, False, 0, []
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self):
        with self.router.connect() as connection:
            while not self.over:
                connection.sendall(get(close=False))
                try:
                    reply = read_until(connection, b"\r\n\r\n")
                    while not reply.endswith(b"ok") and reply.startswith(b"HTTP/1.1 200"):
                        reply += connection.recv(65536)
                except (AssertionError, OSError) as fault:
                    reply = repr(fault).encode()
                if not reply.startswith(b"HTTP/1.1 200"):
                    self.faults.append(reply[:200])
                    return
                self.answered += 1

    def stop(self):
        self.over = True
        for thread in self.threads:
            thread.join(10)


def churn(server, router, instances, rng, seconds):
    """A new choice of instances every 10 ms under load, then one instance and silence."""
    load = Load(router, CLIENTS)
    end, tables = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        server.publish({i: instances[i] for i in rng.sample(sorted(instances), rng.randint(1, 5))})
        tables += 1
        time.sleep(0.01)
    load.stop()
    assert not load.faults and load.answered > 100 * seconds and tables > 30 * seconds
    server.acknowledged(server.publish({"i0": instances["i0"]}), without=set(instances) - {"i0"})
    wait_for(lambda: all(i.closed == len(i.connections) for i in instances.values()), "kept connections to end")


def test_instances_come_and_go_under_load():
    instances = {f"i{n}": Instance() for n in range(8)}
    rng = random.Random(7)
    with Server() as server, Router(api=server.address, kept=False, limits={"instance_idle_ms": 500}) as router:
        server.acknowledged(server.publish({"i0": instances["i0"]}))
        before = router.descriptors()
        churn(server, router, instances, rng, 2)
        memory = router.private_bytes()
        churn(server, router, instances, rng, 3)
        assert all(i.requests for i in instances.values())
        wait_for(lambda: router.descriptors() <= before, "descriptors to be closed",
                 lambda: f"{before} before, {router.descriptors()} now")
        # As much as the first churn took is reused by the second: what each table or request left would add up.
        grown = router.private_bytes() - memory
        assert sanitized() or grown < 200_000, f"{grown} bytes more than before"


def test_an_instance_goes_when_the_router_says_so():
    """Each is killed once the router has acknowledged a table without it and is not busy with it: no request is lost, of
    whatever method."""
    with Server() as server, Router(api=server.address, kept=False) as router:
        alive = {"i0": Instance()}
        server.acknowledged(server.publish(alive))
        load = Load(router, 5)
        for n in range(1, 40):
            alive[f"i{n}"] = Instance()
            old = alive.pop(f"i{n - 1}")
            server.acknowledged(server.publish(alive), without=[f"i{n - 1}"])
            old.kill()
        load.stop()
        assert not load.faults and load.answered > 100


def test_a_retry_goes_by_the_newest_table():
    """All instances of the table by which a request began are gone when it is tried again."""
    def script(instance, connection):
        instance.read(connection)
        asked.set()
        go.wait(10)
    asked, go = threading.Event(), threading.Event()
    old, new = Instance(script), Instance(answer(OK))
    with Server() as server, Router(api=server.address, kept=False) as router, router.connect() as connection:
        server.acknowledged(server.publish({"old": old}))
        connection.sendall(get(close=False))
        assert asked.wait(10)
        version = server.publish({"new": new})
        with server.changed:
            assert server.changed.wait_for(lambda: server.ack["version"] >= version, 10)
            assert server.ack["busy"] == ["old"]  # it is still waited for
        go.set()
        assert read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200")
        server.acknowledged(version, without=["old"])
    assert old.requests == new.requests == 1
