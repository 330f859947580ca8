"""What a client and an instance see of the router, byte by byte."""
import socket
import threading
import time

import pytest

from stage import OK, Instance, Router, answer, get, read_all, read_until, status_of


def test_request_reaches_the_instance_and_the_answer_the_client():
    app = Instance()
    with Router(app) as router:
        reply = router.talk(get("/a?b=c"))
    assert status_of(reply) == 200 and reply.endswith(b"\r\n\r\nok")
    lines = app.record.split(b"\r\n")
    assert lines[0] == b"GET /a?b=c HTTP/1.1"
    assert b"host: app.test" in lines


def test_hosts_are_matched_without_case_and_port():
    app = Instance()
    with Router(app) as router:
        assert status_of(router.talk(get(host="APP.Test:8080"))) == 200
        reply = router.talk(get(host="other.test"))
    assert status_of(reply) == 404 and b"x-dialtone-error: no-route" in reply.lower()


def test_the_longest_path_wins_by_whole_segments():
    root, api = Instance(answer(OK)), Instance(answer(OK.replace(b"ok", b"ap")))
    routes = [{"host": "app.test", "path": path, "tenant": "default", "environment": "dev", "app": path.strip("/") or "root",
               "state": "running", "instances": [{"id": "i" + path, "address": i.address}]}
              for path, i in (("/", root), ("/api", api))]
    with Router(routes=routes) as router:
        assert router.talk(get("/api")).endswith(b"ap")
        assert router.talk(get("/api/x?y")).endswith(b"ap")
        assert router.talk(get("/apiary")).endswith(b"ok")
        assert router.talk(get("/")).endswith(b"ok")


@pytest.mark.parametrize("state,code", [("stopped", b"stopped"), ("failing", b"failing"), ("starting", b"starting"),
                                        ("running", b"none-ready")])
def test_nothing_ready_says_why(state, code):
    with Router(state=state) as router:
        reply = router.talk(get())
        page = router.talk(get(extra="Accept: text/html\r\n"))
    assert status_of(reply) == 503 and b"x-dialtone-error: " + code in reply
    assert b"<!doctype html>" in page


def test_connections_are_kept_on_both_sides():
    app = Instance()
    with Router(app) as router, router.connect() as connection:
        for _ in range(5):
            connection.sendall(get(close=False))
            assert read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200")
        assert len(app.connections) == 1 and app.requests == 5


def test_pipelined_requests_are_answered_in_order():
    def script(instance, connection):
        while (request := instance.read(connection)) is not None:
            for line in request.split(b"\r\n"):
                if line.startswith(b"GET "):
                    path = line.split()[1]
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
    with Router(Instance(script)) as router:
        reply = router.talk(get("/1", close=False) + get("/2", close=False) + get("/3"))
    assert [reply.index(b"\r\n\r\n/" + n) for n in (b"1", b"2", b"3")] == sorted(
        reply.index(b"\r\n\r\n/" + n) for n in (b"1", b"2", b"3"))


def test_what_the_client_claims_about_itself_is_replaced():
    app = Instance()
    spoofed = ("X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"
               "X-Kept: yes\r\n")
    with Router(app) as router:
        router.talk(get(extra=spoofed))
    assert b"6.6.6.6" not in app.record
    for field in (b"x-forwarded-for: 127.0.0.1", b"x-forwarded-proto: http", b"x-forwarded-host: app.test", b"x-kept: yes",
                  b"forwarded: for=127.0.0.1;host=\"app.test\";proto=http"):
        assert field in app.record.split(b"\r\n")


def test_hop_by_hop_fields_end_here():
    reply_with = b"HTTP/1.1 200 OK\r\nConnection: x-own, keep-alive\r\nX-Own: a\r\nKeep-Alive: timeout=5\r\nX-Yes: b\r\nContent-Length: 0\r\n\r\n"
    app = Instance(answer(reply_with))
    with Router(app) as router:
        reply = router.talk(get(extra="Connection: x-mine\r\nX-Mine: 1\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n", close=True))
        refused = router.talk(get(extra="Connection: authorization, close\r\nAuthorization: x\r\n", close=False))
    sent, got = app.record.lower(), reply.lower()
    assert b"x-mine" not in sent and b"\r\nte:" not in sent and b"proxy-connection" not in sent
    assert b"x-own" not in got and b"keep-alive" not in got and b"x-yes: b" in got
    assert status_of(refused) == 400


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: app.test\r\nX: a\r\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : app.test\r\n\r\n",
    b"GET / HTTP/1.1\nHost: app.test\n\n",
    b"GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
])
def test_malformed_requests_never_reach_an_instance(request_):
    app = Instance()
    with Router(app) as router:
        reply = router.talk(request_)
    assert status_of(reply) in (400, 501) and not app.record


