"""A small HTTP server on this machine's loopback address: the live page, its state, stop and resume."""

import io
import json
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import BoundedSemaphore
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from .allowed import HERE, Door
from .child import Child
from .live_page import LivePage

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 10.0  # seconds for a request to arrive, and for an answer to be taken
_MOST = 32  # requests at once: a browser makes a few; others of this machine can knock, too


class LiveServer(ThreadingHTTPServer):
    """Serve one folder's page until ``shutdown``."""

    daemon_threads = True
    request_queue_size = _MOST

    def __init__(self, folder: Path, child: Child, port: int = 0) -> None:
        """Listen on a free port, or the one that is named.

        Raises:
            OSError: The port is taken.
        """
        super().__init__((HERE, port), _Handler)
        self._places = BoundedSemaphore(_MOST)
        self.door = Door(self.server_address[1])
        self.child, self.page = child, LivePage(folder, child)

    def server_bind(self) -> None:
        """Bind, without the look-up of this machine's name that ``http.server`` makes."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HERE, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own; who comes while there are as many as may be is turned away."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away."""


class _Arriving(socket.SocketIO):
    """What comes over a connection until a moment that no trickle of bytes puts off."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection, "r")
        self._connection, self._until = connection, monotonic() + _PATIENCE

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(max(0.001, self._until - monotonic()))
        return super().readinto(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "gauntlet", ""

    def setup(self) -> None:
        """Give the request a moment by which all of it is there."""
        super().setup()
        self.rfile = io.BufferedReader(_Arriving(self.connection))

    def do_GET(self) -> None:
        """Answer with the page, or in JSON whether it has changed."""
        if not self._may(changes=False):
            return
        page = self.server.page
        match urlsplit(self.path).path:
            case "/":
                self._answer(
                    HTTPStatus.OK, page.html().encode("utf-8", "replace"), "text/html; charset=utf-8"
                )
            case "/state":
                state = {"stamp": page.stamp(), "pause": page.pause}
                self._answer(HTTPStatus.OK, json.dumps(state).encode(), "application/json")
            case _:
                self._answer(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Stop or resume."""
        if not self._may(changes=True):
            return
        path = urlsplit(self.path).path
        acts = {"/stop": self.server.child.stop, "/resume": self.server.child.resume}
        act = acts.get(path)
        if act is None:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        if not self.server.page.allows(path[1:]):
            self._answer(HTTPStatus.CONFLICT, b"There is nothing to stop, or to go on with.\n")
            return
        act()
        self._answer(HTTPStatus.NO_CONTENT)

    def _refuse(self) -> None:
        """Refuse any other method to everybody."""
        if self._may(changes=True):
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED)

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = do_CONNECT = _refuse

    def _may(self, changes: bool) -> bool:
        """Return whether the request is answered; a stranger is refused."""
        if self.server.door.lets_in(self.path, dict(self.headers.items()), changes):
            return True
        self._answer(
            HTTPStatus.FORBIDDEN, b"The address that 'gauntlet ui' printed is needed.\n", "text/plain"
        )
        return False

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain") -> None:
        self.connection.settimeout(_PATIENCE)
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the token out of the terminal."""
