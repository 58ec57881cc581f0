"""The bitemporal observations: what was observed, and when it became known. Rows are added, never changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError, ContractError
from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore, open_store
from pipeline.store.observations.content_digest import digest_of
from pipeline.store.observations.keys import TIME, Keys, instants, matrix, order_of
from pipeline.store.observations.partitions import instant, micros, month_at, parts, runs, sizes, within
from pipeline.store.observations.revisions import (
    Judged,
    Statements,
    merge_archive,
    merge_live,
    merge_undated,
    revisions,
)
from pipeline.times import as_datetime

__all__ = ["TIME", "Appended", "Observations"]

_PLACES_NAMED = 1000
_UNITS = b"units"


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did: rows with a new key, rows that changed or filled a value, rows that said nothing new."""

    accepted: int
    revised: int
    unchanged: int


class Observations:
    """All that one feed has ever said. A read returns revisions: a row each time that what is known of a key changed.

    When a value became known follows one rule, for rows that do not say it themselves:

    * in the first ingest, and in one told to load history, a value from before the store existed is history:
      ``valid_time + delay``;
    * any other value that is new, and any that changed, became known at the ingest that brought it;
    * an archive (``mode: archive``) is all history, and a correction takes effect right after what it corrects.

    Rows may carry `known_at`: it is when they were said. In an archive they became known then, in whatever order they
    come. In a live feed (``mode: live``) only what was said by the time the store began, and comes in the first ingest
    or with history, became known when it was said; all else no earlier than the ingest that brought it: ``max(said,
    at)``. Of what thereby becomes known at one instant the cell said last counts, and what was said before a cell that
    is known by then says nothing new. A value that contradicts what is stored as said at the same instant became known
    at the ingest that brought it; within one payload it took effect right after what it corrects.

    On disk there are statements, in which a cell without a value says nothing; a variable that was added to the feed is
    a new column, and one that was taken out of it stays. Where a live row became known later than it was said, the
    column `said` tells when that was.
    """

    def __init__(
        self,
        where: ObjectStore | Path,
        variables: tuple[str, ...],
        *,
        delay: timedelta,
        mode: Literal["live", "archive"],
        units: tuple[str, ...] = (),
    ) -> None:
        self.variables, self.delay, self.mode = variables, delay, mode
        self.units = dict(zip(variables, units, strict=False))
        fields = [("valid_time", TIME), ("location", pa.string()), ("known_at", TIME)]
        values = [
            pa.field(name, pa.float64(), metadata={_UNITS: self.units[name]} if name in self.units else None)
            for name in variables
        ]
        self._said = ["said"] if mode == "live" else []
        said = [(name, TIME) for name in self._said]
        schema = pa.schema([*fields, *values, *said, ("payload", pa.string()), ("month", pa.string())])
        self.table = Table(where if isinstance(where, ObjectStore) else open_store(where), schema, "month")
        self._columns = ["valid_time", "location", "known_at", *variables]

    def append(self, rows: pa.Table, *, at: datetime, payload: str, history: bool = False) -> Appended:
        """Add what is new in `rows` (valid_time, location, perhaps known_at, variables) as learnt at `at`; all or none.

        Without `known_at` there is one row a key. A cell without a value says nothing: what was known of it stays. With
        `history`, values from before the store existed count as known since their time, however late they are loaded.
        Memory follows the rows given, and those of one month at least, not all that are present.

        Raises:
            StoreError: the table cannot be written.
            ConfigError: the table keeps a variable in another unit.
            ContractError: a row has no key, or two have the same.
        """
        if rows.num_rows == 0:
            return Appended(0, 0, 0)
        self._prepare(at)
        live_since = datetime.fromisoformat(self.table.property("live_since") or at.isoformat())
        until = micros(live_since) if history or at == live_since else None
        given, keys = self._in_order(rows)
        dated = "known_at" in rows.column_names
        judged: list[Judged] = []

        def judge(part: Statements) -> Judged:
            present = self._present(part, keys)
            if dated and self.mode == "live":
                return merge_live(part, present, learnt=micros(at), until=until)
            if dated:
                return merge_archive(part, present)
            everything = self.mode == "archive"
            history = np.full(len(part), everything) if everything or until is None else part.known_at <= until
            return merge_undated(part, present, history=history, learnt=None if everything else micros(at))

        def choose(_: pa.Table) -> pa.Table:
            self._require_units()
            view = self.table.versions.newest()
            judged[:] = [judge(part) for part in parts(given, keys, sizes(view) if view else {})]
            return pa.concat_tables([self._as_rows(one.kept, keys, payload) for one in judged])

        # What is present is read bit by bit in `choose`; a writer who comes in between makes the commit start again.
        self.table.append(choose, where=pc.scalar(False))
        return Appended(*(sum(getattr(one, name) for one in judged) for name in Appended.__slots__))

    def read(
        self,
        *,
        known_by: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """Return every revision known by an instant, with valid time in [since, until], by time, place, known_at.

        Columns are valid_time, location, known_at and the variables; a cell holds what was known of it by then.
        """
        parts = list(self.scan(known_by=known_by, since=since, until=until))
        return pa.concat_tables(parts) if parts else self.table.schema.empty_table().select(self._columns)

    def scan(
        self,
        *,
        known_by: datetime | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[pa.Table]:
        """Yield what `read` returns, some months at a time, oldest first, all from one version of the table."""
        self._require_units()
        view = self.table.versions.newest()
        if view is None:
            return
        where = pc.scalar(True)
        if known_by is not None:
            where &= pc.field("known_at") <= pa.scalar(known_by, TIME)
        if since is not None:
            where &= pc.field("valid_time") >= pa.scalar(since, TIME)
        if until is not None:
            where &= pc.field("valid_time") <= pa.scalar(until, TIME)
        schema = pa.schema([self.table.schema.field(name) for name in self._columns])
        for months in runs(sizes(view), since, until):
            rows = view.scan.read(where & within(*months), self._columns, self.table.schema).cast(schema)
            if rows.num_rows:
                yield self._as_revisions(rows)

    def newest(self) -> datetime | None:
        """Return the newest valid time, or None for an empty store; no data file is read that the log has bounds of."""
        view = self.table.versions.newest()
        if view is None or not view.scan.files:
            return None
        month = max(sizes(view))
        known = view.scan.most("valid_time")
        told = [known[file.name] for file in view.scan.files if file.partition == month]
        if None not in told:
            return as_datetime(np.datetime64(max(pa.scalar(one, TIME).value for one in told), "us"))
        times = view.scan.read(pc.field("month") == month, ["valid_time"], self.table.schema)["valid_time"]
        return as_datetime(np.datetime64(pc.max(times).value, "us"))

    def count(self) -> int:
        """Return how many statements are on disk, as the log tells it: no data file is read."""
        view = self.table.versions.newest()
        return sum(sizes(view).values()) if view else 0

    def digest(self) -> str:
        """Return the SHA-256 of all that a read can tell.

        Where the clock has no say (in an archive, in history, for rows that carry `known_at`), payloads that agree give
        one digest in any order and any pieces. Where payloads contradict each other, their order decides and nothing
        else: the last one holds, however they are spread over calls.
        """
        return digest_of(self.scan(), self.variables)

    def _prepare(self, at: datetime) -> None:
        """See to it that there is a table with a column for each variable, before what is present is looked at."""
        self.table.create({"live_since": at.isoformat()})
        self._require_units()
        view = self.table.versions.writable()
        if view is not None:
            self.table.versions.widen(view, self.table.schema)

    def _require_units(self) -> None:
        """Refuse a feed that gives a variable in another unit than the table keeps it in.

        Raises:
            ConfigError: it does.
        """
        view = self.table.versions.newest()
        for field in view.scan.schema if view else ():
            kept = (field.metadata or {}).get(_UNITS, b"").decode()
            wanted = self.units.get(field.name, "")
            if kept and wanted and kept != wanted:
                raise ConfigError(
                    self.table.uri,
                    "",
                    f"the store keeps {field.name} in '{kept}', the product says '{wanted}'",
                    "give the product another name, or this home another place, and ingest anew",
                )

    def _in_order(self, rows: pa.Table) -> tuple[Statements, Keys]:
        """Return the rows by key, with `known_at` as they tell it, or else when they were due."""
        dated = "known_at" in rows.column_names
        named = ["valid_time", "location", "known_at"] if dated else ["valid_time", "location"]
        for name in named:
            if rows[name].null_count:
                raise ContractError(f"{self.table.uri}: {rows[name].null_count} rows have no {name}")
        keys, number = Keys.of(rows)
        known_at = (
            instants(rows, "known_at")
            if dated
            else instants(rows, "valid_time") + self.delay // timedelta(microseconds=1)
        )
        given = Statements(number, known_at, matrix(rows, self.variables))
        order = order_of(number)
        given = given if order is None else given.pick(order)
        if not dated and len(given) > 1 and not np.all(given.key[1:] > given.key[:-1]):
            raise ContractError(f"{self.table.uri}: two rows have the same valid_time and location")
        return given, keys

    def _present(self, part: Statements, keys: Keys) -> Statements:
        """Return what was said of the keys of some rows."""
        first, last = keys.times[[part.key[0] // len(keys.places), part.key[-1] // len(keys.places)]]
        where = within(month_at(first), month_at(last))
        where &= (pc.field("valid_time") >= instant(first)) & (pc.field("valid_time") <= instant(last))
        if len(keys.places) <= _PLACES_NAMED:
            where &= pc.field("location").isin(keys.places)
        rows = self.table.read(where, [*self._columns, *self._said])
        number = keys.number(rows)
        ours = np.isin(number, part.key)
        known_at, said = instants(rows, "known_at"), None
        if self._said and rows["said"].null_count < len(rows):
            said = pc.coalesce(rows["said"], rows["known_at"]).cast(pa.int64()).to_numpy()
        present = Statements(number, known_at, matrix(rows, self.variables), said)
        return present if ours.all() else present.pick(ours)

    def _as_rows(self, said: Statements, keys: Keys, payload: str) -> pa.Table:
        order = order_of(said.key, said.known_at)
        told = said if order is None else said.pick(order)
        columns = keys.columns(told.key)
        columns["known_at"] = pa.array(told.known_at, pa.int64()).cast(TIME)
        for name in self._said:  # mostly as it became known: then there is none
            columns[name] = pa.array(told.told, pa.int64(), mask=told.told == told.known_at).cast(TIME)
        columns["payload"] = pa.DictionaryArray.from_arrays(np.zeros(len(told), np.int8), [payload])
        for name, values in zip(self.variables, told.values, strict=True):
            columns[name] = pa.array(values, from_pandas=True)
        return pa.table({name: columns[name] for name in self.table.schema.names}).cast(self.table.schema)

    def _as_revisions(self, rows: pa.Table) -> pa.Table:
        number = Keys.of(rows)[1]
        if np.all(number[1:] > number[:-1]):  # one statement a key, in order: what a month mostly is
            return rows
        kept, values = revisions(Statements(number, instants(rows, "known_at"), matrix(rows, self.variables)))
        if kept is None:
            return rows
        rows = rows.take(pa.array(kept))
        for name, column in zip(self.variables, values, strict=True):
            field = rows.schema.field(name)
            rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(column, from_pandas=True))
        return rows
