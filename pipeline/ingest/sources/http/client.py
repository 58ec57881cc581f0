"""The one HTTP client of all sources: asks one host, follows nothing, believes little, and gives up in time."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from re import Pattern
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

import httpcore
from pydantic import SecretStr
from tenacity import RetryCallState, Retrying, retry_if_result

from pipeline.config.base import format_duration
from pipeline.config.sources.http import HttpSpec
from pipeline.errors import SourceError
from pipeline.ingest.sources.http.backend import Backend, Clock, Deadline
from pipeline.ingest.sources.http.body import read_body
from pipeline.ingest.sources.http.messages import Answer, Request, Secrets, phrase, stated_reason
from pipeline.version import code_version

logging.getLogger("httpcore").setLevel(logging.INFO)  # below that it tells whole headers, with what they repeat

_CONNECT, _READ = 10.0, 30.0  # seconds for one operation on a socket
_LONGEST_WAIT = 60.0
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_CLOSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}
_GOOD = {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
_REASON_BYTES = 2**16
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class _Again:
    """Why a try came to nothing although a later one may not."""

    problem: str
    after: float | None = None
    """Seconds that the provider asks to wait."""
    base: float = 1.0
    """Seconds before the second try where it asks for none."""


class Client:
    """Asks one host for GET answers, one request at a time, over kept connections; use it as a context.

    Neither proxies nor other settings of the environment have a say. One layer retries, and it is this one: 408, 425,
    429, 5xx and broken connections, with jitter, as long as `Retry-After` asks, until the deadline.
    """

    def __init__(
        self,
        spec: HttpSpec,
        url: str,
        secrets: Iterable[SecretStr] = (),
        *,
        clock: Clock | None = None,
        backend: Backend | None = None,
        hopeless: Pattern[str] | None = None,
    ) -> None:
        """Open a client for the host of `url`.

        `hopeless` matches stated reasons that no retry within the deadline can mend, such as a spent daily quota.
        """
        self._spec, self._origin, self._secrets = spec, _origin(urlsplit(url)), Secrets(secrets)
        self._clock, self._hopeless = clock or Clock(), hopeless
        self._deadline = Deadline(self._clock, 0)
        self._backend = backend or Backend(private=spec.private, deadline=self._deadline)
        self._pool = httpcore.ConnectionPool(network_backend=self._backend, max_connections=1, retries=0)
        self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    @property
    def given_up(self) -> bool:
        """Whether so many requests failed in a row that further ones would only bother the provider."""
        return self._failures >= _PATIENCE

    def get(self, request: Request) -> Answer:
        """Return the answer to a request.

        Raises:
            SourceError: none can be had; the message is one line, names the request and holds no secret.
        """
        parts = urlsplit(request.url.get_secret_value())
        if _origin(parts) != self._origin or "@" in parts.netloc:
            asked, allowed = f"{parts.scheme}://{parts.netloc}", "{}://{}:{}".format(*self._origin)
            raise SourceError(self._secrets.hide(f"{asked} is not asked; feed.source.url allows {allowed} only"))
        self._deadline = self._backend.deadline = Deadline(self._clock, self._spec.deadline.total_seconds())
        self._failures += 1  # until it answers
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, _Again)),
            wait=self._wait,
            stop=self._stop,
            sleep=self._clock.sleep,
            retry_error_callback=_last,
        )
        try:
            outcome = retrying(self._once, request)
        except SourceError as error:
            raise SourceError(self._secrets.hide(f"{request.shown}: {error}")) from None
        if isinstance(outcome, _Again):
            asks = f"; it asks to wait {outcome.after:,.0f} s" if outcome.after else ""
            tries = retrying.statistics["attempt_number"]
            given_up = f"given up after {tries} {'try' if tries == 1 else 'tries'}"
            raise SourceError(self._secrets.hide(f"{request.shown}: {outcome.problem}{asks}; {given_up}"))
        return outcome

    def _once(self, request: Request) -> Answer | _Again:
        headers = {
            "User-Agent": f"nightcast/{code_version()}",
            "Accept": "application/json, */*;q=0.1",
            "Accept-Encoding": "gzip",
        }
        headers |= {name: value.get_secret_value() for name, value in request.headers.items()}
        timeouts = {"connect": _CONNECT, "read": _READ, "write": _READ, "pool": _CONNECT}
        try:
            with self._pool.stream(
                "GET",
                request.url.get_secret_value().encode("ascii"),
                headers=[(name.encode("ascii"), text.encode("ascii")) for name, text in headers.items()],
                extensions={"timeout": timeouts},
            ) as response:
                return self._read(response)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            if self._deadline.left <= 0:
                span = format_duration(self._spec.deadline)
                raise SourceError(f"no whole answer within {span} (feed.source.deadline)") from None
            if any(isinstance(first, ssl.SSLCertVerificationError) for first in error.args):
                raise SourceError(f"its certificate is not trusted, {error}") from None
            return _Again(_words(error))
        except (httpcore.LocalProtocolError, UnicodeEncodeError):  # their words repeat the header
            raise SourceError("a header or the address holds what HTTP cannot send; correct the secret") from None

    def _read(self, response: httpcore.Response) -> Answer | _Again:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        status, encoding = response.status, headers.get("content-encoding", "").strip().lower()
        if status < 500 and status not in (_BUSY | _CLOSED):
            self._failures = 0
        if status in _GOOD:
            content = read_body(response.iter_stream(), encoding, self._spec.max_bytes)
            media_type = self._secrets.mask(headers.get("content-type", "")).partition(";")[0].strip().lower()
            return Answer(self._secrets.hide_in(content), media_type)
        problem = phrase(status)
        if 300 <= status < 400:
            raise SourceError(f"{problem} to {headers.get('location', 'nowhere')[:200]!r}; redirects are not followed")
        reason = self._reason(response, encoding)
        problem = f"{problem}, {reason}" if reason else problem
        if self._hopeless and self._hopeless.search(reason):
            self._failures = _PATIENCE
            raise SourceError(problem)
        if not (status in _BUSY or status >= 500):
            raise SourceError(problem)
        base = 15.0 if status == HTTPStatus.TOO_MANY_REQUESTS else 1.0
        return _Again(problem, _seconds(headers.get("retry-after", ""), headers.get("date", "")), base)

    def _reason(self, response: httpcore.Response, encoding: str) -> str:
        try:
            return stated_reason(read_body(response.iter_stream(), encoding, _REASON_BYTES))
        except SourceError:  # the status says enough
            return ""

    def _wait(self, state: RetryCallState) -> float:
        again = _last(state)
        if again.after is not None:
            return again.after + self._clock.jitter()
        longest: float = min(_LONGEST_WAIT, again.base * 2.0 ** (state.attempt_number - 1))
        return longest * (0.5 + self._clock.jitter() / 2)

    def _stop(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._spec.attempts or state.upcoming_sleep >= self._deadline.left


def _last(state: RetryCallState) -> _Again:
    assert state.outcome is not None  # noqa: S101 - tenacity asks only after a try
    again: _Again = state.outcome.result()
    return again


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    try:
        port = parts.port
    except ValueError:
        port = -1
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or ""), default if port is None else port


def _seconds(retry_after: str, date: str) -> float | None:
    """Return how long `Retry-After` asks to wait; a date counts from the provider's own clock, not from ours."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(wait, 0.0)


def _words(error: Exception) -> str:
    """Return in words what went wrong on the wire."""
    if isinstance(error, httpcore.ConnectTimeout):
        return "it does not take the connection in time"
    if isinstance(error, httpcore.TimeoutException):
        return "it does not answer in time"
    if isinstance(error, httpcore.ConnectError):
        return f"it cannot be reached, {error}"
    return f"the connection broke, {error}"
