"""The viewer on a port: who may ask, how it is answered, and what is refused."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from inspect import signature

import pytest

from grand_pipeline import cli
from grand_pipeline.cli.view import view
from grand_pipeline.errors import UserError
from grand_pipeline.viewer.server import Server, is_local, may_ask, open_server
from tests.viewer.runs import seen_run

OURS = b"Host: 127.0.0.1:PORT\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with open_server(seen_run(tmp_path_factory.mktemp("seen")), "127.0.0.1", 0) as opened:
        thread = threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def _ask(
    server: Server, method: str, target: str, host: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest(method, target, skip_host=host is not None)
    if host:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def _connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=30)


@pytest.mark.parametrize("target", ["/", "/api/images", "/nowhere", "/api/images?from=x"])
def test_every_answer_forbids_what_the_page_does_not_need(server: Server, target: str) -> None:
    answer, _ = _ask(server, "GET", target)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';") and "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Access-Control-Allow-Origin"] is None
    assert answer.headers["Set-Cookie"] is None
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_page_is_served(server: Server) -> None:
    answer, body = _ask(server, "GET", "/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert len(body) == int(answer.headers["Content-Length"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "ODD"])
def test_only_get_is_answered(server: Server, method: str) -> None:
    answer, _ = _ask(server, method, "/api/images")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "::"])
def test_a_foreign_name_is_turned_away(server: Server, host: str) -> None:
    answer, body = _ask(server, "GET", "/api/images", host.format(port=server.server_port))
    assert answer.status == 403 and b"items" not in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", 414),
        (b"GET /?text=" + b"x" * 60_000 + b" HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", 414),
        (b"GET /../../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT, evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + OURS, 403),
        (b"GET / HTTP/1.1\r\nHost: [::1%25lo]:PORT\r\n\r\n", 403),
        (b"GET http://evil.example/ HTTP/1.1\r\n" + OURS, 404),
        (b"GET /%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\n" + OURS, 404),
        (b"GET /large/..%2f..%2fsecret.txt.jpg HTTP/1.1\r\n" + OURS, 404),
        (b"GET /large/%00.jpg HTTP/1.1\r\n" + OURS, 404),
        (b"GET /\xff\x1b[2J HTTP/1.1\r\n" + OURS, 404),
        (b"GET /api/images?from=-1 HTTP/1.1\r\n" + OURS, 400),
        (b"GET /api/images?from=NaN HTTP/1.1\r\n" + OURS, 400),
        (b"GET / HTTP/9.9\r\n" + OURS, 505),
        (b"GET\r\n" + OURS, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n" + OURS, 400),
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 70_000 + b"\r\n" + OURS, 431),
        (b"HEAD /api/images HTTP/1.1\r\n" + OURS, 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
def test_odd_requests(server: Server, request_: bytes, status: int) -> None:
    with _connected(server) as connection:
        connection.sendall(request_.replace(b"PORT", str(server.server_port).encode()))
        connection.shutdown(socket.SHUT_WR)
        head = connection.makefile("rb").read()
    if not head.startswith(b"HTTP/1.1 "):  # What was asked in the first version has no head.
        assert b"items" not in head and b"error" in head
        return
    assert head.split()[1] == str(status).encode()
    assert b"Content-Security-Policy: default-src 'self';" in head
    assert b"X-Content-Type-Options: nosniff" in head


def test_slow_clients_keep_nobody_waiting(server: Server) -> None:
    with ExitStack() as held:
        for _ in range(100):
            slow = held.enter_context(_connected(server))
            slow.sendall(b"GET /api/images HTTP/1.1\r\nHost: ")
        begun = time.monotonic()
        assert _ask(server, "GET", "/api/images")[0].status == 200
        assert time.monotonic() - begun < 15  # A slow client is given up after 20 s.


def test_who_leaves_early_is_no_failure(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        gone = _connected(server)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.sendall(b"GET / HTTP/1.1\r\nHost: 127.")
        gone.close()
    assert _ask(server, "GET", "/")[0].status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_only_this_machine_is_listened_to_unless_told_otherwise() -> None:
    assert signature(view).parameters["host"].default == "127.0.0.1"
    assert not may_ask("evil.example:80", "127.0.0.1", 80)


@pytest.mark.parametrize(
    ("header", "host", "allowed"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("localhost:8000", "127.0.0.1", True),
        ("LOCALHOST:8000", "127.0.0.1", True),
        ("[::1]:8000", "::1", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1:8001", "127.0.0.1", False),
        ("localhost.evil.example:8000", "127.0.0.1", False),
        ("127.0.0.1.evil.example:8000", "127.0.0.1", False),
        ("10.1.2.3:8000", "127.0.0.1", False),
        ("10.1.2.3:8000", "0.0.0.0", True),
        ("evil.example:8000", "0.0.0.0", False),
        ("lab-box:8000", "lab-box", True),
        ("evil.example:8000", "lab-box", False),
        ("a@127.0.0.1:8000", "127.0.0.1", False),
        ("127.0.0.1:8000/", "127.0.0.1", False),
        ("127.0.0.1:x", "127.0.0.1", False),
        ("[::1:8000", "127.0.0.1", False),
        ("", "127.0.0.1", False),
    ],
)
def test_which_names_are_this_server(header: str, host: str, allowed: bool) -> None:
    assert may_ask(header, host, 8000) is allowed


def test_what_is_local() -> None:
    local = ["127.0.0.1", "127.9.9.9", "::1", "localhost"]
    assert [host for host in [*local, "0.0.0.0", "::", "lab-box", ""] if is_local(host)] == local


def test_a_taken_port_is_a_users_mistake(server: Server) -> None:
    with pytest.raises(UserError, match="--port"):
        open_server(server.site.run, "127.0.0.1", server.server_port)
    with pytest.raises(UserError, match="--host"):
        open_server(server.site.run, "no.such.host.invalid", 0)


def test_no_run_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["view", "/absent"])
    assert "no run.json" in capsys.readouterr().err
