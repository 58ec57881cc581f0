import gzip
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from pipeline.errors import SourceError
from pipeline.ingest.sources import http
from pipeline.ingest.sources.http import Client, Request, Secrets
from tests.http_world import FakeClock, gzip_bomb, make_spec, raw_server, respond

KEY = "canary-key-7f3a"


def ask(url: str, **headers: str) -> Request:
    return Request(url.replace(KEY, "***"), SecretStr(url), {name: SecretStr(text) for name, text in headers.items()})


def get(
    url: str,
    *,
    clock: FakeClock | None = None,
    secrets: Iterable[SecretStr] = (),
    headers: Mapping[str, str] | None = None,
    **spec: Any,
) -> http.Response:
    with Client(make_spec(**spec), url, secrets, clock=(clock or FakeClock()).clock) as client:
        return client.get(ask(url, **(headers or {})))


def error(url: str, **arguments: Any) -> str:
    with pytest.raises(SourceError) as caught:
        get(url, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def in_turn(*responses: Response) -> Callable[[Received], Response]:
    left = list(responses)
    return lambda request: left.pop(0)


def test_a_response_has_content_and_media_type(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a", query_string="x=1").respond_with_data(
        b"[1]", content_type="Application/JSON; charset=x"
    )
    assert get(httpserver.url_for("/a?x=1")) == http.Response(b"[1]", "application/json")


def test_request_headers(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    httpserver.expect_request("/").respond_with_data(b"{}")
    get(httpserver.url_for("/"), headers={"X-Key": "k"})
    request: Received = httpserver.log[0][0]
    assert request.method == "GET"
    sent = {name: request.headers.get(name) for name in ("X-Key", "Accept-Encoding", "Cookie", "Referer")}
    assert sent == {"X-Key": "k", "Accept-Encoding": "gzip", "Cookie": None, "Referer": None}
    assert request.headers["User-Agent"].startswith("nightcast/")


def test_a_compressed_response_is_decompressed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(gzip.compress(b"[2]"), headers={"Content-Encoding": "gzip"})
    assert get(httpserver.url_for("/")).content == b"[2]"


def test_status_204_is_an_empty_response(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_response(Response(status=204))
    assert get(httpserver.url_for("/")).content == b""


def test_retry_after_in_seconds(httpserver: HTTPServer) -> None:
    busy = Response(status=429, headers={"Retry-After": "7"})
    httpserver.expect_request("/").respond_with_handler(in_turn(busy, Response(b"[1]")))
    clock = FakeClock()
    assert get(httpserver.url_for("/"), clock=clock).content == b"[1]"
    assert clock.slept == [7.5]  # the wait that was asked for, plus jitter


def test_retry_after_as_a_date_is_relative_to_the_clock_of_the_provider(httpserver: HTTPServer) -> None:
    headers = {"Retry-After": "Fri, 01 Jan 1999 00:00:20 GMT", "Date": "Fri, 01 Jan 1999 00:00:00 GMT"}
    past = headers | {"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT", "Date": "Fri, 01 Jan 1999 00:00:09 GMT"}
    turns = (Response(status=503, headers=headers), Response(status=503, headers=past), Response(b"[1]"))
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns))
    clock = FakeClock()
    get(httpserver.url_for("/"), clock=clock)
    assert clock.slept == [20.5, 0.5]


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 529])
def test_a_temporary_failure_is_retried_with_back_off(httpserver: HTTPServer, status: int) -> None:
    turns = [Response(status=status, headers={"Retry-After": "soon"}) for _ in range(3)]
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns, Response(b"[1]")))
    clock = FakeClock()
    get(httpserver.url_for("/"), clock=clock)
    assert clock.slept == [0.75, 1.5, 3.0]  # 1, 2 and 4 s, each jittered down to three quarters


def test_status_429_without_retry_after_waits_longer(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=429)
    clock = FakeClock()
    message = error(httpserver.url_for("/"), clock=clock, deadline=timedelta(minutes=2))
    assert clock.slept == [11.25, 22.5, 45.0]  # 15, 30 and 60 s; a fourth wait would pass the deadline
    assert message.endswith("/: 429 Too Many Requests; gave up after 4 attempts")


