"""What every source that asks over HTTP says in a product file: whom it may ask, and how much it will bear."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from pipeline.config.base import Duration
from pipeline.config.sources.base import SourceSpec


class HttpSpec(SourceSpec):
    """How a provider is asked. Only the host of the product's own address is ever asked, and redirects are refused."""

    insecure: bool = False
    """Allow http://, which anyone on the way can read and change; https:// is asked for otherwise."""
    private: bool = False
    """Allow addresses that are not on the public internet, for sensors in one's own network."""
    deadline: Duration = timedelta(minutes=2)
    """Longest time for one request with all its retries and waits."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 5
    """How often a request is tried when the provider is busy or the connection breaks."""
    max_bytes: Annotated[int, Field(ge=1, le=2**28)] = 2**24
    """Largest answer that is read, both as sent and after decompression."""

    @field_validator("deadline")
    @classmethod
    def _some_time(cls, deadline: timedelta) -> timedelta:
        if not deadline:
            raise ValueError("no time at all; write e.g. 2min")
        return deadline


def check_url(url: str, *, insecure: bool) -> str:
    """Return an address that may be asked.

    Raises:
        ValueError: it is no https:// address (nor, if `insecure`, an http:// one), or carries a user or a fragment.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isascii() or not url.isprintable() or any(c in url for c in " \\#"):
        raise ValueError(f"{url[:80]!r} is no address; write e.g. https://api.example.org/v1/data")
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise ValueError(f"{parts.scheme}:// is not encrypted; use https://, or say insecure: true")
    if "@" in parts.netloc:
        raise ValueError("it carries a user or a password; put a secret into headers or query")
    if any(c in parts.netloc for c in "{}"):
        raise ValueError(f"the host '{parts.netloc[:80]}' has a placeholder; write it out")
    return url
