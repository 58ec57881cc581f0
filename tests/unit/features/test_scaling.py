"""Scaling is learnt from the training period: data known after the cut-off do not change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.catalogue import build
from pipeline.features.snapshot import Snapshot
from pipeline.times import as_numpy
from pipeline.training.folds import Folds, split
from pipeline.workspace import Workspace
from tests.world import end_of, fill, make_product, make_settings, take_snapshot

OPTIONS: dict[str, dict[str, Any]] = {
    "ridge-var": {},
    "attention-convlstm": {"hidden": 4, "size": 3, "frames": 3, "epochs": 1, "batch": 32},
}
SCALING = ("climate.basis", "climate.mean", "climate.spread", "climate.floor")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, Folds]:
    folder = tmp_path_factory.mktemp("scaling")
    product, settings = make_product(folder, stations=3, days=320), make_settings(folder)
    fill(product, settings)
    snapshot = take_snapshot(Workspace(product, settings), known_by=end_of(product))
    return snapshot, split(snapshot)


def poisoned(snapshot: Snapshot, known: NDArray[np.bool_]) -> Snapshot:
    """The snapshot with other values in some cells (time, location)."""
    frames = snapshot.frames
    first = np.where(known[:, None], np.float32(90) - frames.first, frames.first)
    return replace(snapshot, frames=replace(frames, first=first, summary=None))


def later(snapshot: Snapshot, instant: datetime) -> NDArray[np.bool_]:
    return np.asarray(snapshot.frames.known_at > as_numpy(instant).astype(np.int64))


def state(name: str, snapshot: Snapshot, folds: Folds) -> dict[str, NDArray[Any]]:
    model = build(name, snapshot.task, **OPTIONS[name])
    model.fit(folds.newest.windows(snapshot, "train"), folds.newest.windows(snapshot, "validation"), seed=0)
    return model.state()


def scaling(state: dict[str, NDArray[Any]]) -> dict[str, bytes]:
    found = {name: array.tobytes() for name, array in state.items() if name.removeprefix("base.") in SCALING}
    assert len(found) == len(SCALING)
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_known_after_the_training_cut_off_changes_the_scaling(world: tuple[Snapshot, Folds], name: str) -> None:
    snapshot, folds = world
    after = later(snapshot, folds.newest.validation[0])
    assert after.any()
    assert not after.all()
    honest = state(name, snapshot, folds)
    changed = state(name, poisoned(snapshot, after), folds)
    assert scaling(changed) == scaling(honest)
    # The test can fail: the validation values did reach the model, and one training value does change the scaling.
    assert any(changed[key].tobytes() != honest[key].tobytes() for key in honest)
    early = np.zeros_like(after)
    early[40, 1] = True
    assert scaling(state(name, poisoned(snapshot, early), folds)) != scaling(honest)


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_known_after_validation_changes_the_model_at_all(world: tuple[Snapshot, Folds], name: str) -> None:
    snapshot, folds = world
    honest = state(name, snapshot, folds)
    changed = state(name, poisoned(snapshot, later(snapshot, folds.newest.holdout[0])), folds)
    assert {key: array.tobytes() for key, array in changed.items()} == {
        key: array.tobytes() for key, array in honest.items()
    }
