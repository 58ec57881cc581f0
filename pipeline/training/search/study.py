"""A study: the trials of all searches for options of one recipe, and what to try next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from models.search_space import Choice, FloatRange, IntRange, Range, SearchSpace, within
from pipeline.training.search.storage import INTERRUPTED, NAME, open_journal

Status = Literal["finished", "pruned", "failed"]

TIME_ENDED = "the time of the search ended"
FEWEST_PRUNED = 4
"""Earlier trials that must have come as far before one is stopped."""
FEWEST_IMPORTANCE = 10
"""Finished trials from which the importance of options is estimated."""
_DIGITS = 3
"""Significant digits of a number that is tried, so that what is written into a product file is what was scored."""


@dataclass(frozen=True)
class Trial:
    """One set of options and how it scored."""

    number: int
    status: Status
    data: str
    """Digest of the data and the folds that it was scored on."""
    control: bool
    """Whether it has the present options of the product."""
    options: Mapping[str, Any]
    """The searched options; of the control, those that are in the space."""
    ratio: float | None = None
    """Mean score relative to that of the control on the same data; None unless it is finished."""
    scores: tuple[NDArray[np.float64], ...] = ()
    """Of each fold, the score of each issue time; empty unless it is finished."""
    losses: tuple[float, ...] = ()
    """Validation loss of each fold in the middle of training; NaN where there was none."""
    seconds: float = 0.0
    problem: str = ""
    """Why it failed."""

    @property
    def cut_short(self) -> bool:
        """Whether it ended for a reason that says nothing about its options."""
        return self.problem in (INTERRUPTED, TIME_ENDED)

    @property
    def by_issue(self) -> NDArray[np.float64]:
        """The score of each issue time of all folds, NaN where the truth is unknown: (issue,)."""
        return np.concatenate(self.scores)


class MedianOfStep(BasePruner):
    """Stops a trial whose latest value is above the median of earlier trials at the same step.

    Optuna's MedianPruner compares the best value so far, which would mix validation losses with scores.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether to stop."""
        step = trial.last_step
        if step is None:
            return False
        others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        values = [one.intermediate_values[step] for one in others if step in one.intermediate_values]
        return len(values) >= FEWEST_PRUNED and trial.intermediate_values[step] > median(values)


@dataclass
class Study:
    """The trials of a recipe over one space, as they are stored.

    Args:
        study: Optuna's study.
        space: The options to search.
        seed: Seed of the sampler. What it draws depends on the seed and the number of the trial alone and on the
            trials before, so a search that was interrupted goes on as it would have.
    """

    study: optuna.Study
    space: SearchSpace
    seed: int
    _cache: dict[int, Trial] = field(default_factory=dict)

    def trials(self, data: str | None = None) -> list[Trial]:
        """Return the trials that have ended, oldest first; with `data`, those on the same data."""
        for one in self.study.get_trials(deepcopy=False):
            if one.number not in self._cache and one.state.is_finished():
                self._cache[one.number] = _trial(one)
        ended = [self._cache[number] for number in sorted(self._cache)]
        return [one for one in ended if data is None or one.data == data]

    def ask(
        self, data: str, options: Mapping[str, Any] | None = None, *, control: bool = False, at_random: bool = False
    ) -> Asked:
        """Begin a trial: of the given options, or of others that look promising or are drawn at random."""
        number = len(self.study.get_trials(deepcopy=False))
        kind = optuna.samplers.RandomSampler if at_random else optuna.samplers.TPESampler
        self.study.sampler = kind(seed=_derived_seed(self.seed, number))
        space = self.space
        if options is not None:
            known = within(self.space, options)
            space = {name: self.space[name] for name in known}
            self.study.enqueue_trial(known)
        trial = self.study.ask({name: _distribution(allowed) for name, allowed in space.items()})
        trial.set_user_attr("data", data)
        trial.set_user_attr("control", control)
        drawn = {name: _rounded(value) for name, value in trial.params.items()}
        chosen = drawn if options is None else dict(options)
        trial.set_user_attr("options", chosen)
        return Asked(self.study, trial, chosen)

    def importance(self) -> dict[str, float]:
        """Return the share of each option in the differences between finished trials; empty if there are too few.

        By PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255).
        """
        finished = [
            one
            for one in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if one.params.keys() == self.space.keys()
        ]
        if len(finished) < FEWEST_IMPORTANCE or len({one.value for one in finished}) < 2:
            return {}
        complete = optuna.create_study()
        complete.add_trials(finished)
        return dict(optuna.importance.get_param_importances(complete))


@dataclass(frozen=True)
class Asked:
    """A trial that is running."""

    study: optuna.Study
    trial: optuna.Trial
    options: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Number of the trial in the study."""
        return self.trial.number

    def hopeless(self, step: int, value: float) -> bool:
        """Record a value, relative to the control, and return whether the trial is to be stopped."""
        if not np.isfinite(value):
            return False
        self.trial.report(value, step)
        return self.trial.should_prune()

    def finish(self, ratio: float, scores: list[NDArray[np.float64]], losses: list[float], seconds: float) -> None:
        """Store the scores of a trial that has come to its end."""
        self.trial.set_user_attr("scores", [[_plain(value) for value in fold.tolist()] for fold in scores])
        self.trial.set_user_attr("losses", [_plain(value) for value in losses])
        self.trial.set_user_attr("seconds", seconds)
        self.study.tell(self.trial, ratio)

    def stop(self, seconds: float) -> None:
        """Store that the trial was stopped because it was hopeless."""
        self.trial.set_user_attr("seconds", seconds)
        self.study.tell(self.trial, state=TrialState.PRUNED)

    def fail(self, problem: str, seconds: float) -> None:
        """Store that the trial has no result."""
        self.trial.set_user_attr("problem", problem)
        self.trial.set_user_attr("seconds", seconds)
        self.study.tell(self.trial, state=TrialState.FAIL)


@contextmanager
def open_study(file: Path, space: SearchSpace, *, seed: int, notes: list[str]) -> Iterator[Study]:
    """Open the study in a file, made on first use; see `open_journal` for what may be noted or raised."""
    with open_journal(file, notes) as storage:
        study = optuna.create_study(
            storage=storage, study_name=NAME, direction="minimize", load_if_exists=True, pruner=MedianOfStep()
        )
        yield Study(study, space, seed)


def _trial(stored: FrozenTrial) -> Trial:
    attributes = stored.user_attrs
    states: dict[TrialState, Status] = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}
    return Trial(
        number=stored.number,
        status=states.get(stored.state, "failed"),
        data=attributes.get("data", ""),
        control=attributes.get("control", False),
        options=attributes.get("options", {}),
        ratio=stored.value if stored.state == TrialState.COMPLETE else None,
        scores=tuple(np.array(fold, np.float64) for fold in attributes.get("scores", ())),
        losses=tuple(float("nan") if value is None else value for value in attributes.get("losses", ())),
        seconds=attributes.get("seconds", 0.0),
        problem=attributes.get("problem", ""),
    )


def _distribution(allowed: Range) -> BaseDistribution:
    match allowed:
        case IntRange(low, high, step, log):
            return IntDistribution(low, high, log=log, step=step)
        case FloatRange(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(values)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _derived_seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4])
