"""What a client and an instance see of the router, byte by byte."""
import socket
import threading
import time

import pytest

from stage import (OK, Instance, Router, answer, get, raise_file_limit, read_all, read_until, sanitized, status_of,
                   wait_for)


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


@pytest.mark.parametrize("method,head", [("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
                                         ("GET", b"HTTP/1.1 204 No Content\r\n\r\n")])
def test_head_and_no_content_have_no_body(method, head):
    with Router(Instance(answer(head))) as router, router.connect() as connection:
        for _ in range(2):
            connection.sendall(get(method=method, close=False))
            reply = read_until(connection, b"\r\n\r\n")
            assert reply.endswith(b"\r\n\r\n") and b"chunked" not in reply
            assert (b"content-length: 1000" in reply) == (method == "HEAD")


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


def lines_of(record):
    return record.split(b"\r\n\r\n")[0].split(b"\r\n")


@pytest.mark.parametrize("request_line,passed_on", [
    ("GET http://app.test/a?b=c HTTP/1.1", b"GET /a?b=c HTTP/1.1"),
    ("GET http://app.test?b=c HTTP/1.1", b"GET /?b=c HTTP/1.1"),
    ("GET http://app.test HTTP/1.1", b"GET / HTTP/1.1"),
    ("OPTIONS http://app.test HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ("OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
    ("GET /a%2fb//..?x=%00 HTTP/1.1", b"GET /a%2fb//..?x=%00 HTTP/1.1"),
])
def test_each_form_of_a_target_is_passed_on_as_a_path(request_line, passed_on):
    app = Instance()
    with Router(app) as router:
        assert status_of(router.talk(f"{request_line}\r\nHost: app.test\r\nConnection: close\r\n\r\n".encode())) == 200
    assert lines_of(app.record)[0] == passed_on


@pytest.mark.parametrize("target", [b"/\xff", b"/a\tb", b"/a#b", b"a"])
def test_targets_that_no_instance_should_see(target):
    app = Instance()
    with Router(app) as router:
        reply = router.talk(b"GET " + target + b" HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
    assert status_of(reply) == 400 and not app.record


def test_connect_is_refused():
    app = Instance()
    with Router(app) as router:
        reply = router.talk(b"CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\nConnection: close\r\n\r\n")
    assert status_of(reply) == 501 and b"x-dialtone-error: no-proxy" in reply and not app.record


def test_requests_tell_that_they_came_through_here():
    app = Instance()
    with Router(app) as router:
        router.talk(get(extra="Via: 1.1 other\r\n"))
    fields = [line for line in lines_of(app.record) if line.startswith(b"via:")]
    assert fields == [b"via: 1.1 other", b"via: 1.1 dialtone"]


def test_answers_have_a_date_and_only_one():
    long_ago = b"date: Thu, 01 Jan 1970 00:00:00 GMT"
    with Router(Instance()) as router:
        added, own = router.talk(get()), router.talk(get(host="other.test"))
    with Router(Instance(answer(OK.replace(b"\r\n\r\n", b"\r\n" + long_ago + b"\r\n\r\n")))) as router:
        kept = router.talk(get())
    dates = [[line for line in lines_of(reply) if line.startswith(b"date:")] for reply in (added, own, kept)]
    assert [len(each) for each in dates] == [1, 1, 1] and dates[2] == [long_ago] != dates[0]


def test_no_instance_speaks_for_the_router():
    app = Instance(answer(OK.replace(b"\r\n\r\n", b"\r\nX-Dialtone-Error: no-route\r\n\r\n")))
    with Router(app) as router:
        assert b"x-dialtone-error" not in router.talk(get()).lower()


def test_not_modified_has_no_body_whatever_it_declares():
    app = Instance(answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n"))
    with Router(app) as router, router.connect() as connection:
        for _ in range(2):
            connection.sendall(get(close=False))
            reply = read_until(connection, b"\r\n\r\n")
            assert status_of(reply) == 304 and b"content-length: 10" in reply and reply.endswith(b"\r\n\r\n")


def test_interim_answers_pass_and_old_clients_are_spared():
    app = Instance(answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK))
    with Router(app) as router:
        reply = router.talk(get())
        old = router.talk(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
    assert status_of(reply) == 103 and b"link: </a>" in reply and b"HTTP/1.1 200" in reply
    assert status_of(old) == 200 and b"103" not in old


def test_trailers_are_not_taken_for_anything_else():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"))
    with Router(app) as router, router.connect() as connection:
        for _ in range(2):
            connection.sendall(get(close=False))
            reply = read_until(connection, b"0\r\n\r\n").lower()
            assert b"2\r\nok\r\n0\r\n\r\n" in reply and b"x-sum" not in reply
    assert len(app.connections) == 1


def test_nobody_switches_protocols_unasked():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nsecret")
        connection.recv(1)
    with Router(Instance(script)) as router:
        reply = router.talk(get())
    assert status_of(reply) == 502 and b"x-dialtone-error: bad-answer" in reply and b"secret" not in reply


def test_http2_is_not_tunnelled():
    app = Instance()
    with Router(app) as router:
        router.talk(get(extra="Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n", close=False)
                    + get())
    assert b"upgrade" not in app.record.lower() and b"http2-settings" not in app.record.lower() and app.requests


def test_a_refused_upgrade_leaves_a_connection_for_requests():
    app = Instance()
    with Router(app) as router, router.connect() as connection:
        for _ in range(2):
            connection.sendall(get(extra="Upgrade: websocket\r\nConnection: Upgrade\r\n", close=False))
            assert read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200")


def test_a_tunnel_hands_over_all_that_the_client_said_before_its_end():
    heard = []
    go = threading.Event()

    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)  # has nothing more to say, but listens
        go.wait(10)
        heard.append(len(read_all(connection)))
        done.set()
    done = threading.Event()
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(extra="Upgrade: x\r\nConnection: Upgrade\r\n", close=False))
        assert read_all(connection).startswith(b"HTTP/1.1 101")
        connection.setblocking(False)
        sent, full_since = 0, time.monotonic()
        while time.monotonic() - full_since < 0.5:  # until every buffer on the way is full
            try:
                sent += connection.send(b"x" * 65536)
                full_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        go.set()
        assert done.wait(10)
    assert heard == [sent]


def test_an_answer_with_a_bad_length_is_an_error():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", close=True))
    with Router(app) as router:
        reply = router.talk(get())
    assert status_of(reply) == 502 and b"x-dialtone-error: bad-answer" in reply
    assert app.requests == 1  # an instance that answers is not asked again


def test_a_request_whose_answer_had_begun_is_not_sent_again():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConte")
    one, two = Instance(script), Instance(script)
    with Router(one, two) as router:
        assert status_of(router.talk(get())) == 502
    assert one.requests + two.requests == 1


def test_a_bad_chunk_behind_an_early_answer_puts_no_second_answer_into_it():
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun"

    def script(instance, connection):
        instance.read(connection)
        connection.sendall(begun)
        connection.recv(65536)
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        got = read_until(connection, b"begun")
        connection.sendall(b"xyz\r\n")
        try:
            got += read_all(connection)
        except ConnectionResetError:
            pass
    assert got.count(b"HTTP/1.1") == 1


def test_a_bad_chunk_is_answered():
    app = Instance()
    with Router(app) as router:
        reply = router.talk(b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n")
    assert status_of(reply) == 400 and b"x-dialtone-error: bad-request" in reply


def test_all_connects_failing_keeps_the_clients_connection():
    with Router(Instance(listening=False)) as router, router.connect() as connection:
        for _ in range(3):
            connection.sendall(get(close=False))
            assert b"x-dialtone-error: connect-failed" in read_until(connection, b"reason.\n")


def test_a_post_does_not_take_a_connection_that_was_just_closed():
    app = Instance(answer(OK, close=True))  # closes behind each answer without having said so
    with Router(app) as router, router.connect() as connection:
        for n in range(1, 51):
            connection.sendall(get(method="POST", extra="Content-Length: 0\r\n", close=False))
            assert read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200")
            while app.closed < n:  # on loopback its end is then with the router, if not yet seen by it
                time.sleep(0.001)


@pytest.mark.parametrize("line,times,status", [("y" * 60_000, 1, 200), ("y" * 70_000, 1, 431), ("y", 90, 200), ("y", 101, 431)],
                         ids=["60 kB", "70 kB", "90 fields", "101 fields"])
def test_heads_have_a_largest_size(line, times, status):
    app = Instance()
    with Router(app) as router:
        reply = router.talk(get(extra=f"x: {line}\r\n" * times))
    assert status_of(reply) == status and bool(app.record) == (status == 200)


def test_targets_have_a_largest_size():
    app = Instance()
    with Router(app) as router:
        assert status_of(router.talk(get("/" + "a" * 8_000))) == 200
        assert status_of(router.talk(get("/" + "a" * 9_000))) == 414


def test_large_heads_of_answers_pass():
    app = Instance(answer(OK.replace(b"\r\n\r\n", b"\r\nX-Large: " + b"y" * 60_000 + b"\r\n\r\n")))
    with Router(app) as router:
        reply = router.talk(get())
    assert status_of(reply) == 200 and reply.count(b"y") >= 60_000 and reply.endswith(b"ok")


def test_pipelining_without_reading_takes_no_memory():
    with Router(Instance()) as router, router.connect() as connection:
        flood = get(host="other.test", close=False) * 1000
        connection.setblocking(False)
        sent, full_since = 0, time.monotonic()
        while time.monotonic() - full_since < 0.5:
            try:
                sent += connection.send(flood[sent % len(flood):])
                full_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            assert sent < 100_000_000, "requests are taken though nobody reads their answers"
        connection.setblocking(True)
        connection.settimeout(10)
        whole = sent // len(get(host="other.test", close=False))
        answers = 0
        rest = b""
        while answers < whole:  # each was answered, none was cut short
            *lines, rest = (rest + connection.recv(1 << 20)).split(b"\r\n")
            answers += sum(line.endswith(b"HTTP/1.1 404 Not Found") for line in lines)


def test_many_requests_at_once():
    app = Instance()
    faults = []

    def client(router):
        with router.connect() as connection:
            for k in range(25):
                connection.sendall(get("/%d" % k, close=False))
                if not read_until(connection, b"\r\n\r\nok").startswith(b"HTTP/1.1 200"):
                    faults.append(k)
    with Router(app) as router:
        threads = [threading.Thread(target=client, args=(router,)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults and app.requests == 2500


def test_ten_thousand_idle_clients_are_cheap():
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    if sanitized():
        pytest.skip("a sanitizer keeps what was freed")
    n = 10_000 if raise_file_limit(11_000) else 500
    with Router(Instance(answer(big))) as router:
        before = router.private_bytes()
        clients = []
        for _ in range(n):
            connection = router.connect()
            clients.append(connection)
        for connection in clients[:300]:  # what a large answer took is given back
            connection.sendall(get(close=False))
            got = 0
            while got < 200_000:
                got += len(connection.recv(1 << 20))
        wait_for(lambda: router.private_bytes() - before < n * 2_500 + 2_000_000, "memory per idle client",
                 lambda: (router.private_bytes() - before) / n)
        assert status_of(router.talk(get())) == 200
        for connection in clients:
            connection.close()


def test_out_of_descriptors_clients_wait():
    with Router(Instance(), files=200) as router:
        idle = [router.connect() for _ in range(100)]
        waiting = router.connect()
        waiting.sendall(get())
        wait_for(lambda: "no more clients for now" in router.log_text(), "the router to be full")
        before = router.cpu_seconds()
        time.sleep(1)  # the time over which the CPU is measured
        assert router.cpu_seconds() - before < 0.3, "it spins"
        for connection in idle:
            connection.close()
        assert status_of(read_all(waiting)) == 200
        waiting.close()


def test_a_stalled_reader_does_not_lose_the_end():
    size = 20_000_000
    app = Instance(answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size))
    with Router(app) as router, router.connect() as connection:
        connection.sendall(get())
        time.sleep(1)  # every buffer on the way fills up
        assert read_all(connection).count(b"x") >= size
