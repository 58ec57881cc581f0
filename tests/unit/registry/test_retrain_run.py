from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pytest

from models.base import Epoch
from pipeline.registry.retrain_run import LossLog
from pipeline.registry.tracking import TrackingError

Series = Mapping[str, Sequence[tuple[int, float]]]


class FakeRun:
    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.calls, self.logged = fails, 0, {}  # type: ignore[var-annotated]

    def log_metrics(self, series: Series) -> None:
        self.calls += 1
        if self.fails:
            raise TrackingError("MLflow at http://tracking: connection refused")
        for name, points in series.items():
            self.logged.setdefault(name, []).extend(points)


def test_the_losses_of_each_fit_are_metrics_by_epoch() -> None:
    run = FakeRun()
    losses = LossLog(run)  # type: ignore[arg-type]
    losses.add("blend, fold 2 of 4", Epoch(1, 2, 0.5, 0.6, 1.0))
    losses.add("blend, fold 2 of 4", Epoch(2, 2, 0.4, 0.7, 1.0))
    assert run.logged == {
        "blend/fold 2 of 4/train_loss": [(1, 0.5), (2, 0.4)],
        "blend/fold 2 of 4/validation_loss": [(1, 0.6), (2, 0.7)],
    }


def test_a_lost_server_does_not_stop_the_training(caplog: pytest.LogCaptureFixture) -> None:
    run = FakeRun(fails=True)
    losses = LossLog(run)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        for number in (1, 2, 3):
            losses.add("blend", Epoch(number, 3, 0.5, 0.6, 1.0))
    assert run.calls == 1  # every attempt would wait for its retries
    assert [record.message for record in caplog.records] == [
        "MLflow at http://tracking: connection refused; the losses of this retrain are no longer logged"
    ]