def test_bodies_pass_both_ways_with_their_framing():
    body = b"x" * 200_000
    end = b"END"

    def script(instance, connection):
        instance.read(connection, end)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                           b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:70_000], body[70_000:])) + b"0\r\n\r\n")
    app = Instance(script)
    with Router(app) as router:
        fixed = router.talk(b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) + 3) + body + b"END")
        head, sent = app.record.split(b"\r\n\r\n", 1)
        assert b"content-length: 200003" in head and sent == body + b"END"
        app.record, end = b"", b"0\r\n\r\n"
        chunked = router.talk(b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", pieces=40)
    head, sent = app.record.split(b"\r\n\r\n", 1)
    assert b"transfer-encoding: chunked" in head and sent.endswith(b"0\r\n\r\n")
    assert b"".join(sent.split(b"\r\n")[1:-3:2]) == b"hello"  # in whatever pieces
    for reply in (fixed, chunked):
        head, rest = reply.split(b"\r\n\r\n", 1)
        assert b"transfer-encoding: chunked" in head and rest.endswith(b"0\r\n\r\n")
        assert rest.count(b"x") == 200_000


def test_an_old_client_gets_no_chunks():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
    with Router(app) as router:
        reply = router.talk(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
    assert b"chunked" not in reply and reply.endswith(b"\r\n\r\nhello")


def test_head_and_no_content_have_no_body():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"))
    with Router(app) as router, router.connect() as connection:
        connection.sendall(get(method="HEAD", close=False))
        assert b"content-length: 1000" in read_until(connection, b"\r\n\r\n")
        app.script = answer(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.sendall(get(method="HEAD"))
        assert read_all(connection)


def test_a_failed_connect_goes_to_another_instance():
    absent, app = Instance(listening=False), Instance()
    with Router(absent, app) as router:
        for _ in range(20):
            assert status_of(router.talk(get(method="POST", extra="Content-Length: 0\r\n"))) == 200
    assert app.requests == 20


def test_all_connects_failing_is_said():
    with Router(Instance(listening=False), Instance(listening=False)) as router:
        reply = router.talk(get())
    assert status_of(reply) == 502 and b"x-dialtone-error: connect-failed" in reply


def test_an_idempotent_request_that_broke_is_sent_once_more():
    def crash(instance, connection):
        instance.read(connection)
    broken, app = Instance(crash), Instance()
    with Router(broken, app) as router:
        for _ in range(30):
            assert status_of(router.talk(get())) == 200
    assert broken.requests and app.requests == 30


def test_a_post_that_broke_is_not_sent_again():
    def crash(instance, connection):
        instance.read(connection)
    one, two = Instance(crash), Instance(crash)
    with Router(one, two) as router:
        reply = router.talk(get(method="POST", extra="Content-Length: 0\r\n"))
    assert status_of(reply) == 502 and b"x-dialtone-error: broken" in reply
    assert one.requests + two.requests == 1


def test_a_request_is_sent_at_most_twice():
    def crash(instance, connection):
        instance.read(connection)
    instances = [Instance(crash) for _ in range(4)]
    with Router(*instances) as router:
        assert status_of(router.talk(get())) == 502
    assert sum(i.requests for i in instances) == 2


def test_a_kept_connection_that_the_instance_closed_is_no_failure():
    app = Instance(answer(OK, close=True))  # closes behind each answer without having said so
    with Router(app) as router, router.connect() as connection:
        for _ in range(50):
            connection.sendall(get(close=False))
            assert read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200")


def test_a_truncated_answer_is_seen_as_such():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", close=True))
    with Router(app) as router:
        with pytest.raises(ConnectionResetError):
            reply = router.talk(get())
            assert not reply.endswith(b"0\r\n\r\n"), "the answer looks whole"
            raise ConnectionResetError  # ended without its last chunk: visible as well


def test_the_client_leaving_ends_the_instances_work():
    gone = threading.Event()

    def script(instance, connection):
        instance.read(connection)
        if not connection.recv(1):
            gone.set()
    with Router(Instance(script)) as router:
        connection = router.connect()
        connection.sendall(get(close=False))
        time.sleep(0.1)
        connection.close()
        assert gone.wait(10)


def test_upgrade_becomes_a_tunnel_with_independent_directions():
    def script(instance, connection):
        request = instance.read(connection)
        assert b"upgrade: websocket" in request.lower() and b"connection: upgrade" in request.lower()
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
        while piece := connection.recv(65536):
            connection.sendall(piece.upper())
        connection.sendall(b"last words")
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(extra="Upgrade: websocket\r\nConnection: Upgrade\r\n", close=False) + b"early")
        got = read_until(connection, b"EARLY")
        assert got.startswith(b"HTTP/1.1 101") and b"first" in got
        connection.sendall(b"hello" * 100_000)
        connection.shutdown(socket.SHUT_WR)
        rest = read_all(connection)
    assert rest.count(b"HELLO") == 100_000 and rest.endswith(b"last words")


def test_continue_is_asked_of_the_instance():
    def script(instance, connection):
        assert b"expect: 100-continue" in instance.read(connection).lower()
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        instance.read(connection, b"body!")
        connection.sendall(OK)
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(method="POST", extra="Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        connection.sendall(b"body!")
        assert read_all(connection).endswith(b"ok")


def test_an_answer_before_the_end_of_the_request_gets_through():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nnope")
        time.sleep(0.2)
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(method="POST", extra="Content-Length: 100000000\r\n", close=False))
        connection.sendall(b"x" * 50_000)
        reply = read_all(connection)
    assert status_of(reply) == 413 and reply.endswith(b"nope")


def test_slow_readers_hold_back_the_instance():
    produced = 0

    def script(instance, connection):
        nonlocal produced
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
        connection.settimeout(1)
        try:
            while True:
                produced += connection.send(b"x" * 65536)
        except TimeoutError:
            pass
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(close=False))
        time.sleep(2.5)
        assert 0 < produced < 50_000_000, f"{produced} bytes were taken for a client that reads nothing"


def test_stopping_finishes_what_is_in_flight():
    def script(instance, connection):
        instance.read(connection)
        time.sleep(0.5)
        connection.sendall(OK)
    with Router(Instance(script)) as router, router.connect() as connection, router.connect() as idle:
        connection.sendall(get(close=False))
        time.sleep(0.1)
        router.process.terminate()
        assert read_all(connection).endswith(b"ok")
        assert read_all(idle) == b""


def test_load_is_shared():
    apps = [Instance() for _ in range(3)]
    with Router(*apps) as router:
        for _ in range(90):
            assert status_of(router.talk(get())) == 200
    assert all(i.requests > 10 for i in apps), [i.requests for i in apps]
