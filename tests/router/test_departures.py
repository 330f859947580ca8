"""Who leaves early, answers early, stalls or says too much, and what that must not do to others."""
import contextlib
import os
import resource
import signal
import socket
import threading
import time

import pytest

from stage import OK, Instance, Router, answer, exhaust, get, read_all, read_until, sanitized, status_of, wait_for, why

POST = b"POST / HTTP/1.1\r\nHost: app.test\r\n"


def echo_path(instance, connection):
    while (request := instance.read(connection)) is not None:
        path = request.split()[1]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))


def hold(instance, connection):
    """Takes a request's head and waits for the other side to leave."""
    instance.read(connection)
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def test_a_client_that_leaves_with_a_request_waiting_behind_ends_the_first():
    app = Instance(hold)
    with Router(app) as router, router.connect() as connection:
        connection.sendall(get("/1", close=False) + get("/2", close=False))
        wait_for(lambda: app.requests == 1, "the request")
        connection.close()
        wait_for(lambda: app.closed == 1, "the instance to be told")
    assert b"/2" not in app.record


def test_a_client_that_leaves_a_stalled_upload_ends_it():
    def script(instance, connection):
        instance.read(connection)
        left.wait(10)
        with pytest.raises(OSError):
            while connection.recv(1 << 20):
                pass
            raise ConnectionResetError
    left, app = threading.Event(), Instance(script)
    with Router(app) as router:
        router.talk(get(host="other.test"))
        before = router.descriptors()
        with router.connect() as connection:
            connection.sendall(POST + b"Content-Length: 1000000000\r\n\r\n")
            exhaust(connection)
            # With a reset: behind bytes that nobody takes its end would not arrive.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_for(lambda: router.descriptors() <= before, "the router to let go of both")
        left.set()
        wait_for(lambda: app.closed == 1, "the instance to be told")


def test_a_client_that_ends_its_half_has_left():
    app = Instance(hold)
    with Router(app) as router, router.connect() as connection:
        connection.sendall(get(close=False))
        wait_for(lambda: app.requests == 1, "the request")
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
        wait_for(lambda: app.closed == 1, "the instance to be told")


def test_a_head_that_was_half_in_when_the_router_stops_is_served():
    app = Instance()
    with Router(app) as router, router.connect() as connection:
        router.talk(get(host="other.test"))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: app")
        time.sleep(0.1)
        router.process.terminate()
        wait_for(lambda: "stopping" in router.log_text(), "the router to stop")
        connection.sendall(b".test\r\n\r\n")
        reply = read_all(connection)
        assert status_of(reply) == 200 and b"connection: close" in reply
        assert router.process.wait(10) == 0


def test_a_tunnel_goes_on_while_the_router_stops():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        while piece := connection.recv(100):
            connection.sendall(piece)
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(extra="Upgrade: x\r\nConnection: Upgrade\r\n", close=False))
        read_until(connection, b"\r\n\r\n")
        router.process.terminate()
        wait_for(lambda: "stopping" in router.log_text(), "the router to stop")
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"" and router.process.wait(10) == 0


def test_an_instance_that_answers_an_upload_and_goes_is_heard():
    def script(instance, connection):
        instance.read(connection)  # closes with bytes unread: the router's connection is reset
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nnope")
    app = Instance(script)
    with Router(app) as router:
        for _ in range(20):
            with router.connect() as connection:
                connection.sendall(POST + b"Content-Length: 100000000\r\n\r\n" + b"x" * 200_000)
                reply = b""
                with contextlib.suppress(ConnectionResetError):
                    reply = read_until(connection, b"nope")
                assert status_of(reply) == 413


