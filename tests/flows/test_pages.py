from __future__ import annotations

import json
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
    (issue / "forecast.zarr").mkdir()
    for name in ("wind_10m.v2.csv", "medians.csv.gz", "forecast.zarr/.zattrs", "unlisted.html"):
        (issue / name).write_text("1")
    listed = sorted(path.relative_to(issue).as_posix() for path in issue.rglob("*") if path.is_file())
    listed.remove("unlisted.html")
    files = dict.fromkeys([*listed, "outside.html", "../../secret.html", "gone.html"], "digest")
    (issue / "forecast.json").write_text(json.dumps({"files": files}))
    (issue.parent / "latest").symlink_to(ISSUE)
    (tmp_path / "products" / "wind" / "secret.html").write_text("secret")
    (issue / "outside.html").symlink_to("../../secret.html")
    return tmp_path


@pytest.fixture
def port(home: Path) -> Iterator[int]:
    with pages.serve(home, "127.0.0.1", 0, {"Prefect": "http://127.0.0.1:4200"}) as port:
        yield port


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


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("forecast.parquet", "application/vnd.apache.parquet"),
        ("forecast.json", "application/json"),
        ("wind_10m.v2.csv", "text/csv; charset=utf-8"),
        ("medians.csv.gz", "application/octet-stream"),
        ("forecast.zarr/.zattrs", "application/octet-stream"),
    ],
)
def test_every_file_that_a_format_wrote_is_served(port: int, file: str, kind: str) -> None:
    response, _ = ask(port, f"/wind/latest/{file}")
    assert (response.status, response.headers["Content-Type"]) == (200, kind)


def test_every_answer_has_security_headers(port: int) -> None:
    answers = [ask(port, address)[0] for address in ("/", "/wind/latest/report.html", "/none")]
    answers += [ask(port, "/", host="evil.example")[0], ask(port, "/", method="POST")[0]]
    assert [answer.status for answer in answers] == [200, 200, 404, 421, 405]
    for headers in (answer.headers for answer in answers):
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_the_first_page_lists_products_and_servers(port: int) -> None:
    text = ask(port, "/")[1].decode()
    assert f'<a href="/wind/latest/report.html">wind<span>Latest forecast: {ISSUE}' in text
    assert '<a href="http://127.0.0.1:4200">Prefect</a>' in text


def test_the_first_page_of_an_empty_home(tmp_path: Path) -> None:
    with pages.serve(tmp_path, "127.0.0.1", 0, {}) as port:
        assert b"No forecast has been published yet" in ask(port, "/")[1]


@pytest.mark.parametrize(
    "address",
    [
        "/wind",
        "/wind/latest/",
        "/wind/latest/none.html",
        "/wind/latest/outside.html",
        "/wind/latest/unlisted.html",
        "/wind/latest/gone.html",
        "/wind/latest/forecast.zarr",
        "/wind/19781230T070000Z/report.html",
        "/wind/latest/../../secret.html",
        f"/wind/{ISSUE}/../../secret.html",
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
def test_nothing_else_is_found(port: int, address: str) -> None:
    response, content = ask(port, address)
    assert response.status == 404
    assert b"secret" not in content


def test_a_foreign_host_name_is_refused(port: int) -> None:
    response, content = ask(port, "/wind/latest/report.html", host="evil.example")
    assert response.status == 421
    assert b"report" not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_reading_is_possible(port: int, method: str) -> None:
    assert ask(port, "/wind/latest/report.html", method=method)[0].status == 405


def test_head_has_no_body(port: int) -> None:
    response, content = ask(port, "/wind/latest/forecast.parquet", method="HEAD")
    assert (response.status, response.headers["Content-Length"], content) == (200, "4", b"")


def test_names_are_escaped_on_the_first_page(home: Path) -> None:
    with pages.serve(home, "127.0.0.1", 0, {"<b>": 'http://127.0.0.1/"><script>'}) as port:
        text = ask(port, "/")[1].decode()
    assert "<script" not in text
    assert "&lt;b&gt;" in text


def test_the_server_stops_and_frees_its_port(home: Path) -> None:
    with pages.serve(home, "127.0.0.1", 0, {}) as port:
        assert ask(port, "/")[0].status == 200
        with pytest.raises(OSError, match="in use"), pages.serve(home, "127.0.0.1", port, {}):
            pass
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")
    with pages.serve(home, "127.0.0.1", port, {}):
        assert ask(port, "/")[0].status == 200


def test_listens_on_loopback_only(port: int) -> None:
    with socket.socket() as probe, pytest.raises(OSError):
        probe.settimeout(2)
        probe.connect(("127.0.0.2", port))
