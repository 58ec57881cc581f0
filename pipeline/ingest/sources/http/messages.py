"""What is asked, what is answered, and how both are told to people without telling a secret."""

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
    """What is asked of a provider. Its text form holds no secret."""

    shown: str
    """The address for people, each secret in it replaced by ***."""
    url: SecretStr
    """The address as it is sent."""
    headers: Mapping[str, SecretStr] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered with success."""

    content: bytes
    """Decompressed; a secret that the provider repeats in it is replaced by ***."""
    media_type: str
    """In lower case and without parameters, e.g. application/json; empty where none is said."""


class Secrets:
    """The values that must not be told, as they are and as they stand in an address or in JSON."""

    def __init__(self, values: Iterable[SecretStr]) -> None:
        plain = {value.get_secret_value() for value in values} - {""}
        spelt = {spelling for value in plain for spelling in _spellings(value)}
        self._values = sorted(spelt, key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return text with secrets replaced by ***."""
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def hide(self, text: str) -> str:
        """Return text of others as one printable line without secrets."""
        text = self.mask(text)
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())

    def hide_in(self, content: bytes) -> bytes:
        """Return content with secrets replaced; those too short to be told from data stay."""
        for value in self._values:
            if len(value) >= _LONG:
                content = content.replace(value.encode(), MASK.encode())
        return content


def _spellings(value: str) -> tuple[str, ...]:
    in_json = orjson.dumps(value).decode()[1:-1]
    return value, quote(value, safe=""), quote_plus(value), in_json, in_json.replace("/", "\\/")


def phrase(status: int) -> str:
    """Return a status with its name, e.g. 404 Not Found."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def stated_reason(content: bytes) -> str:
    """Return what the JSON body of a refusal says in words, or how that begins; empty where it says nothing."""
    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(said, dict):
        return ""
    return next((said[name][:_LONGEST_REASON] for name in _REASONS if isinstance(said.get(name), str)), "")
