"""A full disk and a read-only store."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.objects import local, open_store
from tests.tables import add, folder, keys, open_table, process

# No file may be longer than a limit: at each limit another write fails.
FULL = """
import json, resource, sys
from pipeline.errors import StoreError
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from tests.tables import add, keys, open_table
store = open_store(sys.argv[1])
add(open_table(store / "table"), 1, 2)
_, maximum = resource.getrlimit(resource.RLIMIT_FSIZE)
def limited(limit, write):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, maximum))
    try:
        write()
        return "done"
    except StoreError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (maximum, maximum))
for limit in (0, 1, 100, 400, 700, 1000, 1500, 2500, 4000, 1 << 20):
    table = open_table(store / "table")
    key = 100 + limit
    row = limited(limit, lambda: add(table, key))
    payload = limited(limit, lambda: RawStore(store / "raw").put(Payload.of("x", bytes(range(256)) * 8)))
    found = keys(open_table(store / "table"))
    print(json.dumps([limit, row, payload, found]))
    add(open_table(store / "table"), key)
print(json.dumps(open_table(store / "table").verify()))
"""


def test_a_full_disk_is_a_one_line_error_and_old_data_stays_readable(tmp_path: Path) -> None:
    output, error = process(FULL, str(tmp_path)).communicate(timeout=120)
    *runs, wrong = [json.loads(line) for line in output.splitlines()]
    assert wrong == []
    expected = {1, 2}
    failed = 0
    for limit, row, payload, found in runs:
        assert expected <= set(found) <= expected | {100 + limit}
        expected |= {100 + limit}
        if row == "done":
            assert 100 + limit in found
        else:
            failed += 1
            assert str(tmp_path) in row and "\n" not in row
        assert payload == "done" or "File too large" in payload
    assert failed >= 4
    assert [runs[0][1] == "done", runs[-1][1], runs[-1][2]] == [False, "done", "done"]
    assert "Traceback" not in error


def test_a_disk_that_fills_up_leaves_the_table_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_table(open_store(tmp_path))
    add(table, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"^[^\n]+: cannot write, No space left on device$"):
            add(table, 2)
    assert keys(table) == [1]
    assert add(table, 2) == [2]


def test_a_read_only_store_is_reported_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    table = open_table(open_store(tmp_path / "table"))
    add(table, 1)
    monkeypatch.setattr(local, "write_file", read_only)
    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    with pytest.raises(StoreError, match=rf"^{tmp_path}: is not writable \(cannot write, Read-only file system\)$"):
        open_store(tmp_path).check_writable()
    assert keys(open_table(table.store)) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that nobody can write")
def test_a_real_read_only_folder_is_reported() -> None:
    store = open_store("/proc/self/nightcast")
    with pytest.raises(StoreError, match=r"^/proc/self/nightcast: is not writable \([^\n]+\)$"):
        store.check_writable()
    with pytest.raises(StoreError, match=r"^/proc/self/nightcast: is not writable"):
        add(open_table(store), 1)
    assert not folder(open_table(store)).exists()
