"""A Delta table in a folder or a bucket: appended to by optimistic commits, durable once a call returns, never silent.

Delta Lake gives atomic versions. It neither notices a second writer of the same keys, nor calls fsync, nor knows when a
file was altered. So every commit is computed anew when another came first, is on the disk before it counts, and is
recorded in a manifest; and no data file is read whose digest is not the one in its name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StoreError
from pipeline.store.delta import maintenance
from pipeline.store.delta.encode import encode
from pipeline.store.delta.versions import Versions, View
from pipeline.store.objects import ObjectStore

ATTEMPTS = 40


class Table:
    """One Delta table and, optionally, one text column that names the partition.

    `schema` is what is written and read. Columns that the table on disk lacks are added to it, and rows from before
    have no value there; columns that only the table has are left alone.
    """

    def __init__(self, place: ObjectStore, schema: pa.Schema, partition: str | None = None) -> None:
        self.place, self.schema, self.partition = place, schema, partition
        self.versions = Versions(place, partition)

    @property
    def uri(self) -> str:
        """Path or address of the table, for people and for delta-rs."""
        return self.place.uri

    @property
    def exists(self) -> bool:
        """Whether the table has been created, readable or not.

        Raises:
            StoreError: there is data, but the log that tells which of it counts is gone.
        """
        state = self.versions.state()
        return state.version >= 0 or state.blocked

    @property
    def version(self) -> int:
        """The newest sound version; -1 before the first."""
        view = self.versions.newest()
        return view.version if view else -1

    @property
    def fault(self) -> str | None:
        """What is wrong with the log or the manifest, in one line, or None. Data files are checked by reading."""
        return self.versions.state().fault

    @property
    def damage(self) -> str | None:
        """What keeps the table from being written: something acknowledged is damaged or lost. None: it can be."""
        state = self.versions.state()
        return None if state.whole or state.torn else state.fault

    def property(self, name: str) -> str | None:
        """Return a property given at creation, or None."""
        view = self.versions.newest()
        return view.properties.get(name) if view else None

    def create(self, properties: dict[str, str]) -> None:
        """Create the table with properties that never change; do nothing if it exists.

        Raises:
            StoreError: the table cannot be written.
        """
        self.versions.create(self.schema, properties)

    def read(self, where: pc.Expression | None = None, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of the newest sound version that satisfy `where`; none when the table does not exist.

        Raises:
            StoreError: the table cannot be read, or a data file is missing, torn or altered.
        """
        return self._read(self.versions.newest(), where, columns)

    def append(self, choose: Callable[[pa.Table], pa.Table], *, where: pc.Expression | None = None) -> pa.Table:
        """Append what `choose` makes of the present rows, so that no other writer came between; return what was added.

        `choose` sees the rows that satisfy `where` and may be called again when another process committed first. The
        rows are kept in the order that it gives them.

        Raises:
            StoreError: the table cannot be written, or others kept coming first.
        """
        chosen = self.schema.empty_table()

        def step(view: View) -> bool:
            nonlocal chosen
            view = self.versions.widen(view, self.schema)  # first: it may lead to a newer version
            chosen = choose(self._read(view, where, None))
            if chosen.num_rows == 0:
                return True
            return self.versions.commit(view, list(encode(self._fitted(chosen), self.partition)))

        self._until_first(step)
        return chosen

    def replace_partition(self, name: str, rows: pa.Table) -> None:
        """Make `rows` the whole content of one partition, atomically.

        Raises:
            StoreError: the table cannot be written, or a row belongs to another partition.
        """
        files = list(encode(self._fitted(rows), self.partition))
        if self.partition is None or any(file.action.partition_values != {self.partition: name} for file in files):
            raise StoreError(f"{self.place}: cannot replace {name}, there are rows of another partition")

        def step(view: View) -> bool:
            view = self.versions.widen(view, self.schema)
            present = [file for file in view.scan.files if file.partition == name]
            if not files and not present:
                return True
            return self.versions.commit(view, files, present)

        self._until_first(step)

    def compact(self, order: Sequence[str], *, more_than: int = 1) -> int:
        """Make one file, sorted by `order`, of each partition that has more files; return how many files went.

        Raises:
            StoreError: the table cannot be read or written.
        """
        return maintenance.compact(self.versions, tuple(order), more_than)

    def vacuum(self, *, keep_versions: Sequence[int] = (), older_than: timedelta, now: datetime) -> list[str]:
        """Delete what no kept version needs, and what killed writers left; return the names.

        Kept are the newest version, those given, every version that was the newest within `older_than` of `now`, and
        every file younger than that.

        Raises:
            StoreError: a version that is to be kept cannot be read.
        """
        return maintenance.vacuum(self.versions, keep_versions, now - older_than)

    def checkpoint(self) -> None:
        """Sum up the log so far in a checkpoint and record its digest: opening reads it and the commits after it."""
        maintenance.checkpoint(self.versions)

    def verify(self) -> list[str]:
        """Read every file and compare its digest; return what is wrong, a line each."""
        return maintenance.verify(self.versions)

    def repair(self) -> maintenance.Repaired:
        """Bring back damaged commits from their records, and take out of the table what cannot be brought back.

        Nothing is deleted: what was damaged is kept below ``_manifest/aside``.
        """
        return maintenance.repair(self.versions)

    def _read(self, view: View | None, where: pc.Expression | None, columns: list[str] | None) -> pa.Table:
        names = columns or self.schema.names
        if view is None:
            return self.schema.empty_table().select(names)
        rows = view.scan.read(where, names, self.schema)
        return rows.cast(pa.schema([self.schema.field(name) for name in names]))

    def _fitted(self, rows: pa.Table) -> pa.Table:
        return rows.select(self.schema.names).cast(self.schema)

    def _until_first(self, step: Callable[[View], bool]) -> None:
        """Take a step again and again on the newest version, until no other writer came first."""
        for attempt in range(ATTEMPTS):
            view = self.versions.create(self.schema, {})
            if step(view):
                return
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, not secrecy
        raise StoreError(f"{self.place}: {ATTEMPTS} commits in a row met another writer; run fewer jobs at once")
