"""The sockets of the HTTP client: which addresses they may connect to, and for how long."""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore

from pipeline.errors import SourceError
from pipeline.ingest.sources.http.addresses import refusal

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Clock:
    """The time functions of the client, which tests replace."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """A number in [0, 1)."""


class Deadline:
    """The time limit of a request, including all retries."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._end = clock, clock.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; negative after the deadline."""
        return self._end - self._clock.monotonic()

    def bound(self, timeout: float | None) -> float:
        """Return the timeout of the next socket operation.

        Raises:
            httpcore.ReadTimeout: the deadline has passed.
        """
        if self.left <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return self.left if timeout is None else min(timeout, self.left)


def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host, in the order in which to try them.

    Raises:
        httpcore.ConnectError: the host has no address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"cannot resolve the name {host}") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Backend(httpcore.NetworkBackend):
    """Connect to public addresses only, unless `private`.

    Host names are resolved here. Every address is checked before connecting, and the peer of the connected socket is
    checked again before any byte is sent, so that DNS rebinding has no effect.
    """

    deadline: Deadline

    def __init__(
        self,
        *,
        private: bool,
        deadline: Deadline,
        resolve: Resolve = resolve,
        sockets: httpcore.NetworkBackend | None = None,
    ) -> None:
        self.deadline = deadline
        self._private, self._resolve, self._sockets = private, resolve, sockets or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to a host.

        Raises:
            SourceError: the host has an address that is not allowed.
            httpcore.ConnectError: none of its addresses accepts the connection.
        """
        addresses = self._resolve(host, port)
        for address in addresses:
            self._check(host, address)
        fault: Exception = httpcore.ConnectError(f"cannot resolve the name {host}")
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(address, port, self.deadline.bound(timeout), local_address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
                continue
            try:
                self._check(host, str(stream.get_extra_info("server_addr")[0]))
            except SourceError:
                stream.close()
                raise
            return _Stream(stream, self)
        raise fault

    def _check(self, host: str, address: str) -> None:
        why = "" if self._private else refusal(address)
        if why:
            raise SourceError(f"{host} has the address {address}, {why}; to allow it, set private: true in feed.source")


class _Stream(httpcore.NetworkStream):
    """A connection whose operations end by the deadline of the current request."""

    def __init__(self, stream: httpcore.NetworkStream, backend: Backend) -> None:
        self._stream, self._backend = stream, backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._backend.deadline.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._backend.deadline.bound(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        bound = self._backend.deadline.bound(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, bound), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
