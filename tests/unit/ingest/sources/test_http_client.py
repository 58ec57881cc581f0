import gzip
import logging
import re
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from pipeline.errors import SourceError
from pipeline.ingest.sources.http import Answer, Client, Request, Secrets
from tests.http_world import FakeClock, gzip_bomb, make_spec, raw_server, respond

KEY = "canary-key-7f3a"


def ask(url: str, **headers: str) -> Request:
    return Request(url.replace(KEY, "***"), SecretStr(url), {name: SecretStr(text) for name, text in headers.items()})


def get(url: str, *, clock: FakeClock | None = None, secrets=(), headers=None, **spec) -> Answer:
    with Client(make_spec(**spec), url, secrets, clock=(clock or FakeClock()).clock) as client:
        return client.get(ask(url, **(headers or {})))


def error(url: str, **arguments) -> str:
    with pytest.raises(SourceError) as caught:
        get(url, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def in_turn(*responses: Response):
    left = list(responses)
    return lambda request: left.pop(0)


def test_an_answer_has_its_content_and_media_type(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a", query_string="x=1").respond_with_data(
        b"[1]", content_type="Application/JSON; charset=x"
    )
    assert get(httpserver.url_for("/a?x=1")) == Answer(b"[1]", "application/json")


def test_what_is_sent(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    httpserver.expect_request("/").respond_with_data(b"{}")
    get(httpserver.url_for("/"), headers={"X-Key": "k"})
    request: Received = httpserver.log[0][0]
    assert request.method == "GET"
    sent = {name: request.headers.get(name) for name in ("X-Key", "Accept-Encoding", "Cookie", "Referer")}
    assert sent == {"X-Key": "k", "Accept-Encoding": "gzip", "Cookie": None, "Referer": None}
    assert request.headers["User-Agent"].startswith("nightcast/")


def test_a_compressed_answer_is_decompressed(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(gzip.compress(b"[2]"), headers={"Content-Encoding": "gzip"})
    assert get(httpserver.url_for("/")).content == b"[2]"


def test_no_content_is_an_empty_answer(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_response(Response(status=204))
    assert get(httpserver.url_for("/")).content == b""


def test_retry_after_in_seconds_is_waited_for(httpserver: HTTPServer) -> None:
    busy = Response(status=429, headers={"Retry-After": "7"})
    httpserver.expect_request("/").respond_with_handler(in_turn(busy, Response(b"[1]")))
    clock = FakeClock()
    assert get(httpserver.url_for("/"), clock=clock).content == b"[1]"
    assert clock.slept == [7.5]  # what was asked for, and the jitter


def test_retry_after_as_a_date_counts_from_the_providers_clock(httpserver: HTTPServer) -> None:
    headers = {"Retry-After": "Fri, 01 Jan 1999 00:00:20 GMT", "Date": "Fri, 01 Jan 1999 00:00:00 GMT"}
    past = headers | {"Retry-After": "Fri, 01 Jan 1999 00:00:00 GMT", "Date": "Fri, 01 Jan 1999 00:00:09 GMT"}
    turns = (Response(status=503, headers=headers), Response(status=503, headers=past), Response(b"[1]"))
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns))
    clock = FakeClock()
    get(httpserver.url_for("/"), clock=clock)
    assert clock.slept == [20.5, 0.5]


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again_with_growing_waits(httpserver: HTTPServer, status: int) -> None:
    turns = [Response(status=status, headers={"Retry-After": "soon"}) for _ in range(3)]
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns, Response(b"[1]")))
    clock = FakeClock()
    get(httpserver.url_for("/"), clock=clock)
    assert clock.slept == [0.75, 1.5, 3.0]  # 1, 2 and 4 s, each jittered down to three quarters


def test_a_busy_provider_without_a_hint_is_left_alone_for_longer(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=429)
    clock = FakeClock()
    said = error(httpserver.url_for("/"), clock=clock, deadline=timedelta(minutes=2))
    assert clock.slept == [11.25, 22.5, 45.0]  # 15, 30 and 60 s; a fourth wait would pass the deadline
    assert said.endswith("/: 429 Too Many Requests; given up after 4 tries")


def test_attempts_are_bounded(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=503)
    assert "503 Service Unavailable; given up after 2 tries" in error(httpserver.url_for("/"), attempts=2)
    assert len(httpserver.log) == 2


