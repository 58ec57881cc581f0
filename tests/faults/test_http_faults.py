"""Ingest from a provider that is busy, slow, broken or hostile."""

import gzip
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import zstandard
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Response

from pipeline.config import Feed, Settings
from pipeline.config.sources.http_json import HttpJsonSource
from pipeline.errors import NightcastError, SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import fetch_payloads
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.sources.http import Clock
from pipeline.ingest.sources.http_json.source import HttpJson
from pipeline.locations import read_locations
from tests.http_world import FakeClock, gzip_bomb, make_feed, raw_server, respond
from tests.world import make_settings

AT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
CANARY = "canary-5ecret/7f3a="
GOOD = [{"time": f"2026-11-20T{hour:02d}:00Z", "location": "A", "wind_speed": 3.5 + hour} for hour in range(3)]
MakeFeed = Callable[..., Feed]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def feed(tmp_path: Path) -> MakeFeed:
    (tmp_path / "stations.csv").write_text("id,name,longitude,latitude\nA,Ay,0,50\n")
    return lambda **source: make_feed({"kind": "http-json", "attempts": 1} | source, folder=tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def ingest(feed: Feed, settings: Settings) -> list[PayloadResult]:
    return [
        ingest_payload(received, OpenFeed(feed, settings), at=AT)
        for received in fetch_payloads(OpenFeed(feed, settings), at=AT)
    ]


def count(feed: Feed, settings: Settings) -> int:
    return len(OpenFeed(feed, settings).observations.read()) if OpenFeed(feed, settings).observations.newest() else 0


def fetch(feed: Feed, clock: Clock) -> list[Payload | SourceError]:
    assert isinstance(feed.source, HttpJsonSource)
    return list(HttpJson(feed, feed.source, read_locations(feed), {}, clock=clock).fetch(None, None, at=AT))


def test_only_one_layer_retries_a_busy_provider(httpserver: HTTPServer, feed: MakeFeed) -> None:
    turns = [Response(status=429, headers={"Retry-After": "30"}), Response(status=503), Response(json.dumps(GOOD))]
    httpserver.expect_request("/").respond_with_handler(lambda request: turns.pop(0))
    clock = FakeClock()
    (payload,) = fetch(feed(url=httpserver.url_for("/"), attempts=5), clock.clock)
    assert isinstance(payload, Payload)
    assert clock.slept == [30.5, 1.5]
    assert len(httpserver.log) == 3


def test_a_provider_that_is_down_is_reported_once_and_nothing_is_written(
    httpserver: HTTPServer, feed: MakeFeed, settings: Settings
) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=503)
    down = feed(url=httpserver.url_for("/"))
    (result,) = ingest(down, settings)
    assert str(result.fault).endswith("503 Service Unavailable; gave up after 1 attempt")
    assert (count(down, settings), len(httpserver.log)) == (0, 1)


def test_a_slow_response_ends_at_the_deadline(feed: MakeFeed) -> None:
    def drip(connection: socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100_000):
            connection.sendall(b" ")

    clock = FakeClock(tick=1.0)
    with raw_server(drip) as url:
        (fault,) = fetch(feed(url=url, deadline="30s", attempts=5), clock.clock)
    assert "no complete response within 30s" in str(fault)
    assert clock.now - 1000 < 40


@pytest.mark.parametrize(
    ("content", "media_type", "message"),
    [
        (json.dumps(GOOD).encode()[:-1], "application/json", "not valid JSON, unexpected end of data"),
        (b"<!doctype html><title>Maintenance</title>", "text/html", "the response is 'text/html', not JSON"),
        (b"<!doctype html><title>Maintenance</title>", "application/json", "not valid JSON"),
        (json.dumps(GOOD).encode(), "image/png", "the response is 'image/png', not JSON"),
        (b'{"error": "no such station"}', "application/json", "'@' finds dict where the list of rows should be"),
        (b"", "application/json", "the payload is empty"),
        (b"[]", "application/json", "no rows"),
    ],
)
def test_an_invalid_response_is_kept_and_nothing_is_written(
    httpserver: HTTPServer, feed: MakeFeed, settings: Settings, content: bytes, media_type: str, message: str
) -> None:
    httpserver.expect_request("/").respond_with_data(content, content_type=media_type)
    one = feed(url=httpserver.url_for("/"))
    (result,) = ingest(one, settings)
    assert message in str(result.fault)
    assert count(one, settings) == 0
    assert content in {zstandard.decompress(file.read_bytes()) for file in settings.home.rglob("raw/**/*.zst")}


def test_a_truncated_response_is_never_read(feed: MakeFeed, tmp_path: Path) -> None:
    one = feed(url="https://api.example.org/")
    source = open_source(one, read_locations(one))
    whole = json.dumps(GOOD).encode()
    assert source.decode(Payload.of("x", whole)).rows.num_rows == 3
    for length in range(len(whole)):
        with pytest.raises(NightcastError):
            source.decode(Payload.of("x", whole[:length]))


def test_a_body_shorter_than_its_declared_length_is_refused(feed: MakeFeed, settings: Settings) -> None:
    body = json.dumps(GOOD[:1]).encode()
    with raw_server(respond(body, length=len(body) + 10)) as url:
        (result,) = ingest(feed(url=url), settings)
    assert "the connection failed" in str(result.fault)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
