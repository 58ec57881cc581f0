"""The interface of a source: fetch payloads as the provider sent them, and decode them into rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from expectations.reasons import Reason, explain, to_json
from pipeline.config import Feed
from pipeline.errors import ConfigError, SourceError
from pipeline.store.observations import TIME
from pipeline.store.raw import Payload

__all__ = [
    "REFUSED_SCHEMA",
    "TIME",
    "About",
    "Decoded",
    "Payload",
    "RefusedRow",
    "Source",
    "refused_table",
    "row_schema",
    "secret",
]

REFUSED_SCHEMA = pa.schema(
    [
        ("valid_time", TIME),
        ("location", pa.string()),
        ("values", pa.string()),  # JSON object of the original cells
        ("reason", pa.string()),
        ("reasons", pa.string()),  # JSON list of `Reason`
    ]
)
"""Columns of refused rows; valid_time and location are null where they could not be read."""
RefusedRow = tuple[np.datetime64 | None, str | None, str, Sequence[Reason]]
"""Valid time, location, the given values as JSON, and why the row is refused."""


@dataclass(frozen=True, slots=True)
class About:
    """Properties of an opened source."""

    supports_time_range: bool = False
    """Whether requests contain a time range; if not, the times in a payload are known only after decoding."""
    delay: timedelta | None = None
    """Usual publication delay; None if the provider does not state it."""
    archive: timedelta | None = None
    """How far back the provider keeps data; None if unlimited or unknown."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Units delivered by variable of the feed, as far as the provider states them."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that the source needs: NIGHTCAST_SECRETS__NAME."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The content of a payload: rows in `row_schema`, in payload order, and refused rows in `REFUSED_SCHEMA`."""

    rows: pa.Table
    refused: pa.Table
    downsampled: int = 0
    """Number of rows left out by resampling to the time step."""
    notes: tuple[str, ...] = ()
    """Irregularities of the whole payload that were corrected, one sentence each."""


class Source(Protocol):
    """A provider of observations, opened for one feed."""

    @property
    def about(self) -> About:
        """Properties of the source."""
        ...

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the payloads in a fixed order, one in memory at a time.

        `since` and `until` limit the valid times, both inclusive, if the source is requested by time range; None means
        no limit. `at` is the time of the fetch. A payload that cannot be fetched is yielded as an error, and the
        remaining payloads follow.

        Raises:
            SourceError: the provider cannot be reached at all.
        """
        ...

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a payload: valid_time in UTC, values in the units of the store.

        The result depends only on the payload, its context and the feed, so decoding can be repeated years later.

        Raises:
            SourceError: the payload cannot be read.
            NoDataError: the payload is empty.
            ContractError: its columns do not match the product.
        """
        ...


def row_schema(feed: Feed, *, known: bool = False) -> pa.Schema:
    """Return the columns of decoded rows: valid_time in UTC, location, and each variable in its store unit.

    With `known`, and always for covariates, there is also a column known_at in UTC.
    """
    instant = [("known_at", TIME)] if known or feed.is_covariate else []
    variables = [(name, pa.float64()) for name in feed.variables]
    return pa.schema([("valid_time", TIME), ("location", pa.string()), *instant, *variables])


def refused_table(rows: Iterable[RefusedRow]) -> pa.Table:
    """Return refused rows as a table of `REFUSED_SCHEMA`; NaT and None become null."""
    times, locations, values, reasons = list(zip(*rows, strict=True)) or [()] * 4
    nat = np.datetime64("NaT")
    stamps = np.array([nat if time is None else time for time in times], dtype="datetime64[us]")
    texts = [locations, values, map(explain, reasons), map(to_json, reasons)]
    return pa.table([pa.array(stamps, TIME), *(pa.array(text, pa.string()) for text in texts)], schema=REFUSED_SCHEMA)


def secret(secrets: Mapping[str, SecretStr], name: str, feed: Feed) -> str:
    """Return the value of a secret.

    Raises:
        ConfigError: the secret is not set.
    """
    if name.lower() not in secrets:
        variable = f"NIGHTCAST_SECRETS__{name.upper()}"
        raise ConfigError(feed.title, "feed.source", f"the secret '{name}' is not set", f"set {variable}")
    return secrets[name.lower()].get_secret_value()
