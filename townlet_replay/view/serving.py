"""The page over HTTP, to programs on this machine only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from townlet_replay.errors import CaptureError

HOST = "127.0.0.1"


def server_of(html: str, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of one page, on the loopback address.

    Args:
        html: the page.
        port: 0 takes any that is free.

    Raises:
        CaptureError: the port is taken.
    """
    body = html.encode("utf-8")

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Send the page; there is nothing else."""
            found = self.path.partition("?")[0] == "/"
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body) if found else 0))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if found:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    try:
        return ThreadingHTTPServer((HOST, port), Page)
    except OSError as error:
        raise CaptureError(
            f"port {port} cannot be opened ({error.strerror}); choose another"
        ) from error


def serve_page(html: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        html: the page.
        port: 0 takes any that is free.
        told: called with the address.
    """
    with server_of(html, port) as server:
        told(f"http://{HOST}:{server.server_address[1]}/")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