def test_invalid_numbers_are_not_stored(
    httpserver: HTTPServer, feed: MakeFeed, settings: Settings, number: str
) -> None:
    content = json.dumps(GOOD).replace("3.5", number).encode()
    httpserver.expect_request("/").respond_with_data(content, content_type="application/json")
    one = feed(url=httpserver.url_for("/"))
    (result,) = ingest(one, settings)
    assert "not valid JSON" in str(result.fault)
    assert count(one, settings) == 0


def test_sentinels_are_missing_values_and_impossible_values_are_refused(
    httpserver: HTTPServer, feed: MakeFeed, settings: Settings
) -> None:
    cells: list[Any] = [-9999, "9.96921e36", 9.96921e36, "calm", 4.0]
    given = [GOOD[0] | {"time": f"2026-11-20T{hour:02d}:00Z", "wind_speed": cell} for hour, cell in enumerate(cells)]
    httpserver.expect_request("/").respond_with_json(given)
    one = feed(url=httpserver.url_for("/"), missing=["-9999"])
    (result,) = ingest(one, settings)
    assert (result.appended.added, result.refused, result.fault) == (1, 3, None)


MEMORY = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.locations import Locations
from pipeline.ingest.sources.http_json.source import HttpJson
from tests.http_world import make_feed

feed = make_feed({"kind": "http-json", "url": sys.argv[1], "attempts": 1})
source = HttpJson(feed, feed.source, Locations(("A",), ("A",), (0.0,), (0.0,)), {})
for payload in source.fetch(None, None, at=datetime(2026, 1, 1, tzinfo=UTC)):
    try:
        print("read", source.decode(payload).rows.num_rows if not isinstance(payload, Exception) else payload)
    except Exception as error:
        print(type(error).__name__, error)
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""
ROW = b'{"time":"2026-11-20T06:00Z","location":"A","wind_speed":1},'


BAD = ROW.replace(b":1", b':"x"')
WORST: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (lambda: respond(gzip_bomb(200), Content_Encoding="gzip"), "larger than 16,777,216 bytes when decompr"),
    "a bomb in a bomb": (
        lambda: respond(gzip.compress(gzip_bomb(200)), Content_Encoding="gzip"),
        "not valid JSON",
    ),
    "huge": (lambda: respond(b" " * (17 << 20)), "larger than 16,777,216 bytes"),
    "deep and cut": (lambda: respond(b"[" * (15 << 20)), "more than 500,000 objects and lists"),
    "deep": (lambda: respond(b"[" * 400_000 + b"]" * 400_000), "depth limit exceeded"),
    "numbers": (lambda: respond(b"[" + b"0.1," * 4_000_000 + b"0]"), "4,000,001 rows are neither objects nor lists"),
    "rows": (lambda: respond(b"[" + (ROW + BAD) * 125_000 + ROW[:-1] + b"]"), "read 125001"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("worst", WORST)
def test_the_worst_response_stays_below_512_mib(worst: str) -> None:
    make_response, message = WORST[worst]
    with raw_server(make_response()) as url:
        run = subprocess.run(
            [sys.executable, "-c", MEMORY, url], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
        )
    output, peak = run.stdout.strip().splitlines()
    assert message in output
    assert int(peak) < 512


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/", "file:///etc/passwd"]
)
def test_a_redirect_is_never_followed(httpserver: HTTPServer, feed: MakeFeed, settings: Settings, target: str) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=302, headers={"Location": target})
    (result,) = ingest(feed(url=httpserver.url_for("/")), settings)
    assert "redirects are not followed" in str(result.fault)


HOSTS = """
    127.1 2130706433 0x7f.1 0.0.0.0 localhost 169.254.169.254 [::ffff:10.0.0.1] [64:ff9b::a9fe:a9fe]
"""


@pytest.mark.parametrize("host", HOSTS.split())
def test_a_private_address_is_refused_in_any_notation(
    httpserver: HTTPServer, feed: MakeFeed, settings: Settings, host: str
) -> None:
    httpserver.expect_request("/").respond_with_json(GOOD)
    (result,) = ingest(feed(url=f"http://{host}:{httpserver.port}/", private=False), settings)
    assert "to allow it, set private: true in feed.source" in str(result.fault)
    assert httpserver.log == []


def test_no_secret_is_in_a_store_an_error_or_the_log(
    httpserver: HTTPServer,
    feed: MakeFeed,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.secrets["token"] = SecretStr(CANARY)
    turns = [
        Response(
            json.dumps([*GOOD, {"time": CANARY, "location": CANARY, "wind_speed": 1}]), content_type="application/json"
        ),
        Response(json.dumps({"message": f"bad key {CANARY}"}), status=403),
        Response("", status=302, headers={"Location": f"/?key={CANARY}"}),
        Response("x", status=200, content_type=f"text/{CANARY}"),
    ]
    httpserver.expect_request("/").respond_with_handler(lambda request: turns.pop(0))
    one = feed(
        url=httpserver.url_for("/"), query={"key": "{secret:token}"}, headers={"Authorization": "Bearer {secret:token}"}
    )
    result = [part for _ in range(len(turns)) for part in ingest(one, settings)]
    assert [part.fault is None for part in result] == [True, False, False, False]
    assert count(one, settings) == 3
    texts = [str(part) for part in result] + [repr(open_source(one, read_locations(one), settings.secrets).__dict__)]
    texts += [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    for file in (path for path in settings.home.rglob("*") if path.is_file()):
        content = file.read_bytes()
        texts.append((zstandard.decompress(content) if file.suffix == ".zst" else content).decode("latin-1"))
    for encoding in (CANARY, CANARY.replace("/", "%2F").replace("=", "%3D"), "5ecret"):
        assert not [text[:200] for text in texts if encoding in text]
