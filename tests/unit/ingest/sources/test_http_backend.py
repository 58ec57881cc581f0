import socket
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import pytest

from pipeline.errors import SourceError
from pipeline.ingest.sources.http.backend import Backend, Deadline, resolve
from tests.http_world import FakeClock

HERE = "127.0.0.1"


class Elsewhere(httpcore.NetworkBackend):
    """Connects to one place whatever is asked, as a name that changed its mind would."""

    def __init__(self, port: int) -> None:
        self.port, self.requested = port, list[str]()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        self.requested.append(host)
        return httpcore.SyncBackend().connect_tcp(HERE, self.port, timeout)


def backend(private: bool = False, **arguments: Any) -> Backend:
    return Backend(private=private, deadline=Deadline(FakeClock().clock, 10), **arguments)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HERE, 0)) as server:
        server.settimeout(5)
        yield server


SPELLINGS = """
    127.1 0x7f.1 0177.0.0.1 2130706433 0x7f000001 0 0.0.0.0 localhost ::1 :: ::ffff:10.0.0.1 10.0.0.1
    169.254.169.254 0xa9fea9fe 2852039166 64:ff9b::a9fe:a9fe
"""


@pytest.mark.parametrize("host", SPELLINGS.split())
def test_a_private_address_is_refused_before_it_is_connected_to(host: str, listener: socket.socket) -> None:
    sockets = Elsewhere(listener.getsockname()[1])
    with pytest.raises(SourceError, match=r"address.*set private: true"):
        backend(sockets=sockets).connect_tcp(host, 443)
    assert sockets.requested == []


def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(
        SourceError, match=r"^api\.example\.org has the address 10\.0\.0\.7, a private address; to allow it"
    ):
        backend(resolve=lambda host, port: ["8.8.8.8", "10.0.0.7"]).connect_tcp("api.example.org", 443)


def test_the_peer_of_the_socket_is_checked_before_a_byte_is_sent(listener: socket.socket) -> None:
    sockets = Elsewhere(listener.getsockname()[1])
    with pytest.raises(SourceError, match=r"has the address 127\.0\.0\.1, a loopback address"):
        backend(resolve=lambda host, port: ["8.8.8.8"], sockets=sockets).connect_tcp("api.example.org", 443)
    assert sockets.requested == ["8.8.8.8"]
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        assert connection.recv(1) == b""  # closed, and nothing came


def test_a_private_address_can_be_allowed(listener: socket.socket) -> None:
    stream = backend(private=True).connect_tcp("127.1", listener.getsockname()[1])
    assert stream.get_extra_info("server_addr") == listener.getsockname()
    stream.close()


def test_the_next_address_is_tried_when_one_does_not_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    both = backend(private=True, resolve=lambda host, port: ["127.0.0.2", HERE])
    both.connect_tcp("x", port).close()
    neither = backend(private=True, resolve=lambda host, port: ["127.0.0.2", "127.0.0.3"])
    with pytest.raises(httpcore.ConnectError):
        neither.connect_tcp("x", port)


def test_a_name_without_an_address_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(httpcore.ConnectError, match=r"cannot resolve the name api\.example\.org"):
        resolve("api.example.org", 443)
    with pytest.raises(httpcore.ConnectError, match="cannot resolve"):
        backend(resolve=lambda host, port: []).connect_tcp("x", 443)


def test_nothing_is_read_or_written_after_the_deadline(listener: socket.socket) -> None:
    clock = FakeClock()
    limited = Backend(private=True, deadline=Deadline(clock.clock, 10))
    stream = limited.connect_tcp(HERE, listener.getsockname()[1])
    stream.write(b"x", 1)
    clock.sleep(10)
    for late in (lambda: stream.read(1, 30), lambda: stream.write(b"x", 30), lambda: limited.connect_tcp(HERE, 1)):
        with pytest.raises(httpcore.ReadTimeout):
            late()
    stream.close()


def test_a_timeout_never_exceeds_the_time_left() -> None:
    deadline = Deadline(FakeClock().clock, 10)
    assert [deadline.bound(timeout) for timeout in (3.0, 30.0, None)] == [3.0, 10.0, 10.0]