def test_the_number_of_attempts_is_limited(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=503)
    assert "503 Service Unavailable; gave up after 2 attempts" in error(httpserver.url_for("/"), attempts=2)
    assert len(httpserver.log) == 2


def test_a_wait_beyond_the_deadline_is_not_started(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=429, headers={"Retry-After": "3600"})
    clock = FakeClock()
    message = error(httpserver.url_for("/"), clock=clock)
    assert message.endswith("429 Too Many Requests; the provider asks to wait 3,600 s; gave up after 1 attempt")
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_reported_without_retry(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/").respond_with_json({"error": True, "reason": "no\nsuch ‮thing"}, status=status)
    message = error(httpserver.url_for("/"))
    assert re.search(rf": {status} [A-Z][A-Za-z ]+, no such thing$", message)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"reason": {}}', b"\xff"])
def test_a_refusal_without_a_reason_is_reported_by_status(httpserver: HTTPServer, body: bytes) -> None:
    httpserver.expect_request("/").respond_with_data(body, status=404)
    assert error(httpserver.url_for("/")).endswith("/: 404 Not Found")


def test_an_exhausted_quota_is_not_retried(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_json({"reason": "Daily limit exceeded"}, status=429)
    url = httpserver.url_for("/")
    with Client(make_spec(), url, clock=FakeClock().clock, permanent=re.compile("Daily limit")) as client:
        with pytest.raises(SourceError, match=r"429 Too Many Requests, Daily limit exceeded$"):
            client.get(ask(url))
        assert client.given_up
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(httpserver: HTTPServer, status: int) -> None:
    target = httpserver.url_for("/other")
    httpserver.expect_request("/").respond_with_data(b"", status=status, headers={"Location": target})
    assert error(httpserver.url_for("/")).endswith(f" to '{target}'; redirects are not followed")
    assert [request.path for request, _ in httpserver.log] == ["/"]


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/", "https://localhost:{port}/", "http://127.0.0.1:{port}/", "http://u@localhost:{port}/"],
)
def test_no_other_host_is_requested(httpserver: HTTPServer, url: str) -> None:
    base = httpserver.url_for("/")
    with (
        Client(make_spec(), base) as client,
        pytest.raises(SourceError, match=r"is not requested; feed\.source\.url allows only"),
    ):
        client.get(ask(url.format(port=httpserver.port)))
    assert httpserver.log == []


def test_localhost_is_refused_by_default(httpserver: HTTPServer) -> None:
    message = error(httpserver.url_for("/"), private=False)
    assert message.endswith(
        "localhost has the address 127.0.0.1, a loopback address; to allow it, set private: true in feed.source"
    )
    assert httpserver.log == []


def test_the_size_limit_applies_to_the_declared_and_the_actual_length() -> None:
    with raw_server(respond(b"x" * 101)) as url:
        assert error(url, max_bytes=100).endswith("larger than 100 bytes (feed.source.max_bytes)")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"
    with raw_server(chunked) as url:
        assert error(url, max_bytes=100).endswith("larger than 100 bytes (feed.source.max_bytes)")
        assert get(url, max_bytes=101).content == b"x" * 101


def test_the_size_limit_applies_after_decompression() -> None:
    with raw_server(respond(gzip_bomb(50), Content_Encoding="gzip")) as url:
        assert "larger than 1,048,576 bytes when decompressed" in error(url, max_bytes=2**20)


def test_a_broken_connection_and_a_short_body_are_retried() -> None:
    with raw_server(b"", respond(b"[1", length=9), respond(b"[1]")) as url:
        assert get(url).content == b"[1]"
    with raw_server(respond(b"[1", length=9)) as url:
        assert "the connection failed, peer closed connection" in error(url, attempts=2)


