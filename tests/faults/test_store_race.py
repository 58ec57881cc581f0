"""Several processes that append the same keys."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.store.objects import open_store
from tests.tables import keys, open_table, process

# All processes add the same keys, one commit per key.
ADD_KEYS = """
import sys
from pipeline.store.objects import open_store
from tests.tables import add, open_table
table = open_table(open_store(sys.argv[1]))
print(*[key for wanted in range(int(sys.argv[3])) for key in add(table, wanted, who=sys.argv[2])])
"""


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_four_processes_store_each_key_once(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    count, uri = (12, str(tmp_path)) if where == "disk" else (6, request.getfixturevalue("bucket") + "/table")
    writers = [process(ADD_KEYS, uri, f"writer {n}", str(count)) for n in range(4)]
    outputs = [writer.communicate(timeout=120) for writer in writers]
    assert [(writer.returncode, error) for writer, (_, error) in zip(writers, outputs, strict=True)] == [(0, "")] * 4
    table = open_table(open_store(uri))
    assert keys(table) == list(range(count))
    # Each process added exactly the keys that were returned to it.
    for n, (output, _) in enumerate(outputs):
        mine = table.read(pc.field("who") == f"writer {n}")["key"].to_pylist()
        assert sorted(mine) == sorted(map(int, output.split()))
    assert table.version == count  # no commit without a new key
    assert (table.fault, table.verify()) == (None, [])
    # Files of failed commits were deleted.
    assert len([file for file in table.store.list_files() if file.name.endswith(".parquet")]) == count
