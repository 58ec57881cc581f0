"""Building requests: filling in placeholders, hiding secrets, and paging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit
from zoneinfo import ZoneInfo

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from pydantic import SecretStr

from pipeline.config.sources.http_json import PLACEHOLDER, Cursor, HttpJsonSource, NextLink, Offset, PageNumber
from pipeline.errors import SourceError
from pipeline.ingest.sources.http import MASK, Request, Secrets
from pipeline.locations import Locations
from pipeline.times import EPOCH

_MILLISECOND = 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """A time range to request, for one location or all."""

    since: datetime
    until: datetime
    location: int | None = None
    """Position of the location in the feed; None if all are requested at once."""


class Requests:
    """The requests of a source."""

    def __init__(self, spec: HttpJsonSource, locations: Locations, secrets: Mapping[str, SecretStr]) -> None:
        self._spec, self._locations, self._secrets = spec, locations, secrets
        self._zone, self._hidden = ZoneInfo(spec.window_zone), Secrets(secrets.values())

    def first(self, ask: Ask) -> Request:
        """Return the request for the first page."""
        paging = self._spec.paging
        if isinstance(paging, PageNumber):
            return self._request(ask, {paging.parameter: str(paging.first)})
        if isinstance(paging, Offset):
            return self._request(ask, {paging.parameter: "0", paging.limit_parameter: str(paging.limit)})
        return self._request(ask, {})

    def next(self, ask: Ask, last: Request, document: Any, page: int, rows: int) -> Request | None:
        """Return the request for the page after `page` (counted from 0), which has `rows` rows; None after the last.

        Raises:
            SourceError: the link or cursor in the response is invalid.
        """
        paging = self._spec.paging
        if isinstance(paging, PageNumber):
            return self._request(ask, {paging.parameter: str(paging.first + page + 1)}) if rows else None
        if isinstance(paging, Offset):
            before = str((page + 1) * paging.limit)
            more = {paging.parameter: before, paging.limit_parameter: str(paging.limit)}
            return self._request(ask, more) if rows >= paging.limit else None
        if isinstance(paging, Cursor):
            cursor = _text(paging.cursor, document)
            return self._request(ask, {paging.parameter: cursor}) if cursor else None
        if isinstance(paging, NextLink):
            link = _text(paging.link, document)
            return self._follow(ask, last, link) if link else None
        return None

    def _request(self, ask: Ask, more: Mapping[str, str]) -> Request:
        query_texts = self._spec.query

        def address(secret: Callable[[str], str]) -> str:
            base = self._fill(self._spec.url, ask, secret, self._in_path)
            query = {name: self._fill(text, ask, secret) for name, text in query_texts.items()}
            return _with(base, {**query, **more})

        return Request(address(lambda name: MASK), SecretStr(address(self._reveal)), self._headers(ask))

    def _follow(self, ask: Ask, last: Request, link: str) -> Request:
        """Return the request for a link in a response, with the secrets of the query added if the link lacks them."""
        try:
            parts = urlsplit(urljoin(last.url.get_secret_value(), link))
        except ValueError:
            raise SourceError(f"the link to the next page, {link[:80]!r}, is not a valid URL") from None
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        secret = {name: text for name, text in self._spec.query.items() if "{secret:" in text}
        bare = urlencode({name: text for name, text in given.items() if name not in secret}, quote_via=quote)
        base = parts._replace(query=bare, fragment="").geturl()
        hidden = {name: self._fill(text, ask, lambda name: MASK) for name, text in secret.items()}
        revealed = {name: self._fill(text, ask, self._reveal) for name, text in secret.items()}
        return Request(self._hidden.mask(_with(base, hidden)), SecretStr(_with(base, revealed)), self._headers(ask))

    def _headers(self, ask: Ask) -> dict[str, SecretStr]:
        filled = {name: self._fill(text, ask, self._reveal) for name, text in self._spec.headers.items()}
        return {name: SecretStr(text) for name, text in filled.items()}

    def _fill(
        self,
        text: str,
        ask: Ask,
        secret: Callable[[str], str],
        encode: Callable[[str, str], str] = lambda name, value: value,
    ) -> str:
        """Return text with its placeholders filled in; `encode` encodes a value, given the name of its placeholder."""

        def value(placeholder: str) -> str:
            name, _, form = placeholder.partition(":")
            if name == "secret":
                return secret(form)
            if name in ("since", "until"):
                return encode(name, self._instant(ask.since if name == "since" else ask.until, form))
            at = ask.location or 0
            if name == "location":
                return encode(name, self._locations.ids[at])
            angles = self._locations.latitude if name == "latitude" else self._locations.longitude
            return encode(name, f"{angles[at]:.5f}")

        return PLACEHOLDER.sub(lambda match: value(match[1]), text)

    def _instant(self, instant: datetime, form: str) -> str:
        if form in ("s", "ms"):
            seconds = (instant - EPOCH).total_seconds()
            return str(int(seconds * (_MILLISECOND if form == "ms" else 1)))
        if not form:
            return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
        return instant.astimezone(self._zone).strftime(form)

    def _in_path(self, name: str, value: str) -> str:
        if value in (".", ".."):
            raise SourceError(f"{self._spec.url}: the location id {value!r} cannot be part of a URL path")
        return quote(value, safe="/:" if name in ("since", "until") else "")

    def _reveal(self, name: str) -> str:
        return self._secrets[name].get_secret_value()


def _with(url: str, query: Mapping[str, str]) -> str:
    """Return a URL with further query parameters, which replace those of the same name."""
    parts = urlsplit(url)
    own = [(name, text) for name, text in parse_qsl(parts.query, keep_blank_values=True) if name not in query]
    pairs = [*own, *query.items()]
    return parts._replace(query=urlencode(pairs, quote_via=quote, safe="*:,/")).geturl()


def _text(expression: str, document: Any) -> str:
    """Return the link or cursor in a response as text; empty if there is none.

    Raises:
        SourceError: it is neither text nor a number.
    """
    try:
        found = jmespath.search(expression, document)
    except JMESPathError as error:
        problem = " ".join(str(error).split())[:200]
        raise SourceError(f"'{expression}' cannot be applied to the response, {problem}") from None
    if found is None or found is False:
        return ""
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise SourceError(f"'{expression}' gives {str(found)[:80]!r} for the next page, which is not text")
    return str(found)
