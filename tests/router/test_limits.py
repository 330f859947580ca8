"""Each limit of time, set short: who is told what when it is over, and that it is not over before."""
import contextlib
import os
import socket
import subprocess
import threading
import time

import pytest

from stage import DIALTONE, OK, Instance, Router, answer, get, read_all, read_until, status_of, wait_for, why

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"


@contextlib.contextmanager
def takes(least, most=8):
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert least <= took < most, f"took {took:.2f} s, not {least} to {most}"


def silent(instance, connection):
    instance.read(connection)
    connection.recv(1)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for():
    app = Instance()
    with Router(app, limits={"head_ms": 700}) as router, router.connect() as connection, takes(0.7):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\n")
        connection.settimeout(0.05)
        reply = b""
        for _ in range(160):  # bytes now and then buy no time
            with contextlib.suppress(TimeoutError):
                reply = connection.recv(65536)
                break
            connection.sendall(b"x")
        assert why(reply) == (408, "slow-request") and not app.record


def test_a_second_head_has_its_own_time():
    with Router(Instance(), limits={"head_ms": 700}) as router, router.connect() as connection:
        connection.sendall(get(close=False) + b"GET / HT")
        with takes(0.6):
            assert why(read_all(connection).split(b"\r\n\r\nok")[1]) == (408, "slow-request")


def test_a_client_that_says_nothing_is_let_go():
    with Router(Instance(), limits={"head_ms": 500}) as router, router.connect() as connection, takes(0.4):
        assert read_all(connection) == b""


def test_an_idle_client_is_let_go():
    with Router(Instance(), limits={"idle_ms": 500}) as router, router.connect() as connection:
        for _ in range(3):  # each request begins it anew
            connection.sendall(get(close=False))
            read_until(connection, b"\r\n\r\nok")
            time.sleep(0.2)
        with takes(0.2):
            assert read_all(connection) == b""


POST = b"POST / HTTP/1.1\r\nHost: app.test\r\n"


