"""F6 and F7: a full disk and a read-only target."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.objects import local, open_store
from tests.faults.samples import add, folder, keys, process, table_at

# No file may become longer than a limit: at each limit another write is the one that fails.
FULL = """
import json, resource, sys
from pipeline.errors import StoreError
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from tests.faults.samples import add, keys, table_at
place = open_store(sys.argv[1])
add(table_at(place / "table"), 1, 2)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
def held(limit, deed):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        deed()
        return "done"
    except StoreError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
for limit in (0, 1, 100, 400, 700, 1000, 1500, 2500, 4000, 1 << 20):
    table = table_at(place / "table")
    key = 100 + limit
    told = held(limit, lambda: add(table, key))
    said = held(limit, lambda: RawStore(place / "raw").put(Payload.of("x", bytes(range(256)) * 8)))
    present = keys(table_at(place / "table"))
    print(json.dumps([limit, told, said, present]))
    add(table_at(place / "table"), key)
print(json.dumps(table_at(place / "table").verify()))
"""


def test_f6_a_full_disk_is_one_clear_error_and_old_data_stays_readable(tmp_path: Path) -> None:
    output, error = process(FULL, str(tmp_path)).communicate(timeout=120)
    *runs, wrong = [json.loads(line) for line in output.splitlines()]
    assert wrong == []
    expected = {1, 2}
    failed = 0
    for limit, told, said, present in runs:
        assert expected <= set(present) <= expected | {100 + limit}
        expected |= {100 + limit}
        if told == "done":
            assert 100 + limit in present
        else:
            failed += 1
            assert str(tmp_path) in told and "\n" not in told
        assert said == "done" or "File too large" in said
    assert failed >= 4
    assert [runs[0][1] == "done", runs[-1][1], runs[-1][2]] == [False, "done", "done"]
    assert "Traceback" not in error


def test_f6_a_disk_that_fills_up_leaves_the_table_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_at(open_store(tmp_path))
    add(table, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"^[^\n]+: cannot write, No space left on device$"):
            add(table, 2)
    assert keys(table) == [1]
    assert add(table, 2) == [2]


def test_f7_a_read_only_target_is_told_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    table = table_at(open_store(tmp_path / "table"))
    add(table, 1)
    monkeypatch.setattr(local, "write_file", read_only)
    monkeypatch.setattr(local.tempfile, "mkstemp", read_only)
    with pytest.raises(StoreError, match=rf"^{tmp_path}: is not writable \(cannot write, Read-only file system\)$"):
        open_store(tmp_path).check_writable()
    assert keys(table_at(table.place)) == [1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that nobody can write")
def test_f7_a_real_target_that_cannot_be_written() -> None:
    place = open_store("/proc/self/nightcast")
    with pytest.raises(StoreError, match=r"^/proc/self/nightcast: is not writable \([^\n]+\)$"):
        place.check_writable()
    with pytest.raises(StoreError, match=r"^/proc/self/nightcast: is not writable"):
        add(table_at(place), 1)
    assert not folder(table_at(place)).exists()
