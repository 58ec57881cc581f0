"""Local servers that behave like a provider, good or bad, and a fake clock."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.config import Feed, Product
from pipeline.config.sources.http import HttpSpec
from pipeline.ingest.sources.http import Clock
from pipeline.locations import Locations

PLACES = Locations(("A", "B", "C"), ("Ay", "Bee", "Cee"), (0.0, 1.0, 359.0), (50.0, 51.0, 52.0))


class FakeClock:
    """A clock that advances only in sleep, and by `tick` seconds at each reading; jitter is always one half."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick, self.slept = 1000.0, tick, list[float]()

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.monotonic, self.sleep, lambda: 0.5)


def make_spec(**fields: Any) -> HttpSpec:
    """Return a specification that allows requests to this machine."""
    return HttpSpec.model_validate({"kind": "test", "insecure": True, "private": True} | fields)


def make_feed(source: dict[str, Any], *, covariate: str = "", folder: Path = Path(), **fields: Any) -> Feed:
    """Return a feed, as observations or a covariate, whose source may send requests to this machine."""
    plain = {
        "source": {"kind": "synthetic"},
        "step": "1h",
        "locations": {"kind": "stations", "path": "stations.csv"},
        "variables": {"wind_speed": {}},
    }
    feed = plain | {"source": {"insecure": True, "private": True} | source} | fields
    observed = plain if covariate else feed
    product = {"name": "test", "feed": observed, "forecast": {"targets": list(observed["variables"])[:1]}}
    if covariate:
        product["covariates"] = {covariate: feed}
    loaded = Product.model_validate_json(json.dumps(product)).within(folder)
    return loaded.covariates[covariate] if covariate else loaded.feed


@contextmanager
def raw_server(*responses: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve connections in turn with the given bytes or functions; the last one is repeated."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()

        def serve() -> None:
            for n in range(1000):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.settimeout(10)
                    received = b""
                    while b"\r\n\r\n" not in received and (more := connection.recv(65536)):
                        received += more
                    response = responses[min(n, len(responses) - 1)]
                    if isinstance(response, bytes):
                        connection.sendall(response)
                    else:
                        response(connection)
                if stop.is_set():
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def respond(body: bytes, *, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """Return the bytes of a response; `length` is the declared length of its body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    lines += [f"{name}: {text}" for name, text in given.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def gzip_bomb(megabytes: int) -> bytes:
    """Return a small gzip stream of that many megabytes of blanks."""
    return gzip.compress(b" " * (megabytes << 20), 9)
