"""F3: two ingests of one window."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.store.objects import open_store
from tests.faults.samples import keys, process, table_at

# All processes want the same keys, one commit each.
ADD_KEYS = """
import sys
from pipeline.store.objects import open_store
from tests.faults.samples import add, table_at
table = table_at(open_store(sys.argv[1]))
print(*[key for wanted in range(int(sys.argv[3])) for key in add(table, wanted, who=sys.argv[2])])
"""


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_f3_four_processes_leave_each_key_once(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count, uri = (12, str(tmp_path)) if where == "disk" else (6, request.getfixturevalue("bucket") + "/table")
    writers = [process(ADD_KEYS, uri, f"writer {n}", str(count)) for n in range(4)]
    outputs = [writer.communicate(timeout=120) for writer in writers]
    assert [(writer.returncode, error) for writer, (_, error) in zip(writers, outputs, strict=True)] == [(0, "")] * 4
    table = table_at(open_store(uri))
    assert keys(table) == list(range(count))
    # What each was told it added is what stands under its name.
    for n, (told, _) in enumerate(outputs):
        mine = table.read(pc.field("who") == f"writer {n}")["key"].to_pylist()
        assert sorted(mine) == sorted(map(int, told.split()))
    assert table.version == count  # nobody committed in vain
    assert (table.fault, table.verify()) == (None, [])
    # The losers cleaned up.
    assert len([entry for entry in table.place.entries() if entry.name.endswith(".parquet")]) == count
