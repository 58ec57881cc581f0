"""The loop of a search: control first, inside the budget, hopeless trials stopped, every failure kept to its trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.base import Epoch
from models.errors import ModelError
from models.search_space import IntRange, SearchSpace
from pipeline.errors import UsageError
from pipeline.training.fit import TrainingError
from pipeline.training.search import run
from pipeline.training.search.run import Limits, search
from pipeline.training.search.scoring import OutOfTime, Scores, Watch
from pipeline.training.search.study import Study, Trial, open_study

SPACE: SearchSpace = {"lags": IntRange(1, 1000)}
PRESENT = {"lags": None}


class FakeScorer:
    """Scores options by a function; each fold takes so long by a clock of its own."""

    def __init__(self, clock: list[float], score: Callable[[Any], float], seconds: float = 1.0) -> None:
        self.clock, self.score_of, self.seconds = clock, score, seconds
        self.calls: list[tuple[Any, int]] = []

    def score(self, options: Any, watch: Watch, *, ends: float) -> Scores:
        scores: Scores = []
        self.calls.append((options["lags"], 0))
        for fold in range(3):
            if self.clock[0] + self.seconds > ends:
                self.clock[0] = ends
                raise OutOfTime
            self.clock[0] += self.seconds
            watch.on_epoch(fold, Epoch(1, 2, 1.0, 1.0, 0.0))
            watch.on_loss(fold, self.score_of(options["lags"]))
            scores.append(np.full(4, self.score_of(options["lags"])))
            self.calls[-1] = (options["lags"], fold + 1)
            watch.on_fold(scores)
        return scores


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with open_study(tmp_path / "s.journal", SPACE, seed=0, notes=[]) as opened:
        yield opened


def flat(lags: int | None) -> float:
    return 2.0 if lags is None else 2.0 - lags / 1000


def go(study: Study, scorer: FakeScorer, trials: int = 10, seconds: float = 1000.0, data: str = "d") -> Any:
    limits = Limits(trials, seconds, time.monotonic())
    return search(study, scorer, PRESENT, data, limits)  # type: ignore[arg-type]


def test_the_control_is_first_and_is_scored_once_for_the_same_data(study: Study, clock: list[float]) -> None:
    scorer = FakeScorer(clock, flat)
    numbers, ended = go(study, scorer, trials=3)
    assert (len(numbers), ended) == (3, "trials")
    assert scorer.calls[0] == (None, 3)
    control, *others = study.trials()
    assert control.control
    assert control.ratio == 1.0
    for one in others:
        assert one.ratio == pytest.approx(flat(one.options["lags"]) / 2)
    go(study, scorer, trials=2)
    assert [lags for lags, _ in scorer.calls].count(None) == 1


def test_on_other_data_the_control_and_the_best_so_far_come_first(study: Study, clock: list[float]) -> None:
    scorer = FakeScorer(clock, flat)
    go(study, scorer)
    best = min((one for one in study.trials() if one.ratio), key=lambda one: one.ratio or 0.0)
    scorer.calls.clear()
    numbers, _ = go(study, scorer, trials=3, data="next night")
    assert [lags for lags, _ in scorer.calls][:2] == [None, best.options["lags"]]
    assert [one.number for one in study.trials("next night")] == numbers


def test_what_was_no_better_than_the_control_is_not_tried_again(study: Study, clock: list[float]) -> None:
    worse = FakeScorer(clock, lambda lags: 2.0 if lags is None else 3.0)
    go(study, worse, trials=3)
    first = study.trials()[1].options
    go(study, worse, trials=2, data="next night")
    assert study.trials("next night")[1].options != first


def test_no_trial_begins_that_would_not_end_in_time(study: Study, clock: list[float]) -> None:
    """Each takes 3 s: three fit into 10 s, and the fourth does not begin."""
    numbers, ended = go(study, FakeScorer(clock, flat), trials=50, seconds=10.0)
    assert (len(numbers), ended) == (3, "budget")
    assert clock[0] <= 10.0


def test_a_trial_that_takes_longer_than_any_before_is_cut_short_within_the_margin(
    study: Study, clock: list[float]
) -> None:
    scorer = FakeScorer(clock, flat)

    def slower(lags: int | None) -> float:
        scorer.seconds = 1.0 if lags is None else 9.5
        return flat(lags)

    scorer.score_of = slower
    _, ended = go(study, scorer, trials=50, seconds=20.0)
    assert ended == "budget"
    assert clock[0] <= 1.15 * 20.0
    last = study.trials()[-1]
    assert (last.status, last.problem, last.cut_short) == ("failed", "the time of the search ended", True)


def test_a_budget_too_short_for_the_control_is_one_line(study: Study, clock: list[float]) -> None:
    with pytest.raises(UsageError, match="budget: 2 s are too short for a trial of the present options"):
        go(study, FakeScorer(clock, flat), seconds=2.0)
    assert study.trials()[0].cut_short
    go(study, FakeScorer(clock, flat), trials=1, seconds=10.0)
    assert study.trials()[1].status == "finished"


def test_hopeless_trials_are_stopped_after_the_first_loss_or_fold(study: Study, clock: list[float]) -> None:
    """The first four come to their end; of the later ones, what is above the median is soon stopped."""
    scorer = FakeScorer(clock, flat)
    go(study, scorer, trials=20)
    trials = study.trials()
    assert all(one.status == "finished" for one in trials[:4])
    stopped = [one for one in trials if one.status == "pruned"]
    assert len(stopped) >= 4
    folds = [done for lags, done in scorer.calls if lags in [one.options["lags"] for one in stopped]]
    assert max(folds) < 2
    assert folds.count(0) > len(folds) / 2
    best = max(trials[1:], key=lambda one: one.options["lags"])
    assert best.status == "finished"


def test_options_that_were_tried_are_not_scored_again_and_a_space_is_exhausted(
    tmp_path: Path, clock: list[float]
) -> None:
    with open_study(tmp_path / "s.journal", {"lags": IntRange(1, 4)}, seed=0, notes=[]) as study:
        scorer = FakeScorer(clock, lambda lags: 1.0)
        numbers, ended = go(study, scorer, trials=50)
        assert (len(numbers), ended) == (5, "space")
        assert sorted(lags for lags, _ in scorer.calls[1:]) == [1, 2, 3, 4]


@pytest.mark.parametrize("error", [ModelError("lags does not suit\nthe task"), MemoryError(), ZeroDivisionError("x")])
def test_a_trial_that_fails_says_why_and_the_others_go_on(study: Study, clock: list[float], error: Exception) -> None:
    def score(lags: int | None) -> float:
        if lags is not None and lags > 500:
            raise error
        return 1.0

    numbers, _ = go(study, FakeScorer(clock, score), trials=12)
    failed = [one for one in study.trials() if one.status == "failed"]
    assert len(numbers) == 12
    assert 0 < len(failed) < 11
    texts = {"lags does not suit", "MemoryError: MemoryError", "ZeroDivisionError: x"}
    assert {one.problem for one in failed} < texts


def test_present_options_that_cannot_be_scored_end_the_search(study: Study, clock: list[float]) -> None:
    def score(lags: int | None) -> float:
        raise ModelError("no memory")

    with pytest.raises(TrainingError, match="the present options cannot be scored: no memory"):
        go(study, FakeScorer(clock, score))


def test_a_fold_without_any_error_is_no_division_by_zero(study: Study, clock: list[float]) -> None:
    scorer = FakeScorer(clock, flat)

    def score(lags: int | None) -> float:
        return 0.0 if scorer.calls[-1][1] == 0 else flat(lags)  # in the first fold

    scorer.score_of = score
    go(study, scorer, trials=8)
    assert {one.status for one in study.trials()} <= {"finished", "pruned"}
    with pytest.raises(TrainingError, match="there is nothing to improve"):
        go(study, FakeScorer(clock, lambda lags: 0.0), data="dry")


def test_an_interrupt_ends_the_search_and_marks_the_trial(study: Study, clock: list[float]) -> None:
    def score(lags: int | None) -> float:
        if lags is not None:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        go(study, FakeScorer(clock, score))
    assert [(one.status, one.cut_short) for one in study.trials()] == [("finished", False), ("failed", True)]


def test_progress_names_trials_and_folds(study: Study, clock: list[float]) -> None:
    begun: list[Any] = []
    epochs: list[Any] = []
    search(
        study,
        FakeScorer(clock, flat),  # type: ignore[arg-type]
        PRESENT,
        "d",
        Limits(2, 100.0, 0.0),
        on_trial=lambda number, options: begun.append((number, options)),
        on_epoch=lambda label, epoch: epochs.append(label),
    )
    assert begun[0] == (1, "present options")
    assert begun[1][1] == f"lags {study.trials()[1].options['lags']}"
    assert epochs[:3] == ["trial 0, fold 1", "trial 0, fold 2", "trial 0, fold 3"]
    assert run.describe({"a": 1, "b": None}) == "a 1, b None"
    assert all(isinstance(one, Trial) for one in study.trials())
