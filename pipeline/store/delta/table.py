"""A Delta table with optimistic commits, durable writes and checked reads, on a local disk or S3.

Delta Lake provides atomic versions. It does not notice a second writer of the same keys, does not call fsync, and does
not notice altered files. So every append is computed again if another writer commits first, is on disk and recorded in
a manifest before it counts, and a data file is read only if its SHA-256 matches its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import StoreError
from pipeline.store.delta import maintenance
from pipeline.store.delta.encode import encode
from pipeline.store.delta.repair import RepairStep, repair, verify
from pipeline.store.delta.retry import retry_on_conflict
from pipeline.store.delta.versions import TableSnapshot, Versions
from pipeline.store.objects import ObjectStore

ATTEMPTS = 40


class Table:
    """A Delta table, optionally partitioned by one text column.

    `schema` has the columns that are written and read. Columns that the table on disk lacks are added on write, and
    earlier rows have nulls there; further columns on disk are left alone.
    """

    def __init__(self, store: ObjectStore, schema: pa.Schema, partition: str | None = None) -> None:
        self.store, self.schema, self.partition = store, schema, partition
        self.versions = Versions(store, partition)

    @property
    def uri(self) -> str:
        """Path or address of the table."""
        return self.store.uri

    @property
    def exists(self) -> bool:
        """Whether the table was created, readable or not.

        Raises:
            StoreError: there are data files but no log.
        """
        state = self.versions.state()
        return state.version >= 0 or state.blocked

    @property
    def version(self) -> int:
        """The newest intact version; -1 if there is no table."""
        snapshot = self.versions.newest()
        return snapshot.version if snapshot else -1

    @property
    def fault(self) -> str | None:
        """What is wrong with the log or the manifest, in one line, or None. Data files are checked when read."""
        return self.versions.state().fault

    @property
    def damage(self) -> str | None:
        """The damage that prevents writing, in one line, or None if the table is writable."""
        state = self.versions.state()
        return None if state.intact or state.torn else state.fault

    def property(self, name: str) -> str | None:
        """Return a property that was given at creation, or None."""
        snapshot = self.versions.newest()
        return snapshot.properties.get(name) if snapshot else None

    def create(self, properties: dict[str, str]) -> None:
        """Create the table with properties that never change; do nothing if it exists.

        Raises:
            StoreError: the table cannot be written.
        """
        self.versions.create(self.schema, properties)

    def read(self, where: pc.Expression | None = None, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of the newest intact version that match `where`; none if there is no table.

        Raises:
            StoreError: the table cannot be read, or a data file is missing, torn or altered.
        """
        return self._read(self.versions.newest(), where, columns)

    def append(self, choose: Callable[[pa.Table], pa.Table], *, where: pc.Expression | None = None) -> pa.Table:
        """Append the rows that `choose` returns for the existing rows, and return them; no other writer comes between.

        `choose` receives the existing rows that match `where`. It is called again if another process commits first.
        Rows are stored in the order returned.

        Raises:
            StoreError: the table cannot be written, or other writers committed first too often.
        """
        chosen = self.schema.empty_table()

        def attempt(snapshot: TableSnapshot) -> bool:
            nonlocal chosen
            snapshot = self.versions.add_missing_columns(snapshot, self.schema)  # may lead to a newer version
            chosen = choose(self._read(snapshot, where, None))
            if chosen.num_rows == 0:
                return True
            return self.versions.commit(snapshot, list(encode(self._conform(chosen), self.partition)))

        self._commit_with_retries(attempt)
        return chosen

    def replace_partition(self, name: str, rows: pa.Table) -> None:
        """Replace the whole content of one partition atomically.

        Raises:
            StoreError: the table cannot be written, or a row belongs to another partition.
        """
        files = list(encode(self._conform(rows), self.partition))
        if self.partition is None or any(file.action.partition_values != {self.partition: name} for file in files):
            raise StoreError(f"{self.store}: cannot replace {name}, a row belongs to another partition")

        def attempt(snapshot: TableSnapshot) -> bool:
            snapshot = self.versions.add_missing_columns(snapshot, self.schema)
            existing = [file for file in snapshot.scan.files if file.partition == name]
            if not files and not existing:
                return True
            return self.versions.commit(snapshot, files, existing)

        self._commit_with_retries(attempt)

    def compact(self, order: Sequence[str], *, more_than: int = 1) -> int:
        """Merge the files of each partition with more than `more_than` into one, sorted by `order`.

        Returns:
            How many fewer files the table has.

        Raises:
            StoreError: the table cannot be read or written.
        """
        return maintenance.compact(self.versions, tuple(order), more_than)

    def vacuum(self, *, keep_versions: Sequence[int] = (), older_than: timedelta, now: datetime) -> list[str]:
        """Delete files that no kept version needs, and files that killed writers left; return their names.

        Kept are the newest version, those given, every version that was the newest within `older_than` of `now`, and
        every file younger than that.

        Raises:
            StoreError: a version to keep cannot be read.
        """
        return maintenance.vacuum(self.versions, keep_versions, now - older_than)

    def checkpoint(self) -> None:
        """Write a checkpoint of the log: opening the table then reads it and the commits after it only."""
        maintenance.checkpoint(self.versions)

    def verify(self) -> list[str]:
        """Read every file, compare its SHA-256, and return one line per problem."""
        return verify(self.versions)

    def repair(self, before_loss: Callable[[], None] = lambda: None) -> tuple[RepairStep, ...]:
        """Restore damaged commits from their records, and remove from the table what cannot be restored.

        `before_loss` is called before anything with rows is removed. Damaged files are kept in ``_manifest/aside``.
        """
        return repair(self.versions, before_loss)

    def _read(self, snapshot: TableSnapshot | None, where: pc.Expression | None, columns: list[str] | None) -> pa.Table:
        names = columns or self.schema.names
        if snapshot is None:
            return self.schema.empty_table().select(names)
        rows = snapshot.scan.read(where, names, self.schema)
        return rows.cast(pa.schema([self.schema.field(name) for name in names]))

    def _conform(self, rows: pa.Table) -> pa.Table:
        """Return the rows in the schema of the table."""
        return rows.select(self.schema.names).cast(self.schema)

    def _commit_with_retries(self, attempt: Callable[[TableSnapshot], bool]) -> None:
        """Try to commit on the newest version until no other writer comes first."""
        give_up = f"{self.store}: {ATTEMPTS} commits in a row met another writer; run fewer jobs at once"
        retry_on_conflict(lambda: attempt(self.versions.create(self.schema, {})), attempts=ATTEMPTS, give_up=give_up)