def test_a_refused_connection_is_retried() -> None:
    with raw_server(b"") as url:
        pass
    clock = FakeClock()
    message = error(url, clock=clock, attempts=3)
    assert re.search(r": cannot connect, .*refused; gave up after 3 attempts$", message)
    assert len(clock.slept) == 2


def test_a_slow_body_ends_at_the_deadline() -> None:
    def drip(connection: socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100_000):
            connection.sendall(b"x")

    clock = FakeClock(tick=1.0)  # each reading of the clock, one or two per read, takes a second
    with raw_server(drip) as url:
        assert error(url, clock=clock, deadline=timedelta(minutes=1)).endswith(
            "no complete response within 1min (feed.source.deadline)"
        )
    assert 1060 <= clock.now < 1070


def test_slow_headers_end_at_the_deadline() -> None:
    def drip(connection: socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100_000):
            connection.sendall(b"x")

    with raw_server(drip) as url:
        assert "no complete response within 1min" in error(
            url, clock=FakeClock(tick=1.0), deadline=timedelta(minutes=1)
        )


def test_the_client_gives_up_after_three_failures_in_a_row(httpserver: HTTPServer) -> None:
    down, missing = Response(status=503), Response(status=404)
    turns = (down, down, missing, down, down, down)
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns))
    url, given_up = httpserver.url_for("/"), []
    with Client(make_spec(attempts=1), url, clock=FakeClock().clock) as client:
        for _ in turns:
            with pytest.raises(SourceError):
                client.get(ask(url))
            given_up.append(client.given_up)
    assert given_up == [False, False, False, False, False, True]  # a 404 is a response


def test_secrets_are_never_shown(httpserver: HTTPServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [SecretStr(KEY), SecretStr("b/c d")]
    url = httpserver.url_for(f"/?apikey={KEY}")
    httpserver.expect_request("/").respond_with_json({"reason": f"key {KEY} or b%2Fc%20d is unknown"}, status=403)
    message = error(url, secrets=secrets, headers={"Authorization": f"Bearer {KEY}"})
    assert message.endswith("/?apikey=***: 403 Forbidden, key *** or *** is unknown")
    httpserver.clear()
    httpserver.expect_request("/").respond_with_data(b'{"next": "?apikey=' + KEY.encode() + b'"}')
    assert get(url, secrets=secrets).content == b'{"next": "?apikey=***"}'
    ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert not [message for message in ours if KEY in message]
    assert KEY not in repr(ask(url, Authorization=KEY))


def test_a_secret_is_hidden_in_every_encoding() -> None:
    text = r'as a/b"c d12, a%2Fb%22c%20d12, a%2Fb%22c+d12, a/b\"c d12 or a\/b\"c d12'
    secrets = Secrets([SecretStr('a/b"c d12')])
    assert secrets.hide(text) == "as ***, ***, ***, *** or ***"
    assert secrets.hide_in(text.encode()) == b"as ***, ***, ***, *** or ***"
    assert Secrets([SecretStr("12"), SecretStr("")]).hide_in(b"3.12") == b"3.12"  # too short: it may be data


@pytest.mark.parametrize("value", ["two\r\nX-Evil: 1", "\x00", "Ωmega"])
def test_a_secret_that_is_invalid_in_a_header_is_not_shown(httpserver: HTTPServer, value: str) -> None:
    with pytest.raises(SourceError) as caught:
        get(httpserver.url_for("/"), headers={"Authorization": value}, secrets=[SecretStr(value)])
    assert str(caught.value).endswith(
        "a header or the URL contains characters that HTTP cannot send; correct the secret"
    )
    assert caught.value.__cause__ is None
    assert httpserver.log == []


def test_an_untrusted_certificate_is_refused_without_retry(tmp_path: Path) -> None:
    context = _self_signed(tmp_path)
    server = HTTPServer(host="localhost", port=0, ssl_context=context)
    server.start()
    try:
        clock = FakeClock()
        message = error(server.url_for("/"), clock=clock, insecure=False)
        assert "the certificate is not trusted" in message
        assert clock.slept == []
    finally:
        server.stop()


def _self_signed(folder: Path) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2099, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(plain + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context
