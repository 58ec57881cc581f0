"""A proxy in front of an S3 service that passes requests on and sometimes loses the response."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

How = Literal["503 after", "503 before", "cut after"]


class Proxy(ThreadingHTTPServer):
    """Record the requests that match a pattern, and spoil the first `times` of them."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.pattern, self.how, self.times = re.compile("a^"), "503 after", 0
        self.seen: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spoil(self, pattern: str, how: How, times: int = 1) -> None:
        self.pattern, self.how, self.times, self.seen = re.compile(pattern), how, times, []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        proxy = self.server
        request = f"{self.command} {self.path}"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        spoiled = bool(proxy.pattern.search(request)) and len(proxy.seen) < proxy.times
        if proxy.pattern.search(request):
            proxy.seen.append(request)
        if spoiled and proxy.how == "503 before":
            self._respond(503, {}, b"")
            return
        behind = HTTPConnection(proxy.behind, timeout=30)
        behind.request(self.command, self.path, body, dict(self.headers))
        response = behind.getresponse()
        content = response.read()
        behind.close()
        if not spoiled:
            self._respond(response.status, dict(response.getheaders()), content)
        elif proxy.how == "503 after":
            self._respond(503, {}, b"")
        else:
            self.close_connection = True
            self.connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - the names of the base class

    def _respond(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


@contextmanager
def proxy_before(address: str) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    proxy = Proxy(address)
    thread = Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
