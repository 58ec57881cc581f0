"""The HTTP client of all sources: one host, no redirects, limited sizes and times, retries with back-off."""

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
from pipeline.ingest.sources.http.messages import Request, Response, Secrets, phrase, stated_reason
from pipeline.version import code_version

logging.getLogger("httpcore").setLevel(logging.INFO)  # DEBUG logs whole headers, which may contain secrets

_CONNECT, _READ = 10.0, 30.0  # timeouts of one socket operation, seconds
_MAX_WAIT = 60.0
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_DENIED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN}
_SUCCESS = {HTTPStatus.OK, HTTPStatus.NO_CONTENT}
_REASON_BYTES = 2**16
_MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
class _Retry:
    """A failed attempt that may succeed later."""

    problem: str
    after: float | None = None
    """Seconds to wait that the provider asks for, in Retry-After."""
    base: float = 1.0
    """Seconds before the second attempt, if the provider asks for none."""


class Client:
    """A client for GET requests to one host, one at a time, over persistent connections; use it as a context manager.

    Environment variables such as proxies are ignored. Status 408, 425, 429 and 5xx and connection failures are retried
    with exponential back-off and jitter, or after the time in `Retry-After`, until the deadline.
    """

    def __init__(
        self,
        spec: HttpSpec,
        url: str,
        secrets: Iterable[SecretStr] = (),
        *,
        clock: Clock | None = None,
        backend: Backend | None = None,
        permanent: Pattern[str] | None = None,
    ) -> None:
        """Open a client for the host of `url`.

        `permanent` matches error messages that make retries pointless, such as an exhausted daily quota.
        """
        self._spec, self._origin, self._secrets = spec, _origin(urlsplit(url)), Secrets(secrets)
        self._clock, self._permanent = clock or Clock(), permanent
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
        """Whether so many requests in a row failed that further ones should not be sent."""
        return self._failures >= _MAX_FAILURES

    def get(self, request: Request) -> Response:
        """Return the response to a request.

        Raises:
            SourceError: the request failed; the message is one line, names the request and contains no secret.
        """
        parts = urlsplit(request.url.get_secret_value())
        if _origin(parts) != self._origin or "@" in parts.netloc:
            given, allowed = f"{parts.scheme}://{parts.netloc}", "{}://{}:{}".format(*self._origin)
            raise SourceError(self._secrets.hide(f"{given} is not requested; feed.source.url allows only {allowed}"))
        self._deadline = self._backend.deadline = Deadline(self._clock, self._spec.deadline.total_seconds())
        self._failures += 1  # reset by a response
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, _Retry)),
            wait=self._wait,
            stop=self._stop,
            sleep=self._clock.sleep,
            retry_error_callback=_last,
        )
        try:
            outcome = retrying(self._once, request)
        except SourceError as error:
            raise SourceError(self._secrets.hide(f"{request.shown}: {error}")) from None
        if isinstance(outcome, _Retry):
            wait = f"; the provider asks to wait {outcome.after:,.0f} s" if outcome.after else ""
            attempts = retrying.statistics["attempt_number"]
            given_up = f"gave up after {attempts} attempt{'s' if attempts > 1 else ''}"
            raise SourceError(self._secrets.hide(f"{request.shown}: {outcome.problem}{wait}; {given_up}"))
        return outcome

    def _once(self, request: Request) -> Response | _Retry:
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
                raise SourceError(f"no complete response within {span} (feed.source.deadline)") from None
            if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args):
                raise SourceError(f"the certificate is not trusted, {error}") from None
            return _Retry(_describe(error))
        except (httpcore.LocalProtocolError, UnicodeEncodeError):  # their messages contain the header
            raise SourceError(
                "a header or the URL contains characters that HTTP cannot send; correct the secret"
            ) from None

    def _read(self, response: httpcore.Response) -> Response | _Retry:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        status, encoding = response.status, headers.get("content-encoding", "").strip().lower()
        if status < 500 and status not in (_BUSY | _DENIED):
            self._failures = 0
        if status in _SUCCESS:
            content = read_body(response.iter_stream(), encoding, self._spec.max_bytes)
            media_type = self._secrets.mask(headers.get("content-type", "")).partition(";")[0].strip().lower()
            return Response(self._secrets.hide_in(content), media_type)
        problem = phrase(status)
        if 300 <= status < 400:
            raise SourceError(f"{problem} to {headers.get('location', 'nowhere')[:200]!r}; redirects are not followed")
        reason = self._reason(response, encoding)
        problem = f"{problem}, {reason}" if reason else problem
        if self._permanent and self._permanent.search(reason):
            self._failures = _MAX_FAILURES
            raise SourceError(problem)
        if not (status in _BUSY or status >= 500):
            raise SourceError(problem)
        base = 15.0 if status == HTTPStatus.TOO_MANY_REQUESTS else 1.0
        return _Retry(problem, _seconds(headers.get("retry-after", ""), headers.get("date", "")), base)

    def _reason(self, response: httpcore.Response, encoding: str) -> str:
        try:
            return stated_reason(read_body(response.iter_stream(), encoding, _REASON_BYTES))
        except SourceError:  # the status is enough
            return ""

    def _wait(self, state: RetryCallState) -> float:
        retry = _last(state)
        if retry.after is not None:
            return retry.after + self._clock.jitter()
        longest: float = min(_MAX_WAIT, retry.base * 2.0 ** (state.attempt_number - 1))
        return longest * (0.5 + self._clock.jitter() / 2)

    def _stop(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._spec.attempts or state.upcoming_sleep >= self._deadline.left


def _last(state: RetryCallState) -> _Retry:
    assert state.outcome is not None  # noqa: S101 - tenacity calls this only after an attempt
    retry: _Retry = state.outcome.result()
    return retry


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    try:
        port = parts.port
    except ValueError:
        port = -1
    default = 443 if parts.scheme == "https" else 80
    return parts.scheme, (parts.hostname or ""), default if port is None else port


def _seconds(retry_after: str, date: str) -> float | None:
    """Return the wait in `Retry-After`; a date is relative to the provider's clock, not the local one."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError):
        return None
    return max(wait, 0.0)


def _describe(error: Exception) -> str:
    """Return a description of a connection failure."""
    if isinstance(error, httpcore.ConnectTimeout):
        return "timed out while connecting"
    if isinstance(error, httpcore.TimeoutException):
        return "timed out while waiting for the response"
    if isinstance(error, httpcore.ConnectError):
        return f"cannot connect, {error}"
    return f"the connection failed, {error}"
