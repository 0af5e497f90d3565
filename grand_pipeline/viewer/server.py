"""The viewer on a port of this machine: who may ask, and with what precautions it is answered."""

from __future__ import annotations

import ipaddress
import re
import socket
import sys
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from grand_pipeline.errors import UserError
from grand_pipeline.store import Run
from grand_pipeline.viewer.site import Answer, Site, problem

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every answer: nothing from elsewhere, no script in the page, no use from elsewhere."""

_SECONDS = 20


class Server(ThreadingHTTPServer):
    """Answers GET with what its site says."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self.site = site
        self.host = address[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what failed, unless it is that somebody left."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where to look."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/"


def open_server(run: Run, host: str, port: int) -> Server:
    """A server that listens but does not serve yet; port 0 takes any free one.

    Raises UserError when the address can not be had.
    """
    try:
        return Server((host, port), Site(run))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"can not listen on {host}:{port}: {error}; give another --port (0 takes a free one) "
            "or another --host"
        ) from None


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_ask(header: str, host: str, port: int) -> bool:
    """Whether a Host header names this server and not a site that has made itself its alias.

    A foreign page can give its own name the address of this machine (DNS rebinding), and its
    requests then carry that name. So a name has to be the one that the server was told to listen
    on, or localhost; an address can not be rebound, but has to be a local one of a local server.
    """
    if not re.fullmatch(r"[\w.:\[\]-]{1,255}", header, re.ASCII):
        return False
    try:
        asked = urlsplit(f"//{header}")
        name, at = asked.hostname or "", asked.port or 80
    except ValueError:
        return False
    if at != port:
        return False
    if is_local(name) or name == host.lower():
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return not is_local(host)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "grand"
    sys_version = ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._reply(self._answer())

    def _answer(self) -> Answer:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not may_ask(hosts[0], self.server.host, self.server.server_port):
            return problem(HTTPStatus.FORBIDDEN, "this server does not go by that name")
        try:
            return self.server.site.answer(self.path)
        except Exception as error:  # One bad row must not end the connection without a word.
            self.log_error("%a: %a", self.path, error)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the viewer failed; see its terminal")

    def _reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        kept = "private, max-age=86400, immutable" if answer.lasting else "no-store"
        self.send_header("Cache-Control", kept)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        with suppress(ConnectionError, TimeoutError):  # Pages that are left stop listening.
            self.end_headers()
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class answers by itself: other methods, broken requests."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._reply(problem(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered"))
        else:
            self._reply(problem(HTTPStatus(code), message or HTTPStatus(code).phrase))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Quiet: a page is dozens of requests."""
