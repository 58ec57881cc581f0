"""What the tests of the store's faults write and read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from pipeline.store.delta.digests import forget_checks
from pipeline.store.delta.table import Table
from pipeline.store.objects import LocalStore, ObjectStore

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = pa.schema([("key", pa.int64()), ("who", pa.string()), ("month", pa.string())])


def rows(*keys: int, who: str = "me", month: str = "2001-01") -> pa.Table:
    return pa.table({"key": list(keys), "who": [who] * len(keys), "month": [month] * len(keys)}, schema=SCHEMA)


def table_at(place: ObjectStore) -> Table:
    """The table as a process sees it that has not read it before."""
    forget_checks()
    return Table(place, SCHEMA, "month")


def add(table: Table, *keys: int, who: str = "me") -> list[int]:
    """Add each key unless it is there, as a user of `append` does; return those added."""

    def choose(present: pa.Table) -> pa.Table:
        known = set(present["key"].to_pylist())
        return rows(*(key for key in keys if key not in known), who=who)

    added: list[int] = table.append(choose)["key"].to_pylist()
    return added


def keys(table: Table) -> list[int]:
    return sorted(table.read()["key"].to_pylist())


def folder(table: Table) -> Path:
    assert isinstance(table.place, LocalStore)
    return table.place.path


def newest_log(table: Table) -> Path:
    return max((folder(table) / "_delta_log").glob("*.json"))


def newest_record(table: Table) -> Path:
    return max((folder(table) / "_manifest" / "commits").glob("*.json"))


def process(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