def test_a_wait_beyond_the_deadline_is_not_begun(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(b"", status=429, headers={"Retry-After": "3600"})
    clock = FakeClock()
    said = error(httpserver.url_for("/"), clock=clock)
    assert said.endswith("429 Too Many Requests; it asks to wait 3,600 s; given up after 1 try")
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_refusal_is_not_tried_again_and_its_reason_is_told(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/").respond_with_json({"error": True, "reason": "no\nsuch ‮thing"}, status=status)
    said = error(httpserver.url_for("/"))
    assert re.search(rf": {status} [A-Z][A-Za-z ]+, no such thing$", said)
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"reason": {}}', b"\xff"])
def test_a_refusal_without_a_reason_tells_the_status(httpserver: HTTPServer, body: bytes) -> None:
    httpserver.expect_request("/").respond_with_data(body, status=404)
    assert error(httpserver.url_for("/")).endswith("/: 404 Not Found")


def test_a_spent_quota_is_not_tried_again(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_json({"reason": "Daily limit exceeded"}, status=429)
    url = httpserver.url_for("/")
    with Client(make_spec(), url, clock=FakeClock().clock, hopeless=re.compile("Daily limit")) as client:
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
def test_no_other_host_is_asked(httpserver: HTTPServer, url: str) -> None:
    base = httpserver.url_for("/")
    with (
        Client(make_spec(), base) as client,
        pytest.raises(SourceError, match=r"is not asked; feed\.source\.url allows"),
    ):
        client.get(ask(url.format(port=httpserver.port)))
    assert httpserver.log == []


def test_this_machine_is_not_asked_unless_that_is_meant(httpserver: HTTPServer) -> None:
    said = error(httpserver.url_for("/"), private=False)
    assert said.endswith(
        "localhost is at 127.0.0.1, a loopback address; if that is meant, say private: true in feed.source"
    )
    assert httpserver.log == []


def test_an_answer_that_is_too_large_is_refused_by_what_it_says_and_by_what_comes() -> None:
    with raw_server(respond(b"x" * 101)) as url:
        assert error(url, max_bytes=100).endswith("larger than 100 bytes (feed.source.max_bytes)")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n"
    with raw_server(chunked) as url:
        assert error(url, max_bytes=100).endswith("larger than 100 bytes (feed.source.max_bytes)")
        assert get(url, max_bytes=101).content == b"x" * 101


def test_a_bomb_is_defused() -> None:
    with raw_server(respond(gzip_bomb(50), Content_Encoding="gzip")) as url:
        assert "larger than 1,048,576 bytes when decompressed" in error(url, max_bytes=2**20)


def test_a_broken_connection_is_tried_again_and_a_short_body_is_no_answer() -> None:
    with raw_server(b"", respond(b"[1", length=9), respond(b"[1]")) as url:
        assert get(url).content == b"[1]"
    with raw_server(respond(b"[1", length=9)) as url:
        assert "the connection broke, peer closed connection" in error(url, attempts=2)


def test_nobody_there() -> None:
    with raw_server(b"") as url:
        pass
    clock = FakeClock()
    said = error(url, clock=clock, attempts=3)
    assert re.search(r": it cannot be reached, .*refused; given up after 3 tries$", said)
    assert len(clock.slept) == 2


def test_a_slow_drip_ends_at_the_deadline() -> None:
    def drip(connection) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100_000):
            connection.sendall(b"x")

    clock = FakeClock(tick=1.0)  # each look at the clock, one or two a read, takes a second
    with raw_server(drip) as url:
        assert error(url, clock=clock, deadline=timedelta(minutes=1)).endswith(
            "no whole answer within 1min (feed.source.deadline)"
        )
    assert 1060 <= clock.now < 1070


def test_slow_headers_end_at_the_deadline_too() -> None:
    def drip(connection) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in range(100_000):
            connection.sendall(b"x")

    with raw_server(drip) as url:
        assert "no whole answer within 1min" in error(url, clock=FakeClock(tick=1.0), deadline=timedelta(minutes=1))


def test_after_three_failures_in_a_row_the_client_says_to_stop(httpserver: HTTPServer) -> None:
    down, missing = Response(status=503), Response(status=404)
    turns = (down, down, missing, down, down, down)
    httpserver.expect_request("/").respond_with_handler(in_turn(*turns))
    url, said = httpserver.url_for("/"), []
    with Client(make_spec(attempts=1), url, clock=FakeClock().clock) as client:
        for _ in turns:
            with pytest.raises(SourceError):
                client.get(ask(url))
            said.append(client.given_up)
    assert said == [False, False, False, False, False, True]  # a 404 is an answer


def test_secrets_are_told_nowhere(httpserver: HTTPServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = [SecretStr(KEY), SecretStr("b/c d")]
    url = httpserver.url_for(f"/?apikey={KEY}")
    httpserver.expect_request("/").respond_with_json({"reason": f"key {KEY} or b%2Fc%20d is unknown"}, status=403)
    said = error(url, secrets=secrets, headers={"Authorization": f"Bearer {KEY}"})
    assert said.endswith("/?apikey=***: 403 Forbidden, key *** or *** is unknown")
    httpserver.clear()
    httpserver.expect_request("/").respond_with_data(b'{"next": "?apikey=' + KEY.encode() + b'"}')
    assert get(url, secrets=secrets).content == b'{"next": "?apikey=***"}'
    ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert not [message for message in ours if KEY in message]
    assert KEY not in repr(ask(url, Authorization=KEY))


def test_a_secret_is_known_in_every_spelling() -> None:
    told = r'as a/b"c d12, a%2Fb%22c%20d12, a%2Fb%22c+d12, a/b\"c d12 or a\/b\"c d12'
    secrets = Secrets([SecretStr('a/b"c d12')])
    assert secrets.hide(told) == "as ***, ***, ***, *** or ***"
    assert secrets.hide_in(told.encode()) == b"as ***, ***, ***, *** or ***"
    assert Secrets([SecretStr("12"), SecretStr("")]).hide_in(b"3.12") == b"3.12"  # data, as likely as not


@pytest.mark.parametrize("value", ["two\r\nX-Evil: 1", "\x00", "Ωmega"])
def test_a_secret_that_no_header_can_carry_is_not_told_either(httpserver: HTTPServer, value: str) -> None:
    with pytest.raises(SourceError) as caught:
        get(httpserver.url_for("/"), headers={"Authorization": value}, secrets=[SecretStr(value)])
    assert str(caught.value).endswith("a header or the address holds what HTTP cannot send; correct the secret")
    assert caught.value.__cause__ is None
    assert httpserver.log == []


def test_a_certificate_that_nobody_trusts_is_refused_at_once(tmp_path: Path) -> None:
    context = _self_signed(tmp_path)
    server = HTTPServer(host="localhost", port=0, ssl_context=context)
    server.start()
    try:
        clock = FakeClock()
        said = error(server.url_for("/"), clock=clock, insecure=False)
        assert "its certificate is not trusted" in said
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
