"""A small table for tests of the store: what they write and read, in this or another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.delta.table import Table
from pipeline.store.objects import LocalStore, ObjectStore

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])
WIDER = SCHEMA.append(pa.field("speed", pa.float64()))


def rows(*keys: int, who: str = "me", month: str | None = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": [who] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


def open_table(store: ObjectStore, schema: pa.Schema = SCHEMA) -> Table:
    """The table as a process sees it that has not read it before."""
    return Table(store, schema, "month")


def reopen(table: Table, schema: pa.Schema = SCHEMA) -> Table:
    """The same table, as another process sees it."""
    return open_table(table.store, schema)


def append_each(table: Table, *keys: int) -> None:
    """Append rows, one commit per key."""

    def append(key: int) -> None:
        table.append(lambda _: rows(key))

    for key in keys:
        append(key)


def add(table: Table, *keys: int, who: str = "me") -> list[int]:
    """Add each key that the table lacks, as users of `append` do; return those added."""

    def choose(existing: pa.Table) -> pa.Table:
        known = set(existing["key"].to_pylist())
        return rows(*(key for key in keys if key not in known), who=who)

    added: list[int] = table.append(choose)["key"].to_pylist()
    return added


def keys(table: Table, where: pc.Expression | None = None) -> list[int]:
    return sorted(table.read(where)["key"].to_pylist())


def folder(table: Table) -> Path:
    assert isinstance(table.store, LocalStore)
    return table.store.path


def newest_log(table: Table) -> Path:
    return max((folder(table) / "_delta_log").glob("*.json"))


def newest_record(table: Table) -> Path:
    return max((folder(table) / "_manifest" / "commits").glob("*.json"))


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
