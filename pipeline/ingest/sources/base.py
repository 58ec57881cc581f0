"""What every source promises: payloads as the provider sent them, and their decoding into rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.errors import ConfigError, SourceError
from pipeline.store.raw import Payload

__all__ = ["REFUSED_SCHEMA", "TIME", "About", "Decoded", "Payload", "Source", "refused_table", "row_schema", "secret"]

TIME = pa.timestamp("us", tz="UTC")
REFUSED_SCHEMA = pa.schema(
    [
        ("valid_time", TIME),
        ("location", pa.string()),
        ("values", pa.string()),  # JSON object of what was given
        ("reason", pa.string()),
    ]
)
"""Columns of refused rows; valid_time and location are null where they could not be read."""


@dataclass(frozen=True, slots=True)
class About:
    """What a source declares of itself."""

    windowed: bool = False
    """Whether the provider is asked by time; if not, what time a payload covers is known once it is decoded."""
    delay: timedelta | None = None
    """Usual publication delay, where the provider states one."""
    archive: timedelta | None = None
    """How far back the provider can be asked; None where that is not limited or not known."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit delivered, by variable of the feed, where the provider states it."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets it needs: NIGHTCAST_SECRETS__NAME."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a payload says: rows of `row_schema` in payload order, and rows of `REFUSED_SCHEMA`."""

    rows: pa.Table
    refused: pa.Table
    thinned: int = 0
    """Rows left out because another one stands for the same step, as the product file asks."""
    notes: tuple[str, ...] = ()
    """What was odd about the payload as a whole and was put right, a sentence each."""


class Source(Protocol):
    """A provider of observations, opened for one feed."""

    @property
    def about(self) -> About:
        """What the source declares of itself."""
        ...

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the payloads in a fixed order, one in memory at a time.

        `since` and `until` bound the valid times of interest, both included, for a windowed source; None is open.
        `at` is the instant of the fetch. One that cannot be had is yielded as an error, and the next ones follow.

        Raises:
            SourceError: the provider cannot be reached at all.
        """
        ...

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a payload: valid_time in UTC, values in the unit of the stores.

        It rests on the payload, its context and the feed alone, so that it can be repeated years later.

        Raises:
            SourceError: the payload cannot be read.
            NoDataError: the payload is empty.
            ContractError: its columns are not those of the product.
        """
        ...


def row_schema(feed: Feed, *, known: bool = False) -> pa.Schema:
    """Return the columns of decoded rows: valid_time in UTC, location, each variable in its store unit.

    With `known`, each row also says when it became known, in UTC, as rows of covariates always do.
    """
    instant = [("known_at", TIME)] if known or feed.is_covariate else []
    variables = [(name, pa.float64()) for name in feed.variables]
    return pa.schema([("valid_time", TIME), ("location", pa.string()), *instant, *variables])


def refused_table(rows: Iterable[tuple[np.datetime64 | None, str | None, str, str]]) -> pa.Table:
    """Return (valid_time, location, values, reason) tuples as a table; NaT and None become null."""
    times, *texts = list(zip(*rows, strict=True)) or [()] * len(REFUSED_SCHEMA)
    nat = np.datetime64("NaT")
    stamps = np.array([nat if time is None else time for time in times], dtype="datetime64[us]")
    columns = [pa.array(stamps, TIME), *(pa.array(text, pa.string()) for text in texts)]
    return pa.table(columns, schema=REFUSED_SCHEMA)


def secret(secrets: Mapping[str, SecretStr], name: str, feed: Feed) -> str:
    """Return the value of a secret that the feed's source needs.

    Raises:
        ConfigError: it is not set.
    """
    if name.lower() not in secrets:
        variable = f"NIGHTCAST_SECRETS__{name.upper()}"
        raise ConfigError(feed.title, "feed.source", f"the secret '{name}' is not set", f"set {variable}")
    return secrets[name.lower()].get_secret_value()
