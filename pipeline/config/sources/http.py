"""The fields that all HTTP sources share: which addresses may be requested, and the limits on a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from pipeline.config.base import Duration
from pipeline.config.sources.base import SourceSpec
from pipeline.errors import InvalidValueError


class HttpSpec(SourceSpec):
    """A source that is requested over HTTP. Requests go only to the host named in the product file, and redirects are
    refused."""

    insecure: bool = False
    """Allow unencrypted http:// addresses. Otherwise https:// is required."""
    private: bool = False
    """Allow addresses outside the public internet, for sensors in your own network."""
    deadline: Duration = timedelta(minutes=2)
    """Time limit of a request, including all retries and waits."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 5
    """Maximum number of attempts when the provider is busy or the connection fails."""
    max_bytes: Annotated[int, Field(ge=1, le=2**28)] = 2**24
    """Size limit of a response in bytes, before and after decompression."""

    @field_validator("deadline")
    @classmethod
    def _check_deadline(cls, deadline: timedelta) -> timedelta:
        if not deadline:
            raise InvalidValueError("must be longer than 0s", "write e.g. 2min")
        return deadline


def check_url(url: str, *, insecure: bool) -> str:
    """Return a URL that may be requested.

    Raises:
        InvalidValueError: it is not an https:// URL (or, if `insecure`, an http:// one), or it contains a user name,
            a password or a fragment.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isascii() or not url.isprintable() or any(c in url for c in " \\#"):
        raise InvalidValueError(f"{url[:80]!r} is not a valid URL", "write e.g. https://api.example.org/v1/data")
    if parts.scheme != "https" and not (insecure and parts.scheme == "http"):
        raise InvalidValueError(f"{parts.scheme}:// is not encrypted", "use https://, or set insecure: true")
    if "@" in parts.netloc:
        raise InvalidValueError("contains a user name or password", "put secrets into headers or query")
    if any(c in parts.netloc for c in "{}"):
        raise InvalidValueError(f"the host '{parts.netloc[:80]}' contains a placeholder", "write the host out")
    return url
