"""The page server: published forecasts, read-only, for browsers on this machine.

Its addresses are `/`, `/PRODUCT/latest/FILE` and `/PRODUCT/ISSUE/FILE`. A file is served only if the `forecast.json` of
its folder lists it, so whatever a publish format writes can be fetched and nothing else. No address leads out of the
folder of a forecast: the resolved path is checked as well, because of symbolic links.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from mimetypes import MimeTypes
from pathlib import Path
from threading import Thread

import uvicorn
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.forecasting.publish.write import INDEX

_ADDRESS = re.compile(r"/([a-z][a-z0-9_-]{0,62})/(latest|\d{8}T\d{6}Z)/(.+)", re.ASCII)
_TYPES = MimeTypes()
_TYPES.add_type("application/vnd.apache.parquet", ".parquet")
_UNKNOWN_TYPE = "application/octet-stream"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_INDEX = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Nightcast</title><style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1rem }
h1 { font-weight: 600 }
ul { list-style: none; padding: 0 }
li { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .5rem; margin: .75rem 0 }
li a { display: block; padding: .75rem 1rem; text-decoration: none }
li span { display: block; font-size: .875rem; opacity: .7 }
</style></head><body><h1>Nightcast</h1>
{% if products -%}
<ul>
{% for name, issue in products -%}
<li><a href="/{{ name }}/latest/report.html">{{ name }}<span>Latest forecast: {{ issue }}</span></a></li>
{% endfor -%}
</ul>
{%- else -%}
<p>No forecast has been published yet. The first one will appear here.</p>
{%- endif %}
<p>{% for name, url in links.items() %}{{ " · " if not loop.first }}<a href="{{ url }}">{{ name }}</a>{% endfor %}</p>
</body></html>
""")


@contextmanager
def serve(home: Path, host: str, port: int, links: dict[str, str]) -> Iterator[int]:
    """Serve the forecasts published below `home` from a thread, and yield the port; on exit the server stops.

    Args:
        home: Folder of the installation.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        links: Names and addresses of other servers, for the first page.

    Raises:
        OSError: the port is in use.
    """
    listener = socket.create_server((host, port))
    config = uvicorn.Config(
        application(home / "products", links),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def application(products: Path, links: dict[str, str]) -> ASGIApp:
    """Return the ASGI application of the page server."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = _response(Request(scope, receive), products, links)
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    return answer


def find(products: Path, address: str) -> Path | None:
    """Return the published file at an address, or None if there is none."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return None
    name, issue, file = match.groups()
    published = (products / name / "published").resolve()
    folder = (published / issue).resolve()
    if folder.parent != published or file not in _listed(folder):
        return None
    path = (folder / file).resolve()
    return path if path.is_relative_to(folder) and path.is_file() else None


def _listed(folder: Path) -> set[str]:
    """Return the names of the files in the folder of a forecast, as its index lists them; none without an index."""
    try:
        return {INDEX, *json.loads((folder / INDEX).read_bytes())["files"]}
    except FileNotFoundError:
        return set()


def _media_type(path: Path) -> str:
    kind, encoding = _TYPES.guess_type(path.name)
    return kind if kind and not encoding else _UNKNOWN_TYPE


def _response(request: Request, products: Path, links: dict[str, str]) -> Response:
    # Another site can point its own name at this machine (DNS rebinding); such requests carry that name.
    if request.headers.get("host", "").partition(":")[0] not in {"127.0.0.1", "localhost"}:
        return PlainTextResponse("Misdirected request", 421)
    if request.method not in {"GET", "HEAD"}:
        return PlainTextResponse("Method not allowed", 405, {"Allow": "GET, HEAD"})
    address = request.scope["path"]
    if address == "/":
        return HTMLResponse(_INDEX.render(products=list(_published(products)), links=links))
    path = find(products, address)
    if path is None:
        return PlainTextResponse("Not found", 404)
    return FileResponse(path, media_type=_media_type(path))


def _published(products: Path) -> Iterator[tuple[str, str]]:
    for folder in sorted(products.glob("*/published")):
        report = find(products, f"/{folder.parent.name}/latest/report.html")
        if report:
            yield folder.parent.name, report.parent.name