@pytest.mark.parametrize("refusal", [b"HTTP/1.1 417 Expectation Failed", b"HTTP/1.1 401 Unauthorized"])
def test_a_refused_expectation_needs_no_body(refusal):
    app = Instance(answer(refusal + b"\r\nContent-Length: 2\r\n\r\nno"))
    with Router(app) as router, router.connect() as connection:
        connection.sendall(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        reply = read_all(connection)  # whether a body follows is now unclear: the connection ends
    assert reply.startswith(refusal) and b"connection: close" in reply and reply.endswith(b"no")


def test_an_expectation_where_no_application_is():
    with Router(Instance()) as router:
        reply = router.talk(b"POST / HTTP/1.1\r\nHost: other.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert why(reply) == (404, "no-route") and b"100 Continue" not in reply


def test_pipelined_bodies_stay_apart():
    def script(instance, connection):
        got = b""
        while piece := connection.recv(65536):
            instance.record += piece
            got += piece
            while (b"\r\n\r\n" in got) and (len(got.split(b"\r\n\r\n", 1)[1]) >= 5):
                head, rest = got.split(b"\r\n\r\n", 1)
                body, got = rest[:5], rest[5:]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
    app = Instance(script)
    with Router(app) as router:
        smuggled = b"GET /"  # as a body it is no request
        bodies = [b"aaaaa", smuggled, b"0\r\n\r\n"]
        reply = router.talk(b"".join(POST + b"Content-Length: 5\r\n\r\n" + body for body in bodies) +
                            POST + b"Content-Length: 5\r\nConnection: close\r\n\r\nlast!")
    begun = b"HTTP/1.1 200 OK\r\n"
    assert [part[-5:] for part in reply.split(begun)[1:]] == bodies + [b"last!"]
    assert app.record.count(b"POST / HTTP/1.1") == 4


def test_no_unasked_answer_is_taken_for_one():
    """An instance's second answer to one request must not become the answer to another's."""
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"
    app = Instance(echo_path)
    with Router(app) as router, router.connect() as connection:
        for n in range(5):
            connection.sendall(get(f"/first{n}", close=False))
            read_until(connection, b"/first%d" % n)
            router.freeze()
            connection.sendall(get(f"/second{n}", close=False))
            app.connections[-1].sendall(poison)
            router.process.send_signal(signal.SIGCONT)
            assert b"secret" not in read_until(connection, b"/second%d" % n)


def test_an_answer_that_goes_on_too_long_spoils_no_other():
    app = Instance(answer(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"))
    with Router(app) as router, router.connect() as connection:
        for _ in range(5):
            connection.sendall(get(close=False))
            assert b"secret" not in read_until(connection, b"ok")
    assert len(app.connections) == 5


@pytest.mark.parametrize("method,times", [("GET", 2), ("HEAD", 2), ("OPTIONS", 2), ("DELETE", 2), ("TRACE", 2), ("PUT", 2),
                                          ("POST", 1), ("PATCH", 1)])
def test_what_is_sent_again_when_it_broke(method, times):
    instances = [Instance(lambda instance, connection: instance.read(connection)) for _ in range(3)]
    with Router(*instances) as router:
        reply = router.talk(get(method=method))
    assert why(reply) == (502, "broken") and sum(i.requests for i in instances) == times


def test_an_instance_that_dies_of_a_request_broke_it():
    """On a kept connection: the request is sent again, and then nobody is left to accept it."""
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(OK)
        instance.read(connection)
        instance.listener.shutdown(socket.SHUT_RDWR)
        instance.kill()
    with Router(Instance(script)) as router, router.connect() as connection:
        connection.sendall(get(close=False))
        read_until(connection, b"ok")
        connection.sendall(get())
        assert why(read_all(connection)) == (502, "broken")


def test_a_body_is_not_sent_again():
    instances = [Instance(lambda instance, connection: instance.read(connection, b"hello")) for _ in range(2)]
    with Router(*instances) as router:
        reply = router.talk(b"PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    assert why(reply) == (502, "broken") and sum(i.requests for i in instances) == 1


def test_a_body_whose_connect_failed_arrives_whole_elsewhere():
    body = os.urandom(100_000) + b"END"
    gone = Instance(listening=False)
    app = Instance(answer(OK, until=b"END"))
    with Router(gone, app) as router:
        for _ in range(10):
            app.record = b""
            reply = router.talk(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert status_of(reply) == 200 and app.record.endswith(b"\r\n\r\n" + body)


def test_an_interim_answer_rules_out_a_second_try():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    one, two = Instance(script), Instance(script)
    with Router(one, two) as router:
        reply = router.talk(get())
    assert status_of(reply) == 103 and b"x-dialtone-error: broken" in reply and one.requests + two.requests == 1


def test_answers_that_break_off_look_broken_off():
    for head in (b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        def script(instance, connection):
            instance.read(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + (b"5\r\nhello" if b"chunked" in head else b"hello"))
            if not head:  # lasts until the close: only a reset is an error
                wait_for(lambda: b"hello" in bytes(got), "the answer to be on its way")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        got = bytearray()
        with Router(Instance(script)) as router, router.connect() as connection:
            connection.sendall(get(close=False))
            with pytest.raises(ConnectionResetError):
                while piece := connection.recv(65536):
                    got += piece
        assert got.startswith(b"HTTP/1.1 200")


def test_an_answer_until_the_close_is_whole():
    app = Instance(answer(b"HTTP/1.1 200 OK\r\n\r\nhello", close=True))
    with Router(app) as router, router.connect() as connection:
        for _ in range(3):  # the client's connection stays
            connection.sendall(get(close=False))
            assert read_until(connection, b"0\r\n\r\n").endswith(b"5\r\nhello\r\n0\r\n\r\n")


def grown(router, before):
    return router.private_bytes() - before


@pytest.mark.skipif(sanitized(), reason="a sanitizer takes memory of its own")
def test_an_instance_that_does_not_read_costs_little():
    def script(instance, connection):
        instance.read(connection)
        done.wait(20)
    done = threading.Event()
    with Router(Instance(script)) as router:
        router.talk(get(host="other.test"))
        before = router.private_bytes()
        connections = [router.connect() for _ in range(4)]
        for connection in connections:
            connection.sendall(POST + b"Content-Length: 1000000000\r\n\r\n")
        for connection in connections:
            assert exhaust(connection) < 20_000_000
        assert grown(router, before) < 4 * 400_000 + 500_000
        for connection in connections:
            connection.close()
        done.set()


@pytest.mark.skipif(sanitized(), reason="a sanitizer takes memory of its own")
@pytest.mark.parametrize("head,endless", [(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
                                          (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
                                          (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000)],
                         ids=["until the close", "tiny chunks", "interim answers"])
def test_a_client_that_does_not_read_costs_little(head, endless):
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(head)
        exhaust(connection, endless)
        stalled.append(True)
        connection.recv(1)
    stalled = []
    with Router(Instance(script)) as router:
        router.talk(get(host="other.test"))
        before = router.private_bytes()
        connections = [router.connect() for _ in range(5)]
        for connection in connections:
            connection.sendall(get(close=False))
        wait_for(lambda: len(stalled) == 5, "the instance to be held back", seconds=30)
        assert grown(router, before) < 5 * 1_000_000
        for connection in connections:
            connection.close()


def test_tiny_chunks_pass_in_both_directions():
    def script(instance, connection):
        instance.read(connection, b"\r\n0\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\ny\r\n" * 50_000 + b"0\r\n\r\n")
    app = Instance(script)
    with Router(app) as router:
        reply = router.talk(POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000 +
                            b"0\r\n\r\n")
    assert app.record.count(b"x\r\n") == 50_000 and reply.count(b"y\r\n") == 50_000 and reply.endswith(b"0\r\n\r\n")


def test_names_with_underscores_say_no_more_than_those_without():
    app = Instance()
    with Router(app) as router:
        router.talk(get(extra="X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Real_IP: 6.6.6.6\r\n"
                              "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nProxy_Connection: x\r\nMy_Own: yes\r\n"))
    sent = app.record.lower()
    assert b"6.6.6.6" not in sent and b"https" not in sent and b"my_own: yes" in sent
    assert not any(name in sent for name in (b"content_length", b"transfer_encoding", b"proxy_connection"))


# ---- each X-Dialtone-Error

def out_of_descriptors():
    once = answer(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), close=True)
    with Router(Instance(once)) as router, router.connect() as connection:
        connection.sendall(get(host="other.test", close=False))
        read_until(connection, b"addresses.\n")
        # It has this client; sooner or later there is no room for a connection to the instance.
        soft, hard = resource.prlimit(router.process.pid, resource.RLIMIT_NOFILE)
        for limit in range(router.descriptors(), 3, -1):
            resource.prlimit(router.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
            connection.sendall(get(close=False))
            reply = connection.recv(65536)
            if status_of(reply) != 200:
                return reply
        return reply


def from_instance(script, **how):
    with Router(Instance(script), **how) as router:
        return router.talk(get())


def own(request=get(), *instances, **how):
    with Router(*instances, **how) as router:
        return router.talk(request)


REASONS = {
    "no-route": (404, lambda: own(get(host="other.test"))),
    "stopped": (503, lambda: own(state="stopped")),
    "starting": (503, lambda: own(state="starting")),
    "failing": (503, lambda: own(state="failing")),
    "none-ready": (503, lambda: own(state="running")),
    "no-table": (503, lambda: own(kept=False)),
    "overloaded": (503, out_of_descriptors),
    "connect-failed": (502, lambda: own(get(), Instance(listening=False))),
    "broken": (502, lambda: from_instance(lambda i, c: i.read(c))),
    "bad-answer": (502, lambda: from_instance(answer(b"SSH-2.0-x\r\n\r\n", close=True))),
    "timeout": (504, lambda: from_instance(hold, limits={"answer_ms": 300})),
    "slow-request": (408, lambda: own(b"GET / HTT", Instance(), limits={"head_ms": 300})),
    "bad-request": (400, lambda: own(b"GET / HTTP/1.1\r\n\r\n")),
    "bad-connection-field": (400, lambda: own(get(extra="Connection: host\r\n"), Instance())),
    "no-proxy": (501, lambda: own(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n")),
}


@pytest.mark.parametrize("code", REASONS)
def test_each_reason(code):
    status, scenario = REASONS[code]
    assert why(scenario()) == (status, code)


def test_the_reasons_are_those_of_the_page_and_of_the_code():
    import re
    from stage import ROOT
    page = (ROOT / "docs" / "router.md").read_text().split("## Answers of its own")[1]
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", page)) == set(REASONS)
    code = "".join((ROOT / "src" / "router" / name).read_text() for name in ("answer.c", "downstream.c"))
    assert set(re.findall(r'\d{3}, *"([a-z-]+)"|\.code = "([a-z-]+)"', code)) == {
        (c, "") if c != "bad-request" else ("", c) for c in REASONS}
