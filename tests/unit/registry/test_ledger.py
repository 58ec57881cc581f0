from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.registry.ledger import Action, Ledger
from pipeline.store.objects import open_store

AT = datetime(2002, 1, 1, tzinfo=UTC)


def _ledger(folder: Path, *rows: tuple[Action, int, int | None]) -> Ledger:
    ledger = Ledger(open_store(folder / "ledger"))
    for number, (action, version, previous) in enumerate(rows):
        # Instants go backwards: a replayed past is written later.
        at = AT - number * timedelta(days=1)
        ledger.write(action, at=at, version=version, previous=previous, who="me", why="so", key=f"k{number}")
    return ledger


def test_a_decision_is_kept_once(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path)
    for _ in range(2):
        ledger.write("promoted", at=AT, version=1, previous=None, who="gate", why="better", numbers="{}", key="a")
    (row,) = ledger.read()
    assert (row.number, row.at, row.action, row.version, row.previous) == (1, AT, "promoted", 1, None)
    assert (row.who, row.why, row.numbers, row.key) == ("gate", "better", "{}", "a")


def test_rows_are_read_in_the_order_of_writing_last_first(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path, ("promoted", 1, None), ("refused", 2, 1), ("promoted", 3, 1))
    assert [row.version for row in ledger.read()] == [3, 2, 1]


@pytest.mark.parametrize(
    ("rows", "current", "before"),
    [
        ([], 1, None),
        ([("promoted", 1, None)], 1, None),
        ([("promoted", 1, None), ("refused", 2, 1)], 1, None),
        ([("promoted", 1, None), ("promoted", 2, 1)], 2, 1),
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 3, 2)], 3, 2),
        # a second rollback goes further back, never forward to the version that was rolled back
        ([("promoted", 1, None), ("promoted", 2, 1), ("rollback", 1, 2)], 1, None),
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 3, 2), ("rollback", 2, 3)], 2, 1),
        # a version that serves for the second time was preceded by what it replaced
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 1, 2)], 1, 2),
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 1, 2), ("rollback", 2, 1)], 2, 1),
        # the version in service, promoted once more, is not what served before it
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 2, 2)], 2, 1),
        # a promotion in the ledger whose alias was never moved because the job was killed
        ([("promoted", 1, None), ("promoted", 2, 1), ("promoted", 3, 2)], 2, 1),
        # the alias was moved without the ledger
        ([("promoted", 1, None), ("promoted", 2, 1)], 7, None),
    ],
)
def test_a_rollback_leads_to_the_version_that_served_before(
    tmp_path: Path, rows: list[tuple[Action, int, int | None]], current: int, before: int | None
) -> None:
    assert _ledger(tmp_path, *rows).before(current) == before
