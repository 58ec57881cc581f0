"""The bitemporal observations: what was observed, and when it became known. Rows are added, never changed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import Product, Settings
from pipeline.errors import ConfigError
from pipeline.store.layout import Layout
from pipeline.store.table import Table
from pipeline.times import as_datetime, month_of

TIME = pa.timestamp("us", tz="UTC")
KEY = ["valid_time", "location"]


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did: rows with a new key, rows that changed a known value, rows that said nothing new."""

    accepted: int
    revised: int
    unchanged: int


class Observations:
    """All revisions of all rows of one feed.

    A revision is a row of its own with a later known_at. When a value became known follows one rule:

    * in the first ingest, and in one told to load history, a key from before the store existed is history:
      ``valid_time + delay``;
    * any other new key, and any changed value, became known at the ingest that brought it;
    * an archive (``clock: record``) is all history, and a correction takes effect right after what it corrects.
    """

    def __init__(
        self,
        path: Path,
        variables: tuple[str, ...],
        *,
        delay: timedelta,
        clock: Literal["wall", "record"],
        units: tuple[str, ...] = (),
    ) -> None:
        self.variables, self.delay, self.clock = variables, delay, clock
        self.units = json.dumps(dict(zip(variables, units, strict=False)))
        fields = [("valid_time", TIME), ("location", pa.string()), ("known_at", TIME)]
        fields += [(name, pa.float64()) for name in variables]
        fields += [("payload", pa.string()), ("month", pa.string())]
        self.table = Table(path, pa.schema(fields), "month")

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Observations:
        """Return the observations of a product's feed."""
        feed = product.feed
        path = Layout.of(product, settings).observations
        units = tuple(feed.variable(name)[0] for name in feed.variables)
        return cls(path, tuple(feed.variables), delay=feed.delay, clock=feed.clock, units=units)

    def append(self, rows: pa.Table, *, at: datetime, payload: str, history: bool = False) -> Appended:
        """Add what is new in `rows` (valid_time, location, variables; unique keys) as learnt at `at`.

        A cell without a value says nothing: what was known of it stays. With `history`, keys from before the store
        existed count as known since their time, however late they are loaded.

        Raises:
            StoreError: the table cannot be written.
            ConfigError: the table keeps other variables or other units.
        """
        if rows.num_rows == 0:
            return Appended(0, 0, 0)
        self.table.create({"live_since": at.isoformat(), "units": self.units})
        self._require_units()
        live_since = datetime.fromisoformat(self.table.property("live_since") or at.isoformat())
        given = rows.to_pandas()
        months = sorted(set(month_of(given["valid_time"].dt.tz_localize(None).to_numpy())))
        counts = Appended(0, 0, 0)

        def choose(present: pa.Table) -> pa.Table:
            nonlocal counts
            merged = given.merge(_latest(present.to_pandas()), how="left", on=KEY, suffixes=("", "_was"))
            new = merged["known_at"].isna().to_numpy()
            for name in self.variables:
                merged[name] = merged[name].where(merged[name].notna(), merged[f"{name}_was"])
            same = np.logical_and.reduce([_equal(merged[name], merged[f"{name}_was"]) for name in self.variables])
            counts = Appended(int(new.sum()), int((~new & ~same).sum()), int((~new & same).sum()))
            nominal_until = live_since if history or at == live_since else None
            merged["known_at"] = self._known_at(merged, new, at, nominal_until)
            return self._rows(merged[new | ~same], payload)

        self.table.append(choose, where=pc.field("month").isin(months))
        return counts

    def read(
        self,
        *,
        known_by: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """Return every revision known by an instant, with valid time in [since, until], by time, place, known_at."""
        where = pc.scalar(True)
        if known_by is not None:
            where &= pc.field("known_at") <= pa.scalar(known_by, TIME)
        if since is not None:
            where &= pc.field("valid_time") >= pa.scalar(since, TIME)
            where &= pc.field("month") >= _month(since)
        if until is not None:
            where &= pc.field("valid_time") <= pa.scalar(until, TIME)
            where &= pc.field("month") <= _month(until)
        self._require_units()
        rows = self.table.read(where)
        return rows.sort_by([(name, "ascending") for name in (*KEY, "known_at")])

    def newest(self) -> datetime | None:
        """Return the newest valid time, or None for an empty store."""
        times = self.table.read(columns=["valid_time"])["valid_time"]
        return as_datetime(np.datetime64(pc.max(times).value, "us")) if len(times) else None

    def _require_units(self) -> None:
        """Refuse a feed whose variables or units are not those that the table was made with."""
        kept = self.table.property("units")
        if kept not in (None, "{}", self.units) and self.units != "{}":
            raise ConfigError(
                str(self.table.path),
                "",
                f"the store keeps {kept}, the product says {self.units}",
                "give the product another name, or this home another place, and ingest anew",
            )

    def _known_at(self, merged: pd.DataFrame, new: np.ndarray, at: datetime, until: datetime | None) -> pd.Series:
        nominal = merged["valid_time"] + self.delay
        after = merged["known_at"] + pd.Timedelta(1, "us")
        learnt = pd.Series(pd.Timestamp(at.astimezone(UTC)), index=merged.index)
        if self.clock == "record":
            return nominal.where(new, after)
        first = learnt if until is None else nominal.where(nominal <= pd.Timestamp(until), learnt)
        return first.where(new, learnt.where(learnt > merged["known_at"], after))

    def _rows(self, frame: pd.DataFrame, payload: str) -> pa.Table:
        frame = frame.sort_values(KEY).assign(payload=payload)
        frame["month"] = month_of(frame["valid_time"].dt.tz_localize(None).to_numpy())
        for name in ("valid_time", "known_at"):  # pyarrow reads zoned series in a way that pandas is giving up
            frame[name] = frame[name].dt.tz_localize(None)
        columns = [pa.array(frame[field.name].to_numpy(), field.type, from_pandas=True) for field in self.table.schema]
        return pa.Table.from_arrays(columns, schema=self.table.schema)


def _month(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m}"


def _latest(revisions: pd.DataFrame) -> pd.DataFrame:
    newest = revisions.sort_values("known_at", kind="stable").drop_duplicates(KEY, keep="last")
    return newest.drop(columns=["payload", "month"])


def _equal(one: pd.Series, other: pd.Series) -> np.ndarray:
    return ((one == other) | (one.isna() & other.isna())).to_numpy()
