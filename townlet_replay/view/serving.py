"""Pages over HTTP, to programs on this machine only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from townlet_replay.errors import CaptureError

HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Answer(NamedTuple):
    """What a browser gets."""

    kind: str  # media type
    body: bytes


Route = Callable[[str], Answer]  # of the query: what stands behind the question mark


def page_route(html: str) -> Route:
    """Return a route to a page."""
    answer = Answer("text/html; charset=utf-8", html.encode("utf-8"))
    return lambda query: answer


def server_of(routes: Mapping[str, Route], port: int = 0) -> ThreadingHTTPServer:
    """Return a server on the loopback address.

    Requests that call this machine by another name are refused: a site elsewhere could give its
    own name this address, and read along.

    Args:
        routes: path, such as ``/``, to what answers.
        port: 0 takes any that is free.

    Raises:
        CaptureError: the port is taken.
    """

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer; there is nothing but the routes."""
            path, _, query = self.path.partition("?")
            ours = {f"{name}:{server.server_port}" for name in (HOST, "localhost")}
            answer, status = Answer("text/plain", b""), HTTPStatus.NOT_FOUND
            if self.headers.get("Host") not in ours:
                status = HTTPStatus.FORBIDDEN
            elif path in routes:
                answer, status = routes[path](query), HTTPStatus.OK
            self.send_response(status)
            sizes = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body))}
            for name, value in (sizes | _HEADERS).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    try:
        server = ThreadingHTTPServer((HOST, port), Pages)
    except OSError as error:
        raise CaptureError(
            f"port {port} cannot be opened ({error.strerror}); choose another"
        ) from error
    return server


def serve(routes: Mapping[str, Route], port: int, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        routes: path to what answers.
        port: 0 takes any that is free.
        told: called with the address.
    """
    with server_of(routes, port) as server:
        told(f"http://{HOST}:{server.server_address[1]}/")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
