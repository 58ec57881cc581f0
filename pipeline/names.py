"""Names that are safe in a path, a URL, a registry and a page, and time zones that exist."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_RESERVED = {"con", "prn", "aux", "nul", "latest"}


def check_name(name: str) -> str:
    """Return the name when it is safe everywhere.

    Raises:
        ValueError: it is not 1 to 63 lower-case letters, digits, dashes or underscores after a letter, or is reserved.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise ValueError(
            f"{name[:80]!r} is no name; use lower-case letters, digits, - and _, at most 63, a letter first"
        )
    return name


def check_zone(zone: str) -> str:
    """Return the name of a time zone that exists.

    Raises:
        ValueError: the zone is not in the IANA database.
    """
    if zone not in available_timezones():
        raise ValueError(f"{zone!r} is no time zone; use an IANA name, e.g. UTC or Europe/Dublin")
    return zone
