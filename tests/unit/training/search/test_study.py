"""What a study tries next, when it stops a trial, and what it remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from models.search_space import Choice, FloatRange, IntRange, SearchSpace
from pipeline.training.search.results import snippet
from pipeline.training.search.study import Study, Trial, open_study

SPACE: SearchSpace = {
    "hidden": IntRange(8, 64, step=8),
    "rate": FloatRange(1e-4, 1e-2, log=True),
    "kind": Choice(("none", "multi-head")),
    "memory": Choice((False, True)),
}


def draw(file: Path, trials: int, *, seed: int = 0) -> list[Any]:
    """Return the options of trials that end with a score that depends on them."""
    drawn = []
    with open_study(file, SPACE, seed=seed, notes=[]) as study:
        for _ in range(trials):
            asked = study.ask("data")
            asked.finish(1 + asked.options["hidden"] / 100 + asked.options["memory"], [], [], 1.0)
            drawn.append(dict(asked.options))
    return drawn


def test_options_lie_in_the_space_and_are_written_as_they_are_tried(tmp_path: Path) -> None:
    for options in draw(tmp_path / "s.journal", 8):
        assert options.keys() == SPACE.keys()
        assert all(value in SPACE[name] for name, value in options.items())
        assert f"{options['rate']:.3g}" == f"{options['rate']:.17g}".rstrip("0") or len(repr(options["rate"])) <= 8
        text = snippet("gru", {"base": "climatology", **options})
        assert yaml.safe_load(text) == {"training": {"options": {"gru": {"base": "climatology", **options}}}}


def test_a_search_that_was_interrupted_goes_on_as_it_would_have(tmp_path: Path) -> None:
    whole = draw(tmp_path / "a.journal", 14)
    assert draw(tmp_path / "b.journal", 5) + draw(tmp_path / "b.journal", 9) == whole
    assert draw(tmp_path / "c.journal", 3, seed=1) != whole[:3]
    assert len({str(one) for one in whole}) > 10


def test_the_control_keeps_values_outside_the_space(tmp_path: Path) -> None:
    present = {"hidden": 12, "rate": 0.005, "kind": None, "memory": True}
    with open_study(tmp_path / "s.journal", SPACE, seed=0, notes=[]) as study:
        asked = study.ask("data", present, control=True)
        assert asked.options == present
        asked.finish(1.0, [np.ones(3)], [], 1.0)
        assert study.ask("data").options.keys() == SPACE.keys()
        (trial,) = study.trials("data")
        assert trial.control
        assert trial.options == present
        assert study.trials("other data") == []


@pytest.mark.parametrize(("latest", "stopped"), [(1.01, True), (0.99, False), (float("nan"), False)])
def test_a_trial_above_the_median_of_the_step_is_stopped(tmp_path: Path, latest: float, stopped: bool) -> None:
    """Others had 0.98 to 1.02 at step 1, and lower values at step 0; a low value at step 0 saves nobody at step 1."""
    with open_study(tmp_path / "s.journal", SPACE, seed=0, notes=[]) as study:
        for number, value in enumerate((0.98, 0.99, 1.0, 1.01, 1.02)):
            asked = study.ask("data")
            assert not asked.hopeless(0, 0.5)
            assert asked.hopeless(1, value) == (number == 4)
            asked.finish(value, [], [], 1.0)
        asked = study.ask("data")
        assert not asked.hopeless(0, 0.5)
        assert asked.hopeless(1, latest) == stopped
        asked.stop(0.5)
        assert study.trials()[-1].status == "pruned"
        assert study.trials()[-1].ratio is None


def test_importance_needs_enough_trials(tmp_path: Path) -> None:
    file = tmp_path / "s.journal"
    draw(file, 9)
    with open_study(file, SPACE, seed=0, notes=[]) as study:
        study.ask("data", {"hidden": None, "rate": None, "kind": "none", "memory": True}, control=True).finish(
            1.0, [], [], 1.0
        )
        assert study.importance() == {}
    draw(file, 20)
    with open_study(file, SPACE, seed=0, notes=[]) as study:
        found = study.importance()
    assert found.keys() == SPACE.keys()
    assert sum(found.values()) == pytest.approx(1)
    assert {name for name, share in found.items() if share > 0.1} <= {"memory", "hidden"}


def test_equal_scores_have_no_importance(tmp_path: Path) -> None:
    with open_study(tmp_path / "s.journal", SPACE, seed=0, notes=[]) as study:
        for _ in range(12):
            study.ask("data").finish(1.0, [], [], 1.0)
        assert study.importance() == {}
        assert isinstance(study, Study)
        assert all(isinstance(one, Trial) for one in study.trials())
