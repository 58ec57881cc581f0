"""The observations of one feed, bitemporal and append-only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, ContractError
from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore, open_store
from pipeline.store.observations.content_digest import digest_tables
from pipeline.store.observations.conversion import (
    ASSERTED_AT,
    has_asserted_at,
    received_to_statements,
    statements_to_rows,
    stored_to_revisions,
    stored_to_statements,
)
from pipeline.store.observations.keys import TIME, Keys
from pipeline.store.observations.merge import MergeResult, merge_archive, merge_undated
from pipeline.store.observations.merge_live import merge_live
from pipeline.store.observations.partitions import (
    count_by_month,
    group_months,
    in_months,
    month_name,
    split_statements,
    to_microseconds,
    to_scalar,
)
from pipeline.store.observations.statements import Statements
from pipeline.times import as_datetime

__all__ = ["TIME", "AppendResult", "Observations"]

_MAX_LOCATIONS_IN_FILTER = 1000
_UNITS = b"units"


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Number of appended rows by effect: with a new key, with a changed or filled value, with nothing new."""

    added: int
    revised: int
    unchanged: int


class Observations:
    """All observations of one feed. Reads return revisions: one row for each change of what is known about a key.

    Rows without `known_at` became known as follows:

    * In the first ingest, and in one that loads history, a value from before the store existed is history: it became
      known at ``valid_time + delay``.
    * Any other new or changed value became known at the ingest that brought it.
    * In an archive (``mode: archive``) all values are history, and a correction takes effect right after the value that
      it corrects.

    In rows with `known_at`, that is when the source asserted them. In an archive they became known then, in whatever
    order they arrive. In a live feed (``mode: live``) this holds only for rows that were asserted by the time the
    store was created and that arrive in the first ingest or with history. All others became known at the later of
    assertion and ingest. Of values that become known at one instant, the one asserted last counts, and a value asserted
    before one that is already known adds nothing. A value that contradicts a stored one asserted at the same instant
    became known at the ingest that brought it; within one payload it takes effect right after the value that it
    corrects.

    On disk there are statements, in which a missing value says nothing about its variable. A variable that is added to
    the feed becomes a new column, and one that is removed keeps its column. Where a live row became known later than it
    was asserted, a column tells when it was asserted.
    """

    def __init__(
        self,
        store: ObjectStore | Path,
        variables: tuple[str, ...],
        *,
        delay: timedelta,
        mode: Literal["live", "archive"],
        units: tuple[str, ...] = (),
    ) -> None:
        self.variables, self.delay, self.mode = variables, delay, mode
        self.units = dict(zip(variables, units, strict=False))
        values = [
            pa.field(name, pa.float64(), metadata={_UNITS: self.units[name]} if name in self.units else None)
            for name in variables
        ]
        schema = [
            ("valid_time", TIME),
            ("location", pa.string()),
            ("known_at", TIME),
            *values,
            *([(ASSERTED_AT, TIME)] if mode == "live" else []),
            ("payload", pa.string()),
            ("month", pa.string()),
        ]
        self.table = Table(store if isinstance(store, ObjectStore) else open_store(store), pa.schema(schema), "month")
        self._columns = ["valid_time", "location", "known_at", *variables]

    def append(
        self,
        rows: pa.Table,
        *,
        at: datetime,
        payload: str,
        history: bool = False,
        only_missing: bool = False,
    ) -> AppendResult:
        """Add the statements that are new in `rows`, received at `at`; all of them or none.

        Columns are valid_time, location and the variables, and optionally known_at. Without known_at there must be one
        row per key. A missing value leaves what was known unchanged. With `history`, values from before the store
        existed count as known since they were due. With `only_missing`, a value is added only where the table has none
        of its key, and of its known_at where rows have it: nothing stored is overridden. Memory grows with the given
        rows and the largest month, not with the size of the table.

        Raises:
            StoreError: the table cannot be written.
            ConfigError: the table has a variable in another unit.
            ContractError: a row has no key, or two rows have the same.
        """
        if rows.num_rows == 0:
            return AppendResult(0, 0, 0)
        self._prepare_table(at)
        live_since = datetime.fromisoformat(self.table.property("live_since") or at.isoformat())
        history_until = to_microseconds(live_since) if history or at == live_since else None
        dated = "known_at" in rows.column_names
        try:
            given, keys = received_to_statements(rows, self.variables, self.delay)
        except ContractError as error:
            raise ContractError(f"{self.table.uri}: {error}") from error
        results: list[MergeResult] = []

        def choose(_: pa.Table) -> pa.Table:
            self._check_units()
            snapshot = self.table.versions.newest()
            parts = split_statements(given, keys, count_by_month(snapshot) if snapshot else {})
            results[:] = [
                self._merge(
                    part, self._read_stored(part, keys), at, history_until, dated=dated, only_missing=only_missing
                )
                for part in parts
            ]
            schema = self.table.schema
            tables = [statements_to_rows(one.statements, keys, self.variables, payload, schema) for one in results]
            return pa.concat_tables(tables)

        # `choose` itself reads what is stored, part by part. If another writer commits in between, it is called again.
        self.table.append(choose, where=pc.scalar(False))
        return AppendResult(
            sum(one.added for one in results),
            sum(one.revised for one in results),
            sum(one.unchanged for one in results),
        )

    def stored_keys(self, since: datetime, until: datetime) -> pa.Table:
        """Return valid_time, location and known_at, as asserted by the source, of all statements in a time range."""
        self._check_units()
        asserted_at = [ASSERTED_AT] if has_asserted_at(self.table.schema) else []
        where = (pc.field("valid_time") >= pa.scalar(since, TIME)) & (pc.field("valid_time") <= pa.scalar(until, TIME))
        where &= in_months(month_name(to_microseconds(since)), month_name(to_microseconds(until)))
        rows = self.table.read(where, ["valid_time", "location", "known_at", *asserted_at])
        known_at = pc.coalesce(rows[asserted_at[0]], rows["known_at"]) if asserted_at else rows["known_at"]
        return rows.select(["valid_time", "location"]).append_column("known_at", known_at)

    def read(
        self,
        *,
        known_by: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """Return all revisions known by an instant with valid_time in [since, until], by time, location and known_at.

        Columns are valid_time, location, known_at and the variables. A value is what was known at known_at.
        """
        tables = list(self.scan(known_by=known_by, since=since, until=until))
        return pa.concat_tables(tables) if tables else self.table.schema.empty_table().select(self._columns)

    def scan(
        self,
        *,
        known_by: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the rows of `read` in groups of months, oldest first, all from one version of the table."""
        self._check_units()
        snapshot = self.table.versions.newest()
        if snapshot is None:
            return
        where = pc.scalar(True)
        if known_by is not None:
            where &= pc.field("known_at") <= pa.scalar(known_by, TIME)
        if since is not None:
            where &= pc.field("valid_time") >= pa.scalar(since, TIME)
        if until is not None:
            where &= pc.field("valid_time") <= pa.scalar(until, TIME)
        schema = pa.schema([self.table.schema.field(name) for name in self._columns])
        for months in group_months(count_by_month(snapshot), since, until):
            rows = snapshot.scan.read(where & in_months(*months), self._columns, self.table.schema).cast(schema)
            if rows.num_rows:
                yield stored_to_revisions(rows, self.variables)

    def newest(self) -> datetime | None:
        """Return the newest valid time, or None for an empty store. It is read from the log where the log has it."""
        snapshot = self.table.versions.newest()
        if snapshot is None or not snapshot.scan.files:
            return None
        month = max(count_by_month(snapshot))
        by_file = snapshot.scan.max_values("valid_time")
        maxima = [by_file[file.name] for file in snapshot.scan.files if file.partition == month]
        if None not in maxima:
            return as_datetime(np.datetime64(max(pa.scalar(one, TIME).value for one in maxima), "us"))
        times = snapshot.scan.read(pc.field("month") == month, ["valid_time"], self.table.schema)["valid_time"]
        return as_datetime(np.datetime64(pc.max(times).value, "us"))

    def count(self) -> int:
        """Return the number of statements on disk. No data file is read."""
        snapshot = self.table.versions.newest()
        return sum(count_by_month(snapshot).values()) if snapshot else 0

    def digest(self) -> str:
        """Return the SHA-256 of everything that `read` returns.

        Where the time of ingest has no effect (in an archive, in history, for rows with known_at), payloads that agree
        give the same digest in any order and however they are split. Of payloads that contradict each other the last
        one counts, however they are spread over calls.
        """
        return digest_tables(self.scan(), self.variables)

    def _merge(
        self,
        given: Statements,
        stored: Statements,
        at: datetime,
        history_until: int | None,
        *,
        dated: bool,
        only_missing: bool,
    ) -> MergeResult:
        if only_missing:
            missing = given.without_stated(stored, by_instant=dated)
            stored = stored.take(np.isin(stored.key, missing.key))
            merged = self._merge(missing, stored, at, history_until, dated=dated, only_missing=False)
            return replace(merged, unchanged=merged.unchanged + len(given) - len(missing))
        if dated and self.mode == "live":
            return merge_live(given, stored, received_at=to_microseconds(at), history_until=history_until)
        if dated:
            return merge_archive(given, stored)
        if self.mode == "archive":
            return merge_undated(given, stored, history=np.full(len(given), True), received_at=None)
        none = np.full(len(given), False)
        history = none if history_until is None else given.known_at <= history_until
        return merge_undated(given, stored, history=history, received_at=to_microseconds(at))

    def _prepare_table(self, at: datetime) -> None:
        """Create the table, and columns for new variables, before any stored rows are read."""
        self.table.create({"live_since": at.isoformat()})
        self._check_units()
        snapshot = self.table.versions.newest_writable()
        if snapshot is not None:
            self.table.versions.add_missing_columns(snapshot, self.table.schema)

    def _check_units(self) -> None:
        """Refuse a feed that has a variable in another unit than the table.

        Raises:
            ConfigError: a unit differs.
        """
        snapshot = self.table.versions.newest()
        for field in snapshot.scan.schema if snapshot else ():
            stored = (field.metadata or {}).get(_UNITS, b"").decode()
            wanted = self.units.get(field.name, "")
            if stored and wanted and stored != wanted:
                raise ConfigError(
                    self.table.uri,
                    "",
                    f"the store has {field.name} in '{stored}', the product in '{wanted}'",
                    "give the product another name or use another home, and ingest again",
                )

    def _read_stored(self, part: Statements, keys: Keys) -> Statements:
        """Return the stored statements of the keys in a part."""
        first, last = keys.times[[part.key[0] // len(keys.locations), part.key[-1] // len(keys.locations)]]
        where = in_months(month_name(first), month_name(last))
        where &= (pc.field("valid_time") >= to_scalar(first)) & (pc.field("valid_time") <= to_scalar(last))
        if len(keys.locations) <= _MAX_LOCATIONS_IN_FILTER:
            where &= pc.field("location").isin(keys.locations)
        asserted_at = [ASSERTED_AT] if has_asserted_at(self.table.schema) else []
        rows = self.table.read(where, [*self._columns, *asserted_at])
        stored = stored_to_statements(rows, keys, self.variables)
        wanted = np.isin(stored.key, part.key)
        return stored if wanted.all() else stored.take(wanted)
