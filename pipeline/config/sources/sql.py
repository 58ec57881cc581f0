"""The `sql` source in a product file: which database, which query, and how its answer is read."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field

from pipeline.config.base import Duration, Strict
from pipeline.config.sources.base import SourceSpec, TimeLabel
from pipeline.config.sources.timestamps import TimeStamps

_BOUND = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")  # as SQLAlchemy finds them
_BOUNDS = ("since", "until")


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
        given = parts.password or any("pass" in name.lower() for name, _ in parse_qsl(parts.query))
    except ValueError:
        raise ValueError("it is no URL; write e.g. postgresql+psycopg://reader@host/database") from None
    if given:
        raise ValueError("it holds a password; keep that as a secret and name the secret in password")
    if not parts.scheme or "://" not in url:
        raise ValueError("it is no URL; write e.g. postgresql+psycopg://reader@host/database")
    return url


def _with_bounds(query: str) -> str:
    found = set(_BOUND.findall(query))
    for name in _BOUNDS:
        if name not in found:
            raise ValueError(f"it lacks ':{name}'; bound it in time: where time >= :since and time < :until")
    if others := sorted(found - set(_BOUNDS)):
        raise ValueError(f"nothing is known of ':{others[0]}'; use :since and :until, and write \\: for a plain colon")
    return query


def _positive(span: timedelta) -> timedelta:
    if span < timedelta(seconds=1):
        raise ValueError(f"{span.total_seconds():g} s is too short; use e.g. 60s, 6h, 30d")
    return span


Positive = Annotated[Duration, AfterValidator(_positive)]


class SqlSource(SourceSpec, Strict):
    """A database that SQLAlchemy knows, asked by a query, in a transaction that cannot write where the database can say
    so (PostgreSQL, SQLite)."""

    kind: Literal["sql"]
    url: Annotated[str, AfterValidator(_without_password)]
    """SQLAlchemy URL without a password, e.g. postgresql+psycopg://reader@host/database; sqlite:///observations.db is
    the file beside the product file."""
    password: str = ""
    """Name of the secret that holds the password; empty where none is needed."""
    query: Annotated[str, AfterValidator(_with_bounds)]
    """One SELECT, bound in time by :since and :until: ``where time >= :since and time < :until``. They are given as the
    time columns are written: as timestamps, or in the codes of time.format. SQLite has no timestamps: there, and where
    a stamp is spread over several columns, whole days of time.zone are asked for, on SQLite as 2024-01-31."""
    chunk: Positive = timedelta(days=30)
    """Time asked at once; the answer is one payload."""
    timeout: Positive = timedelta(minutes=5)
    """Longest time that connecting, or a statement, may take (PostgreSQL, SQLite)."""
    max_rows: Annotated[int, Field(ge=1)] = 5_000_000
    """Most rows of one payload."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: a row per time and location, a column per variable. wide: a column per location, one variable. tidy: a row
    per time, location and variable."""
    time: TimeStamps = TimeStamps()
    location: str | None = "location"
    """Column with the location id, in a long or tidy layout; null where the feed has one station and no such column."""
    variable: str = "variable"
    """Column that names the variable, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    known_at: str = ""
    """Column that says when a row was published, in time.zone where it carries no offset; empty: rows became known as
    the feed says. For covariates it must be there."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide answer that are no locations."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that mean no value; a number, such as -9999, also where the column holds numbers."""

    @property
    def decimal(self) -> Literal[".", ","]:
        """Decimal mark of numbers that are kept as text."""
        return "."

    @property
    def time_label(self) -> TimeLabel:
        """Which end of its period a stamp marks."""
        return self.time.label
