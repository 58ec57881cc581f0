"""The page server: reads published forecasts, and nothing else, to browsers on this machine.

Its addresses are `/`, `/PRODUCT/latest/FILE` and `/PRODUCT/ISSUE/FILE`. Each part must be a known kind of
name, so no address can leave a product's published folder; the resolved path is checked again all the same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

_ADDRESS = re.compile(
    r"/([a-z][a-z0-9_-]{0,62})/(latest|\d{8}T\d{6}Z)/([a-z]{1,30}\.(?:html|svg|parquet|nc|json))", re.ASCII
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Nightcast</title><style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}
h1 {{ font-weight: 600 }}
ul {{ list-style: none; padding: 0 }}
li {{ border: 1px solid color-mix(in srgb, currentColor 25%, transparent) }}
li {{ border-radius: .5rem; margin: .75rem 0 }}
li a {{ display: block; padding: .75rem 1rem; text-decoration: none }}
li span {{ display: block; font-size: .875rem; opacity: .7 }}
</style></head><body><h1>Nightcast</h1>{body}
<p>{links}</p></body></html>
"""


def serve(home: Path, host: str, port: int, links: dict[str, str]) -> ThreadingHTTPServer:
    """Serve the published forecasts below `home` from a thread until the returned server is shut down."""
    server = ThreadingHTTPServer((host, port), partial(_Handler, home=home, links=links))
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="pages", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server_version = "nightcast"
    sys_version = ""
    timeout = 30

    def __init__(self, *args: object, home: Path, links: dict[str, str]) -> None:
        self._home, self._links = home / "products", links
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with the list of products or with one published file."""
        if not self._host_is_ours():
            return self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        address = self.path.partition("?")[0]
        if address == "/":
            return self._send_text(_index(self._home, self._links))
        path = find(self._home, address)
        return self._send_file(path) if path else self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815 -- the name that the base class looks for

    def end_headers(self) -> None:
        """Add the headers that every answer has."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as the base class has it
        """Keep the terminal quiet."""

    def _host_is_ours(self) -> bool:
        # A page elsewhere may let its own name point here; its requests carry that name.
        name = self.headers.get("Host", "").partition(":")[0]
        return name in {"127.0.0.1", "localhost"}

    def _send_text(self, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", _TYPES[".html"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _send_file(self, path: Path) -> None:
        with path.open("rb") as file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _TYPES.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if self.command == "GET":
                shutil.copyfileobj(file, self.wfile)


def find(products: Path, address: str) -> Path | None:
    """Return the published file that an address means, None where there is none."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    name, issue, file = match.groups()
    published = products / name / "published"
    path = (published / issue / file).resolve()
    return path if path.is_relative_to(published.resolve()) and path.is_file() else None


def _index(products: Path, links: dict[str, str]) -> str:
    items = "".join(
        f'<li><a href="/{name}/latest/report.html">{name}<span>Latest forecast: {issue}</span></a></li>'
        for name, issue in _published(products)
    )
    empty = "<p>No forecast has been published yet. The first one appears here by itself.</p>"
    others = " · ".join(f'<a href="{escape(url)}">{escape(name)}</a>' for name, url in links.items())
    return _PAGE.format(body=f"<ul>{items}</ul>" if items else empty, links=others)


def _published(products: Path) -> Iterator[tuple[str, str]]:
    for folder in sorted(products.glob("*/published")):
        report = find(products, f"/{folder.parent.name}/latest/report.html")
        if report:
            yield folder.parent.name, report.parent.name
