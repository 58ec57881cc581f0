"""One search: the present options first, then others, until the trials or the time are used up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.base import Epoch
from models.errors import ModelError, first_line
from pipeline.errors import UsageError
from pipeline.training.fit import OnEpoch, TrainingError, ignore_epoch
from pipeline.training.search.scoring import OutOfTime, Scorer, Scores, Watch
from pipeline.training.search.storage import INTERRUPTED
from pipeline.training.search.study import TIME_ENDED, Asked, Study, Trial

log = logging.getLogger(__name__)

End = Literal["trials", "budget", "space"]
OnTrial = Callable[[int, str], None]
"""Called with the number of trials begun by this search, and the options of the one that begins."""

MOST_REPEATS = 30
"""Options drawn in a row that were tried before, from which on the space counts as exhausted."""
OVERRUN = 0.1
"""Fraction of the budget by which a trial that has begun may exceed it."""


def ignore_trial(number: int, options: str) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Limits:
    """What a search may use.

    Attributes:
        trials: number of trials to begin, with the control.
        seconds: time from `began` on.
        began: `time.monotonic` at the start.
    """

    trials: int
    seconds: float
    began: float

    def allows(self, seconds: float) -> bool:
        """Return whether a trial that takes so long can end within the budget."""
        return time.monotonic() + seconds <= self.began + self.seconds

    @property
    def ends(self) -> float:
        """`time.monotonic` at which a trial that has begun must have ended."""
        return self.began + (1 + OVERRUN) * self.seconds


class _HopelessError(Exception):
    """A trial is to be stopped."""


def search(
    study: Study,
    scorer: Scorer,
    present: Mapping[str, Any],
    data: str,
    limits: Limits,
    *,
    on_trial: OnTrial = ignore_trial,
    on_epoch: OnEpoch = ignore_epoch,
) -> tuple[list[int], End]:
    """Try options, and return the numbers of the trials that this search began, and what ended it.

    The first trial has the present options, unless they were scored on the same data before. All scores are relative
    to theirs, so trials on other data, of earlier searches, guide the choice of the next options; the best of them is
    tried again before new ones. No trial begins that would not end in time, judged by the longest of those that did.

    Args:
        study: The trials so far.
        scorer: Scores options on the inner folds.
        present: The present value of each option of the space.
        data: Digest of the data and the folds.
        limits: Trials and time.
        on_trial: Called when a trial begins.
        on_epoch: Called after each epoch.

    Raises:
        TrainingError: the present options cannot be fitted.
        UsageError: the time is too short for the first trial.
    """
    one = _Search(study, scorer, data, limits, on_trial, on_epoch)
    control = one.control() or one.try_control(present)
    if not _mean(control.scores):
        raise TrainingError("the present options forecast every scored value exactly: there is nothing to improve")
    again, repeats = one.best_of_other_data(), 0
    while len(one.numbers) < limits.trials:
        if not limits.allows(one.longest()):
            return one.numbers, "budget"
        new = one.try_options(control, again, at_random=repeats > 0)
        again, repeats = None, 0 if new else repeats + 1
        if repeats == MOST_REPEATS:
            return one.numbers, "space"
    return one.numbers, "trials"


class _Search:
    def __init__(
        self, study: Study, scorer: Scorer, data: str, limits: Limits, on_trial: OnTrial, on_epoch: OnEpoch
    ) -> None:
        self._study, self._scorer, self._data, self._limits = study, scorer, data, limits
        self._on_trial, self._on_epoch = on_trial, on_epoch
        self.numbers: list[int] = []

    def control(self) -> Trial | None:
        """Return the control on this data, if it has been scored."""
        return next((one for one in self._finished() if one.control), None)

    def longest(self) -> float:
        """Return the duration of the longest trial on this data that came to its end."""
        return max(one.seconds for one in self._finished())

    def best_of_other_data(self) -> Mapping[str, Any] | None:
        """Return the best options of other data, if they were better than the control and are new on this data."""
        tried = [one.options for one in self._study.trials(self._data) if not one.cut_short]
        others = [one for one in self._study.trials() if one.ratio is not None and one.options not in tried]
        best = min(others, key=lambda one: one.ratio or 0.0, default=None)
        return best.options if best is not None and best.ratio is not None and best.ratio < 1 else None

    def try_control(self, present: Mapping[str, Any]) -> Trial:
        """Score the present options."""
        began = time.monotonic()
        self._score(self._study.ask(self._data, present, control=True), None)
        (trial,) = (one for one in self._study.trials(self._data) if one.number == self.numbers[-1])
        if trial.problem == TIME_ENDED:
            raise UsageError(
                f"budget: {self._limits.seconds:.0f} s are too short for a trial of the present options, which was not "
                f"finished after {time.monotonic() - began:.0f} s; allow several times as much"
            )
        if trial.status != "finished":
            raise TrainingError(f"the present options cannot be scored: {trial.problem}")
        return trial

    def try_options(self, control: Trial, options: Mapping[str, Any] | None, *, at_random: bool) -> bool:
        """Score these options or others, and return whether they are new on this data; equal ones are not repeated."""
        asked = self._study.ask(self._data, options, at_random=at_random)
        tried = (one for one in self._study.trials(self._data) if not one.cut_short)
        twin = next((one for one in tried if one.options == asked.options), None)
        if twin is not None:
            asked.fail(f"repeats trial {twin.number}", 0.0)
            return False
        self._score(asked, control)
        return True

    def _finished(self) -> list[Trial]:
        return [one for one in self._study.trials(self._data) if one.status == "finished"]

    def _score(self, asked: Asked, control: Trial | None) -> None:
        began = time.monotonic()
        self.numbers.append(asked.number)
        self._on_trial(len(self.numbers), "present options" if control is None else describe(asked.options))
        losses: list[float] = []
        folds = len(control.scores) if control else 0

        def on_loss(fold: int, loss: float) -> None:
            losses.extend([float("nan")] * (fold - len(losses)) + [loss])
            reference = control.losses[fold] if control and fold < len(control.losses) else loss
            if asked.hopeless(2 * fold, _ratio(loss, reference)) and control:
                raise _HopelessError

        def on_fold(scores: Scores) -> None:
            ratio = _ratio(_mean(scores), _mean(control.scores[: len(scores)])) if control else 1.0
            if asked.hopeless(2 * len(scores) - 1, ratio) and control and len(scores) < folds:
                raise _HopelessError

        def report(fold: int, epoch: Epoch) -> None:
            self._on_epoch(f"trial {asked.number}, fold {fold + 1}", epoch)

        try:
            scores = self._scorer.score(asked.options, Watch(on_loss, on_fold, report), ends=self._limits.ends)
        except _HopelessError:
            asked.stop(time.monotonic() - began)
        except OutOfTime:
            asked.fail(TIME_ENDED, time.monotonic() - began)
        except Exception as error:  # whatever is wrong with one trial, the others go on
            known = isinstance(error, ModelError)
            log.warning("trial %d failed: %s", asked.number, error, exc_info=not known)
            reason = first_line(error)
            asked.fail(reason if known else f"{type(error).__name__}: {reason}", time.monotonic() - began)
        except BaseException:
            asked.fail(INTERRUPTED, time.monotonic() - began)
            raise
        else:
            ratio = _mean(scores) / _mean(control.scores) if control else 1.0
            asked.finish(ratio, scores, losses, time.monotonic() - began)


def describe(options: Mapping[str, Any]) -> str:
    """Return options in one line."""
    return ", ".join(f"{name} {value}" for name, value in options.items())


def _ratio(value: float, reference: float) -> float:
    """Return NaN where the reference is not positive, as after a fold without rain."""
    return value / reference if reference > 0 else float("nan")


def _mean(scores: Scores | tuple[Any, ...]) -> float:
    return float(np.nanmean(np.concatenate(scores)))
