"""Repair of a damaged table. tests/faults/test_store_damage.py has every kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.store.delta.repair import RepairStep
from pipeline.store.delta.table import Table
from pipeline.store.objects import open_store
from tests.tables import append_each, folder, open_table, reopen, rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return open_table(open_store(tmp_path / "table"))


def lose(table: Table, *versions: int) -> None:
    """Replace some commits and their records by torn files."""
    for version in versions:
        for name in ("_delta_log", "_manifest/commits"):
            (folder(table) / name / f"{version:020}.json").write_bytes(b"torn")


def test_a_step_is_described_in_one_sentence() -> None:
    step = RepairStep("commit 3", "restored", ("_manifest/aside/x",))
    assert str(step) == "commit 3 was restored from its record; damaged files were moved to _manifest/aside/x"
    assert str(RepairStep("commit 4", "lost", ())) == "commit 4 is lost; no file was left of it"


def test_the_number_of_a_lost_version_is_never_reused(table: Table) -> None:
    append_each(table, 1, 2, 3, 4)
    lose(table, 3, 4)
    repaired = reopen(table)
    (step,) = repaired.repair()
    assert (step.subject, step.outcome, len(step.moved_to)) == ("every commit from 3 to 4", "lost", 4)
    assert (repaired.version, repaired.read()["key"].to_pylist(), repaired.verify()) == (4, [1, 2], [])
    repaired.append(lambda _: rows(5))
    assert repaired.version == 5
    assert sorted(reopen(table).read()["key"].to_pylist()) == [1, 2, 5]
    repaired.checkpoint()
    assert (reopen(table).fault, reopen(table).repair()) == (None, ())
    assert reopen(table).version == 5


def test_a_repair_that_was_killed_before_it_skipped_used_versions_can_be_repeated(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_each(table, 1, 2, 3)
    lose(table, 3)

    class KilledError(Exception):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.delta.repair._skip_used_versions", kill)
        with pytest.raises(KilledError):
            reopen(table).repair()
    assert reopen(table).version == 2
    assert reopen(table).repair() == ()
    assert reopen(table).version == 3


@pytest.mark.parametrize("damaged", ["commit", "data"])
def test_before_loss_is_called_before_rows_are_removed(table: Table, damaged: str) -> None:
    append_each(table, 1, 2, 3)
    if damaged == "commit":
        lose(table, 3)
    else:
        min(folder(table).glob("*.parquet")).write_bytes(b"torn")
    seen: list[dict[str, bytes]] = []

    def before_loss() -> None:
        seen.append({path.name: path.read_bytes() for path in folder(table).glob("_delta_log/*")})

    before = {path.name: path.read_bytes() for path in folder(table).glob("_delta_log/*")}
    assert [step.outcome for step in reopen(table).repair(before_loss)] == ["lost"]
    assert seen == [before]
    assert reopen(table).repair(before_loss) == ()
    assert len(seen) == 1
