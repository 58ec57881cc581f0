from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from flows import pages

ISSUE = "19781231T070000Z"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    issue = tmp_path / "products" / "wind" / "published" / ISSUE
    issue.mkdir(parents=True)
    (issue / "report.html").write_text("<p>report")
    (issue / "forecast.parquet").write_bytes(b"PAR1")
    (issue.parent / "latest").symlink_to(ISSUE)
    (tmp_path / "products" / "wind" / "secret.html").write_text("secret")
    (issue / "outside.html").symlink_to("../../secret.html")
    return tmp_path


@pytest.fixture
def port(home: Path) -> Iterator[int]:
    server = pages.serve(home, "127.0.0.1", 0, {"Prefect": "http://127.0.0.1:4200"})
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(port: int, path: str, *, method: str = "GET", host: str = "localhost") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": f"{host}:{port}"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.parametrize(
    "address", ["/wind/latest/report.html", f"/wind/{ISSUE}/report.html", "/wind/latest/report.html?x=1"]
)
def test_a_report_is_served(port: int, address: str) -> None:
    response, content = ask(port, address)
    assert (response.status, content) == (200, b"<p>report")
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"


def test_every_answer_has_security_headers(port: int) -> None:
    for address in ("/", "/wind/latest/report.html", "/none"):
        headers = ask(port, address)[0].headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_the_first_page_lists_products_and_servers(port: int) -> None:
    text = ask(port, "/")[1].decode()
    assert f'<a href="/wind/latest/report.html">wind<span>Latest forecast: {ISSUE}' in text
    assert '<a href="http://127.0.0.1:4200">Prefect</a>' in text


def test_the_first_page_tells_when_nothing_is_published(tmp_path: Path) -> None:
    server = pages.serve(tmp_path, "127.0.0.1", 0, {})
    try:
        assert b"No forecast has been published yet" in ask(server.server_address[1], "/")[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "address",
    [
        "/wind",
        "/wind/latest/",
        "/wind/latest/none.html",
        "/wind/latest/outside.html",
        "/wind/latest/../../secret.html",
        "/wind/../wind/latest/report.html",
        "/%2e%2e/products/wind/secret.html",
        "/wind/latest/..%2f..%2fsecret.html",
        "/wind/latest/report.html%00.svg",
        "/wind/latest/report.html\x2f",
        "http://[/report.html",
        "/wind/latest/report.html/",
        "/WIND/latest/report.html",
        "/wind/latest/ledger.json",
        f"/{'a' * 300}/latest/report.html",
    ],
)
def test_f36_nothing_else_is_found(port: int, address: str) -> None:
    response, content = ask(port, address)
    assert response.status == 404
    assert b"secret" not in content


def test_f40_a_foreign_host_name_is_refused(port: int) -> None:
    assert ask(port, "/", host="evil.example")[0].status == 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_possible(port: int, method: str) -> None:
    assert ask(port, "/", method=method)[0].status == 501


def test_head_has_no_body(port: int) -> None:
    response, content = ask(port, "/wind/latest/forecast.parquet", method="HEAD")
    assert (response.status, response.headers["Content-Length"], content) == (200, "4", b"")


def test_listens_on_loopback_only(port: int) -> None:
    with socket.socket() as probe, pytest.raises(OSError):
        probe.settimeout(2)
        probe.connect(("127.0.0.2", port))
