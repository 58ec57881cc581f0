"""Validation of names and time zones."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

from pipeline.errors import InvalidValueError

_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_RESERVED = {"con", "prn", "aux", "nul", "latest"}


def check_name(name: str) -> str:
    """Return the name if it is safe in paths, URLs, registries and HTML.

    Raises:
        InvalidValueError: the name is reserved, or is not a lower-case letter followed by up to 62 lower-case letters,
            digits, dashes or underscores.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise InvalidValueError(
            f"{name[:80]!r} is not a valid name",
            "use a lower-case letter, then lower-case letters, digits, - and _, at most 63 characters",
        )
    return name


def check_zone(zone: str) -> str:
    """Return the name of a time zone if the IANA database has it.

    Raises:
        InvalidValueError: the database does not have it.
    """
    if zone not in available_timezones():
        raise InvalidValueError(f"{zone!r} is not a time zone", "use an IANA name, e.g. UTC or Europe/Dublin")
    return zone
