"""Reading one version of a table: only the files that a condition can touch, each checked by its digest before use.

The conditions that skip files are built here from the statistics in the log. Those of `DeltaTable.to_pyarrow_dataset`
take a column that one file has no statistics of to hold nothing, and lose its rows.
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

from pipeline.buffers import owned
from pipeline.errors import StoreError
from pipeline.store.delta.digests import check_files, checked, digest_in
from pipeline.store.delta.encode import has_bounds
from pipeline.store.objects import LocalStore, ObjectStore

_FORMAT = pads.ParquetFileFormat(default_fragment_scan_options=pads.ParquetFragmentScanOptions(pre_buffer=True))


@dataclass(frozen=True, slots=True)
class Held:
    """One data file of a version."""

    name: str
    size: int
    rows: int
    partition: str | None


class Scan:
    """The data files of one version of a table, and how to read them."""

    def __init__(self, place: ObjectStore, handle: DeltaTable, partition: str | None) -> None:
        self.place, self.partition, self.version = place, partition, handle.version()
        self.schema = pa.schema(handle.schema().to_arrow())
        """The columns on disk."""
        self._actions = pa.table(handle.get_add_actions(flatten=True))

    @cached_property
    def files(self) -> list[Held]:
        """The data files by partition, first written first."""
        known = self._known
        column = known.get(f"partition.{self.partition}") or [None] * len(known["path"])
        facts = zip(known["path"], known["size_bytes"], known["num_records"], column, strict=True)
        written = known["modification_time"]
        order = sorted(range(len(written)), key=lambda n: (column[n] or "", written[n], known["path"][n]))
        files = [Held(*one) for one in facts]
        return [files[n] for n in order]

    def most(self, column: str) -> dict[str, Any]:
        """Return the greatest value of a column by file, as the log tells it; None where it does not, exactly."""
        bounds = self._known.get(f"max.{column}") or [None] * len(self._known["path"])
        known = zip(self._known["path"], bounds, strict=True)
        return {name: most if digest_in(name) is not None else None for name, most in known}  # others round down

    def select(self, where: pc.Expression | None, schema: pa.Schema) -> list[Held]:
        """Return the files that may have rows that satisfy a condition on the columns of a schema."""
        if where is None:
            return self.files
        by_name = {file.name: file for file in self.files}
        nowhere = pafs.LocalFileSystem()  # only the conditions are looked at
        fragments = [
            _FORMAT.make_fragment(file.name, nowhere, partition_expression=self._guarantees[file.name])
            for file in self.files
        ]
        found = pads.FileSystemDataset(fragments, schema, _FORMAT, nowhere)
        return [by_name[fragment.path] for fragment in found.get_fragments(where)]

    def read(self, where: pc.Expression | None, columns: list[str], schema: pa.Schema) -> pa.Table:
        """Return the rows that satisfy a condition, in the order of the files. `schema` may have columns more.

        Raises:
            StoreError: a file is missing, torn or altered.
        """
        whole = pa.schema([*self.schema, *(field for field in schema if field.name not in self.schema.names)])
        return self.read_files(self.select(where, whole), where, columns, whole)

    def read_files(
        self, files: list[Held], where: pc.Expression | None, columns: list[str], schema: pa.Schema
    ) -> pa.Table:
        """Return the rows of some files that satisfy a condition."""
        system = self.place.arrow() if isinstance(self.place, LocalStore) else None
        try:
            if system is not None:
                check_files(self.place, [(file.name, file.size) for file in files])
                sources: list[Any] = [file.name for file in files]
            else:  # fetched once and kept in memory: what was checked is what is read
                sources = [owned(checked(self.place, file.name, file.size)) for file in files]
            fragments = [
                _FORMAT.make_fragment(source, system, partition_expression=self._guarantees[file.name])
                for file, source in zip(files, sources, strict=True)
            ]
            return pads.FileSystemDataset(fragments, schema, _FORMAT, system).to_table(columns, filter=where)
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{self.place}: cannot read version {self.version}, {error}") from error

    @cached_property
    def _known(self) -> dict[str, list[Any]]:
        known: dict[str, list[Any]] = self._actions.to_pydict()
        return known

    @cached_property
    def _guarantees(self) -> dict[str, pc.Expression]:
        return dict(zip(self._known["path"], _guarantees(self._known, self.schema, self.partition), strict=True))


def _guarantees(known: dict[str, list[Any]], schema: pa.Schema, partition: str | None) -> Iterator[pc.Expression]:
    for n in range(len(known["path"])):
        terms = [pc.scalar(True)]
        if partition:
            terms.append(pc.field(partition) == pa.scalar(known[f"partition.{partition}"][n], pa.string()))
        ours = digest_in(known["path"][n]) is not None  # other writers round their instants down
        for field in schema if ours else ():
            if has_bounds(field.type) and f"min.{field.name}" in known:
                least, most = known[f"min.{field.name}"][n], known[f"max.{field.name}"][n]
                if least is None or most is None:
                    continue
                here = pc.field(field.name)
                bounds = (here >= pa.scalar(least, field.type)) & (here <= pa.scalar(most, field.type))
                terms.append(bounds if known[f"null_count.{field.name}"][n] == 0 else bounds | here.is_null())
        yield reduce(and_, terms)
