"""A Delta table on local disk: appended to by optimistic commits, durable once a call returns.

Delta Lake gives atomic versions but neither detects a second writer of the same keys nor calls fsync. So every commit
names the version it was computed from, is computed anew when another came first, and is flushed before it counts.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.errors import StoreError

ATTEMPTS = 40


class Table:
    """One Delta table with a fixed schema and, optionally, one text column that names the partition."""

    def __init__(self, path: Path, schema: pa.Schema, partition: str | None = None) -> None:
        self.path, self.schema, self.partition = path, schema, partition

    @property
    def exists(self) -> bool:
        """Whether the table has been created.

        Raises:
            StoreError: there is data, but the log that tells which of it counts is gone.
        """
        if self._has_log():
            return True
        if next(self.path.rglob("*.parquet"), None) and not self._has_log():
            raise StoreError(f"{self.path}: there is data without its _delta_log; restore it from a backup")
        return False

    @property
    def version(self) -> int:
        """Version of the newest commit; -1 before the first."""
        return self._open().version() if self.exists else -1

    def property(self, name: str) -> str | None:
        """Return a property given at creation, or None."""
        return self._open().metadata().configuration.get(f"nightcast.{name}") if self.exists else None

    def create(self, properties: dict[str, str]) -> None:
        """Create the table with properties that never change; do nothing if it exists."""
        if self.exists:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            DeltaTable.create(
                str(self.path),
                schema=self.schema,
                partition_by=[self.partition] if self.partition else None,
                mode="ignore",
                configuration={f"nightcast.{name}": value for name, value in properties.items()},
                raise_if_key_not_exists=False,
            )
        except CommitFailedError:  # another process created it first, with the same intent
            return
        except DeltaError as error:
            raise StoreError(f"{self.path}: cannot create the table, {error}") from error
        self._flush(0)

    def read(self, where: pc.Expression | None = None, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of the newest version that satisfy `where`; none when the table does not exist.

        Raises:
            StoreError: the table cannot be read.
        """
        if not self.exists:
            empty = self.schema.empty_table()
            return empty.select(columns) if columns else empty
        return self._scan(self._open(), where, columns)

    def append(self, choose: Callable[[pa.Table], pa.Table], *, where: pc.Expression | None = None) -> pa.Table:
        """Append what `choose` makes of the present rows, so that no other writer came between; return what was added.

        `choose` sees the rows that satisfy `where` and may be called again when another process committed first.

        Raises:
            StoreError: the table cannot be written, or others kept coming first.
        """
        self.create({})
        for attempt in range(ATTEMPTS):
            handle = self._open()
            rows = choose(self._scan(handle, where, None))
            if rows.num_rows == 0:
                return rows
            try:
                write_deltalake(
                    handle,
                    rows.select(self.schema.names).cast(self.schema),
                    mode="append",
                    commit_properties=CommitProperties(max_commit_retries=0),
                )
            except CommitFailedError:
                time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - jitter, not secrecy
                continue
            except (DeltaError, OSError) as error:
                raise StoreError(f"{self.path}: cannot append, {error}") from error
            self._flush(handle.version())
            return rows
        raise StoreError(f"{self.path}: {ATTEMPTS} commits in a row met another writer; run fewer jobs at once")

    def replace_partition(self, name: str, rows: pa.Table) -> None:
        """Make `rows` the whole content of one partition, atomically.

        Raises:
            StoreError: the table cannot be written.
        """
        self.create({})
        handle = self._open()
        try:
            write_deltalake(
                handle,
                rows.select(self.schema.names).cast(self.schema),
                mode="overwrite",
                predicate=f"{self.partition} = '{name}'",
            )
        except (DeltaError, OSError) as error:
            raise StoreError(f"{self.path}: cannot replace {name}, {error}") from error
        self._flush(handle.version())

    def _has_log(self) -> bool:
        return (self.path / "_delta_log").is_dir() and DeltaTable.is_deltatable(str(self.path))

    def _open(self) -> DeltaTable:
        try:
            table = DeltaTable(str(self.path))
        except DeltaError as error:
            raise StoreError(f"{self.path}: cannot open the table, {error}") from error
        log = self._log(table.version())
        if log.is_file() and not log.stat().st_size:  # what a power loss leaves; Delta reads it as a commit of nothing
            raise StoreError(f"{self.path}: commit {table.version()} is empty; restore {log} from a backup")
        return table

    def _log(self, version: int) -> Path:
        return self.path / "_delta_log" / f"{version:020}.json"

    def _scan(self, handle: DeltaTable, where: pc.Expression | None, columns: list[str] | None) -> pa.Table:
        # Arrow's own file system: deltalake's Python one aborts the interpreter at exit when threads have read by it.
        files = pafs.SubTreeFileSystem(str(self.path), pafs.LocalFileSystem())
        try:
            data = handle.to_pyarrow_dataset(filesystem=files)
            table = data.to_table(filter=where, columns=columns or self.schema.names)
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.path}: cannot read version {handle.version()}, {error}") from error
        return table.cast(pa.schema([self.schema.field(name) for name in table.column_names]))

    def _flush(self, version: int) -> None:
        """Force one commit to the disk: its data files, its log entry, and the folders that name them."""
        log = self._log(version)
        touched = {log}
        for line in log.read_text().splitlines():
            added = json.loads(line).get("add")
            if added:
                touched.add(self.path / unquote(added["path"]))
        for path in touched | {file.parent for file in touched} | {self.path, self.path.parent}:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
