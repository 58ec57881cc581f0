"""The journal of a study: kills, damage and two searches at once."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.search_space import FloatRange, IntRange, SearchSpace
from pipeline.errors import StoreError, UsageError
from pipeline.training.search.study import Study, Trial, open_study

SPACE: SearchSpace = {"lags": IntRange(1, 9), "rate": FloatRange(1e-4, 1e-2, log=True)}


def fill(file: Path, trials: int) -> list[Trial]:
    with open_study(file, SPACE, seed=0, notes=[]) as study:
        for number in range(trials):
            study.ask("data").finish(1 - number / 100, [], [], 1.0)
        return study.trials()


def reopen(file: Path) -> tuple[list[Trial], list[str]]:
    notes: list[str] = []
    with open_study(file, SPACE, seed=0, notes=notes) as study:
        return study.trials(), notes


def test_a_study_is_read_again_as_it_was(tmp_path: Path) -> None:
    before = fill(tmp_path / "s.journal", 3)
    assert reopen(tmp_path / "s.journal") == (before, [])


def test_a_trial_whose_process_was_killed_is_marked_as_failed(tmp_path: Path) -> None:
    """The child is killed in its second trial, with Optuna's own lock left behind."""
    file = tmp_path / "s.journal"
    if (child := os.fork()) == 0:
        with open_study(file, SPACE, seed=0, notes=[]) as study:
            study.ask("data").finish(1.0, [], [], 1.0)
            study.ask("data", {"lags": 3})
            file.with_name(f"{file.name}.lock").symlink_to(file)
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    trials, notes = reopen(file)
    assert [(one.status, one.problem) for one in trials] == [
        ("finished", ""),
        ("failed", "interrupted before it was finished"),
    ]
    assert trials[1].cut_short
    assert notes == []


def test_a_trial_that_was_only_planned_is_marked_as_failed_too(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    with open_study(file, SPACE, seed=0, notes=[]) as study:
        study.study.enqueue_trial({"lags": 3})
    assert [one.status for one in reopen(file)[0]] == ["failed"]


@given(cut=st.integers(0, 10_000))
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_a_journal_ends_its_beginning_goes_on(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "s.journal"
    if not (tmp_path / "whole").exists():
        fill(file, 3)
        (tmp_path / "whole").write_bytes(file.read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    torn = whole[: cut % (len(whole) + 1)]
    file.write_bytes(torn)
    aside = set(tmp_path.glob("*.damaged-*"))
    trials, notes = reopen(file)
    complete = torn.endswith(b"\n") or not torn
    assert (notes == []) == complete
    finished = [one for one in trials if one.status == "finished"]
    assert [one.ratio for one in finished] == [1.0, 0.99, 0.98][: len(finished)]
    new = set(tmp_path.glob("*.damaged-*")) - aside
    assert len(new) == (0 if complete else 1)
    for one in new:
        assert one.read_bytes() == torn
        assert one.name in notes[0]
    assert reopen(file) == (trials, [])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (b"\x00\xff\xfe garbage\n", "line 3 is not complete JSON"),
        (b"[1, 2]\n", "line 3 is not complete JSON"),
        (b'{"no": "operation"}\n', "KeyError: "),
    ],
)
def test_a_damaged_journal_is_set_aside_and_named(
    tmp_path: Path, damage: bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "s.journal"
    fill(file, 2)
    lines = file.read_bytes().splitlines(keepends=True)
    content = b"".join([*lines[:2], damage, *lines[2:]])
    file.write_bytes(content)
    trials, (note,) = reopen(file)
    assert all(one.cut_short for one in trials)  # what is left is at most the beginning of the first trial
    assert (tmp_path / "s.journal.damaged-1").read_bytes() == content
    assert note.startswith(f"study {file} is damaged, ")
    assert "\n" not in note
    assert problem in note
    assert note in caplog.text
    assert fill(file, 1)[-1].status == "finished"


def test_only_one_search_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    with (
        open_study(file, SPACE, seed=0, notes=[]),
        pytest.raises(UsageError, match=r"another search is running on .*s\.journal"),
        open_study(file, SPACE, seed=0, notes=[]),
    ):
        pass
    assert reopen(file)[1] == []


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"study .*s\.journal: File exists"), _open(tmp_path / "file" / "s.journal"):
        pass

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="No locks available"), _open(tmp_path / "s.journal"):
        pass


def _open(file: Path) -> AbstractContextManager[Study]:
    return open_study(file, SPACE, seed=0, notes=[])


def test_a_score_that_is_unknown_is_stored_as_null(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    with _open(file) as study:
        study.ask("data").finish(1.0, [np.array([0.5, np.nan]), np.array([1.0])], [float("nan"), 0.25], 2.5)
    ((trial,), _) = reopen(file)
    np.testing.assert_array_equal(trial.by_issue, [0.5, np.nan, 1.0])
    np.testing.assert_array_equal(trial.losses, [np.nan, 0.25])
    assert trial.seconds == 2.5
    for line in file.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(name))
