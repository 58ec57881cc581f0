"""Several processes ingest the same range at once; the result is what one of them would have stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config import Product
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quarantine import Quarantine
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace
from tests import jobs
from tests.world import make_product, make_settings

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 4
DAY = timedelta(days=1)
NOW = datetime(2001, 6, 1, tzinfo=UTC)

# Says when it is ready, waits for a line, and ingests; every import is done by then, so that all begin together.
INGEST = """
import sys
from datetime import datetime
from pathlib import Path
import great_expectations
from tests import jobs
from pipeline.config import load_product
from pipeline.workspace import Workspace
from tests.world import make_settings
product, settings = load_product(Path(sys.argv[1])), make_settings(Path(sys.argv[2]), sys.argv[3])
at, window = datetime.fromisoformat(sys.argv[4]), [datetime.fromisoformat(one) for one in sys.argv[5:]]
print("ready", flush=True)
sys.stdin.readline()
result = jobs.ingest(Workspace(product, settings), at=at, **dict(zip(("since", "until"), window)))
print(result.model_dump_json())
"""


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A live feed with a file a month. Each file repeats the last days of the one before; one has a broken row."""
    source = {"path": "inbox/*.csv", "format": "csv", "layout": "wide"}
    product = make_product(tmp_path, days=120, feed={"mode": "live", "source": source})
    wide = pd.read_csv(tmp_path / "wind.csv")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for part in range(4):
        rows = wide.iloc[max(0, 30 * part - 5) : 30 * part + 30].copy()
        if part == 2:
            rows.loc[rows.index[10], "S1"] = 999.0
        rows.to_csv(inbox / f"{part}.csv", index=False)
    return product


def ingest_at_once(
    product: Product, home: Path, instants: list[datetime], *window: datetime, store: str = ""
) -> list[dict[str, Any]]:
    def arguments(at: datetime) -> Iterator[str]:
        yield from (sys.executable, "-c", INGEST, str(home.parent / "product.yaml"), str(home), store)
        yield from (instant.isoformat() for instant in (at, *window))

    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    list(arguments(at)),
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for at in instants
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n", writer.stderr and writer.stderr.read()
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        told = [writer.communicate(timeout=300) for writer in writers]
        for writer, (_, errors) in zip(writers, told, strict=True):
            assert writer.returncode == 0, errors
    return [json.loads(output) for output, _ in told]


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_four_processes_leave_what_one_would_have_left(
    where: str, product: Product, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    store = request.getfixturevalue("bucket") + "/stores" if where == "s3" else ""
    expected = jobs.ingest(Workspace(product, make_settings(alone)), at=NOW)
    results = ingest_at_once(product, together, [NOW] * WRITERS, store=store)

    def stores(folder: Path) -> tuple[Observations, Quarantine]:
        settings = make_settings(folder, store if folder == together else "")
        return OpenFeed(product.feed, settings).observations, OpenFeed(product.feed, settings).quarantine

    (one, refused_one), (other, refused) = stores(alone), stores(together)
    keys = other.table.read(columns=["valid_time", "location"])
    assert keys.num_rows == keys.group_by(["valid_time", "location"]).aggregate([]).num_rows == 120 * 4 - 1
    assert other.digest() == one.digest()
    assert sorted(refused.read()["id"].to_pylist()) == sorted(refused_one.read()["id"].to_pylist())
    assert refused.read().num_rows == 1
    # What each reports as added was added by it alone.
    assert sum(result["added"] for result in results) == expected.added
    assert all(result["revised"] == 0 for result in results)
    shared = make_settings(together, store)
    assert len(list(Receipts(FeedLayout.of(product.feed, shared).receipts))) == 4
    assert jobs.ingest(Workspace(product, shared), at=NOW + DAY).payloads == 0


def test_four_processes_with_clocks_of_their_own_load_one_window_once(product: Product, tmp_path: Path) -> None:
    home = tmp_path / "home"
    instants = [NOW + n * DAY for n in range(WRITERS)]
    results = ingest_at_once(product, home, instants, NOW - 100 * DAY, NOW - 50 * DAY)
    store = OpenFeed(product.feed, make_settings(home)).observations
    rows = store.table.read(columns=["valid_time", "location"])
    assert rows.num_rows == rows.group_by(["valid_time", "location"]).aggregate([]).num_rows
    assert rows.num_rows == sum(result["added"] for result in results)
    read = store.read()
    delay = product.feed.delay
    due = [valid + delay for valid in read["valid_time"].to_pylist()]
    assert read["known_at"].to_pylist() == due  # all of it is history, whoever came first