@pytest.mark.parametrize("request_", [POST + b"Content-Length: 10\r\n\r\nabc",
                                      POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0000",
                                      POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: "])
def test_a_body_that_stops_coming_is_not_waited_for(request_):
    app = Instance(lambda instance, connection: read_all(connection))
    with Router(app, limits={"body_ms": 500}) as router, router.connect() as connection, takes(0.5):
        connection.sendall(request_)
        connection.settimeout(0.1)
        reply = b""
        for _ in range(80):
            with contextlib.suppress(TimeoutError):
                reply = connection.recv(65536)
                break
            if b"chunked" in request_:
                connection.sendall(b"0")  # neither body nor end
        assert why(reply) == (408, "slow-request")
        wait_for(lambda: app.closed == 1, "the instance to be let go")


def test_a_body_may_take_long_as_long_as_it_comes():
    app = Instance(lambda instance, connection: (instance.read(connection, b"0123456789"), connection.sendall(OK)))
    with Router(app, limits={"body_ms": 600, "head_ms": 300}) as router, router.connect() as connection, takes(1.5):
        connection.sendall(POST + b"Content-Length: 10\r\nConnection: close\r\n\r\n")
        for digit in b"0123456789":
            time.sleep(0.15)
            connection.sendall(bytes([digit]))
        assert status_of(read_all(connection)) == 200


def test_an_instance_that_never_answers():
    with Router(Instance(silent), limits={"answer_ms": 500}) as router, router.connect() as connection:
        for _ in range(2):  # the client's connection stays
            with takes(0.5):
                connection.sendall(get(close=False))
                assert why(read_until(connection, b"busy with.\n")) == (504, "timeout")


def test_an_instance_that_takes_no_request_body():
    def script(instance, connection):
        connection.recv(1)
        done.wait(10)
    done = threading.Event()
    with Router(Instance(script), limits={"answer_ms": 500, "body_ms": 60_000}) as router, router.connect() as connection:
        connection.sendall(POST + b"Content-Length: 1000000000\r\n\r\n")
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                connection.send(b"x" * 65536)
        connection.settimeout(10)
        assert why(connection.recv(65536)) == (504, "timeout")
        done.set()


def test_the_head_of_an_answer_that_comes_byte_by_byte_is_not_waited_for():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(160):
            connection.sendall(b"x")
            time.sleep(0.05)
    with Router(Instance(script), limits={"answer_ms": 500}) as router, takes(0.5, 5):
        assert why(router.talk(get())) == (504, "timeout")


def test_interim_answers_buy_time():
    def script(instance, connection):
        instance.read(connection)
        for _ in range(6):
            time.sleep(0.2)
            connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        connection.sendall(OK)
    with Router(Instance(script), limits={"answer_ms": 700}) as router, takes(1.2):
        assert router.talk(get()).endswith(b"ok")


def test_an_answer_that_stops_in_the_middle_is_cut_off():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        connection.recv(1)
    app = Instance(script)
    with Router(app, limits={"transfer_ms": 500}) as router, router.connect() as connection, takes(0.5):
        connection.sendall(get(close=False))
        assert read_until(connection, b"12345").startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        wait_for(lambda: app.closed == 1, "the instance to be let go")


def test_an_answer_may_take_long_as_long_as_it_comes():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            time.sleep(0.2)
            connection.sendall(b"x")
    with Router(Instance(script), limits={"transfer_ms": 700, "answer_ms": 300}) as router, takes(1.2):
        assert router.talk(get()).endswith(b"xxxxxx")


@pytest.mark.parametrize("size", [1_000_000_000, 7_000_000])
def test_a_client_that_does_not_read_is_let_go(size):
    """Of an answer that is still coming; of one that the instance has long finished (the rest waits in the router)."""
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            connection.sendall(b"x" * 100_000)
    app = Instance(script)
    with Router(app, limits={"transfer_ms": 500}) as router:
        router.talk(get(host="other.test"))
        before = router.descriptors()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(router.at)
            connection.sendall(get(close=False))
            wait_for(lambda: app.closed == 1, "the instance to be let go")
            wait_for(lambda: router.descriptors() <= before, "the client to be let go")


def test_an_idle_tunnel_ends():
    def script(instance, connection):
        instance.read(connection)
        connection.sendall(SWITCH)
        while piece := connection.recv(100):
            connection.sendall(piece)
    app = Instance(script)
    with Router(app, limits={"tunnel_ms": 700}) as router, router.connect() as connection:
        connection.sendall(get(extra="Upgrade: x\r\nConnection: Upgrade\r\n", close=False))
        assert read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        for _ in range(6):  # bytes keep it
            time.sleep(0.2)
            connection.sendall(b"hello")
            assert connection.recv(100) == b"hello"
        with takes(0.5):
            assert read_all(connection) == b""
            wait_for(lambda: app.closed == 1, "the instance to be let go")


@contextlib.contextmanager
def deaf():
    """An address where connecting takes for ever: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        listener.settimeout(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        instance = Instance(listening=False)
        instance.address = "127.0.0.1:%d" % listener.getsockname()[1]
        yield instance
        for filler in fillers:
            filler.close()


def test_a_connect_that_does_not_come_about_goes_elsewhere():
    with deaf() as lost, Router(lost, limits={"connect_ms": 400}) as router:
        with takes(0.4):
            assert why(router.talk(get())) == (502, "connect-failed")
    app = Instance()
    with deaf() as lost, Router(lost, app, limits={"connect_ms": 300}) as router:
        for _ in range(10):
            assert status_of(router.talk(get(method="POST", extra="Content-Length: 0\r\n"))) == 200


def test_a_client_that_does_not_close_is_closed():
    with Router(Instance(), limits={"linger_ms": 500}) as router, router.connect() as connection:
        connection.sendall(get())
        with takes(0.4):
            assert read_all(connection).endswith(b"ok")
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                for _ in range(100):
                    connection.sendall(b"more")  # is read, to nobody's use
                    time.sleep(0.05)


def test_kept_connections_to_an_instance_end():
    app = Instance()
    with Router(app, limits={"instance_idle_ms": 500}) as router:
        router.talk(get())
        with takes(0.3):
            wait_for(lambda: app.closed == 1, "the kept connection to be closed")
        assert status_of(router.talk(get())) == 200


def test_what_is_in_flight_is_not_waited_for_without_end():
    with Router(Instance(silent), limits={"drain_ms": 700}) as router, router.connect() as connection:
        connection.sendall(get(close=False))
        time.sleep(0.1)
        router.process.terminate()
        with takes(0.5, 5):
            assert router.process.wait(10) == 0
        assert read_all(connection) == b""


@pytest.mark.parametrize("text,said", [("haed_ms=1", "did you mean 'head_ms'?"), ("head_ms", "write head_ms=MILLISECONDS"),
                                       ("idle_ms=0", "from 1 to 604800000"), ("idle_ms=5s", "'idle_ms=5s' is no limit")])
def test_wrong_limits_are_refused(text, said, tmp_path):
    (tmp_path / "platform.json").write_text('{"id":"abcdef","domain":"test","http":"127.0.0.1:1","api":"127.0.0.1:1",'
                                            '"cache":"/tmp","subnet":"100.64.0.0/20"}')
    with socket.create_server(("127.0.0.1", 0)) as listener:
        environment = {**os.environ, "DIALTONE_LISTEN_FD": str(listener.fileno()), "DIALTONE_ROUTER_LIMITS": text}
        run = subprocess.run([DIALTONE, "router", "--data", tmp_path], env=environment, pass_fds=[listener.fileno()],
                             timeout=10, capture_output=True, text=True)
    assert run.returncode == 1 and said in run.stderr and "DIALTONE_ROUTER_LIMITS" in run.stderr
