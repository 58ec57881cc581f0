"""Reading one version of a table: only the files that can match a condition, each checked before use.

The expressions that prune files are built here from the statistics in the log. `DeltaTable.to_pyarrow_dataset` treats a
column without statistics in one file as empty, and loses its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from deltalake import DeltaTable

from pipeline.buffers import copy_to_arrow
from pipeline.errors import StoreError
from pipeline.store.delta.digests import FileChecker, digest_in_name
from pipeline.store.delta.encode import has_bounds
from pipeline.store.objects import LocalStore, ObjectStore

_FORMAT = pads.ParquetFileFormat(default_fragment_scan_options=pads.ParquetFragmentScanOptions(pre_buffer=True))


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file of a version."""

    name: str
    size: int
    rows: int
    partition: str | None


class Scan:
    """The data files of one version of a table, and how to read them."""

    def __init__(self, store: ObjectStore, checker: FileChecker, handle: DeltaTable, partition: str | None) -> None:
        self.store, self.partition, self.version = store, partition, handle.version()
        self.schema = pa.schema(handle.schema().to_arrow())
        """The columns on disk."""
        self._checker = checker
        self._actions = pa.table(handle.get_add_actions(flatten=True))

    @cached_property
    def files(self) -> list[DataFile]:
        """Data files by partition, oldest first."""
        log = self._log
        partitions = log.get(f"partition.{self.partition}") or [None] * len(log["path"])
        columns = zip(log["path"], log["size_bytes"], log["num_records"], partitions, strict=True)
        files = [DataFile(*values) for values in columns]
        written = log["modification_time"]
        order = sorted(range(len(files)), key=lambda n: (files[n].partition or "", written[n], files[n].name))
        return [files[n] for n in order]

    def max_values(self, column: str) -> dict[str, Any]:
        """Return the maximum of a column in each file, from the log; None where the log has no exact value."""
        maxima = self._log.get(f"max.{column}") or [None] * len(self._log["path"])
        # Other programs round down.
        return {
            name: maximum if digest_in_name(name) is not None else None
            for name, maximum in zip(self._log["path"], maxima, strict=True)
        }

    def select(self, where: pc.Expression | None, schema: pa.Schema) -> list[DataFile]:
        """Return the files that may have rows that match a condition on columns of a schema."""
        if where is None:
            return self.files
        by_name = {file.name: file for file in self.files}
        unused = pafs.LocalFileSystem()  # only the partition expressions are evaluated
        fragments = [
            _FORMAT.make_fragment(file.name, unused, partition_expression=self._bounds[file.name])
            for file in self.files
        ]
        selected = pads.FileSystemDataset(fragments, schema, _FORMAT, unused)
        return [by_name[fragment.path] for fragment in selected.get_fragments(where)]

    def read(self, where: pc.Expression | None, columns: list[str], schema: pa.Schema) -> pa.Table:
        """Return the rows that match a condition, in file order. `schema` may have columns that the table lacks.

        Raises:
            StoreError: a file is missing, torn or altered.
        """
        full = pa.schema([*self.schema, *(field for field in schema if field.name not in self.schema.names)])
        return self.read_files(self.select(where, full), where, columns, full)

    def read_files(
        self, files: list[DataFile], where: pc.Expression | None, columns: list[str], schema: pa.Schema
    ) -> pa.Table:
        """Return the rows of some files that match a condition.

        Raises:
            StoreError: a file is missing, torn or altered.
        """
        system = self.store.arrow() if isinstance(self.store, LocalStore) else None
        try:
            if system is not None:
                self._checker.check_all((file.name, file.size) for file in files)
                sources: list[Any] = [file.name for file in files]
            else:  # fetched once and kept in memory, so that the bytes that were checked are the bytes that are read
                sources = [copy_to_arrow(self._checker.read(file.name, file.size)) for file in files]
            fragments = [
                _FORMAT.make_fragment(source, system, partition_expression=self._bounds[file.name])
                for file, source in zip(files, sources, strict=True)
            ]
            return pads.FileSystemDataset(fragments, schema, _FORMAT, system).to_table(columns, filter=where)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.store}: cannot read version {self.version}, {error}") from error

    @cached_property
    def _log(self) -> dict[str, list[Any]]:
        """What the log records of each file: one list per column."""
        columns: dict[str, list[Any]] = self._actions.to_pydict()
        return columns

    @cached_property
    def _bounds(self) -> dict[str, pc.Expression]:
        """An expression by file name that is true for each of its rows."""
        return dict(zip(self._log["path"], _bounds(self._log, self.schema, self.partition), strict=True))


def _bounds(log: dict[str, list[Any]], schema: pa.Schema, partition: str | None) -> Iterator[pc.Expression]:
    for n, path in enumerate(log["path"]):
        terms = [pc.scalar(True)]
        if partition:
            terms.append(pc.field(partition) == pa.scalar(log[f"partition.{partition}"][n], pa.string()))
        exact = digest_in_name(path) is not None  # other programs round timestamps down
        for field in schema if exact else ():
            if has_bounds(field.type) and f"min.{field.name}" in log:
                low, high = log[f"min.{field.name}"][n], log[f"max.{field.name}"][n]
                if low is None or high is None:
                    continue
                column = pc.field(field.name)
                within = (column >= pa.scalar(low, field.type)) & (column <= pa.scalar(high, field.type))
                terms.append(within if log[f"null_count.{field.name}"][n] == 0 else within | column.is_null())
        yield reduce(and_, terms)
