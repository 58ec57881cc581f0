"""Requests and responses, and how to show both without revealing a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote, quote_plus

import orjson
from pydantic import SecretStr

MASK = "***"
_LONG = 8
_LONGEST_REASON = 300
_REASONS = ("reason", "message", "detail", "error_description", "title", "error")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a provider. Its repr contains no secret."""

    shown: str
    """URL for messages, with each secret replaced by ***."""
    url: SecretStr
    """URL as sent."""
    headers: Mapping[str, SecretStr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response."""

    content: bytes
    """Decompressed body, with each secret in it replaced by ***."""
    media_type: str
    """Lower case, without parameters, e.g. application/json; empty if the provider does not state it."""


class Secrets:
    """Values that must not be shown: as they are, URL-encoded, and escaped in JSON."""

    def __init__(self, values: Iterable[SecretStr]) -> None:
        plain = {value.get_secret_value() for value in values} - {""}
        encoded = {encoding for value in plain for encoding in _encodings(value)}
        self._values = sorted(encoded, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return text with secrets replaced by ***."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def hide(self, text: str) -> str:
        """Return foreign text as one printable line without secrets."""
        text = self.mask(text)
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())

    def hide_in(self, content: bytes) -> bytes:
        """Return content with secrets replaced, except short ones, which could occur in the data by chance."""
        for value in self._values:
            if len(value) >= _LONG:
                content = content.replace(value.encode(), MASK.encode())
        return content


def _encodings(value: str) -> tuple[str, ...]:
    in_json = orjson.dumps(value).decode()[1:-1]
    return value, quote(value, safe=""), quote_plus(value), in_json, in_json.replace("/", "\\/")


def phrase(status: int) -> str:
    """Return a status with its reason phrase, e.g. 404 Not Found."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def stated_reason(content: bytes) -> str:
    """Return the error message in the JSON body of an error response, shortened; empty if there is none."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(body, dict):
        return ""
    return next((body[name][:_LONGEST_REASON] for name in _REASONS if isinstance(body.get(name), str)), "")
