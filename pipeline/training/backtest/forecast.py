"""Forecast from one origin as the live system would have: train on what was known then, forecast issue by issue."""

from __future__ import annotations

import logging
import time
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.errors import ModelError
from models.statistics.conformal import Recalibration
from pipeline.features.snapshot import Snapshot
from pipeline.features.windows import IssueWindows
from pipeline.training.backtest.pieces import PieceForecasts
from pipeline.training.backtest.plan import Piece
from pipeline.training.budget import candidate_share
from pipeline.training.evaluate import contract_problems, predict_issue, recalibrate_issue
from pipeline.training.fit import OnEpoch, baseline_names, fit_model, ignore_epoch
from pipeline.training.fits import too_few_issue_times
from pipeline.training.folds import Folds
from pipeline.training.recalibration import score_recalibrated
from pipeline.training.refit import Refitter
from pipeline.training.verdict import describe_objection

log = logging.getLogger(__name__)


def forecast_piece(
    piece: Piece, training: Snapshot, folds: Folds, inputs: Snapshot, *, on_epoch: OnEpoch = ignore_epoch
) -> PieceForecasts:
    """Fit a model on what was known at the origin, and forecast every issue time of the piece.

    A forecast is made from what was known at its issue time, by the fit that a retrain at the origin would have put
    into service as champion: the refit, or the judged fit if that fails its checks. It is equal to the live one bit by
    bit, except that every fit starts from scratch, where the live system continues networks for some nights; that it
    uses the whole training window, where a live budget may allow a part; and that the model forecasts whatever the
    state of its input, where a fallback might serve. A model that cannot be fitted has no forecasts; neither has an
    issue time whose forecast fails or breaks the contract of forecasts.

    Args:
        piece: The model, the origin and its issue times.
        training: What was known at the origin.
        folds: Its folds.
        inputs: A later snapshot, from which the inputs are read as known at each issue time.
        on_epoch: Called after each epoch.
    """
    started = time.monotonic()
    windows = inputs.windows(piece.origin.issues, truth_at=piece.origin.at)
    shape = (windows.horizon, len(windows.task.targets), len(windows.task.locations), len(windows.task.quantile_levels))
    problems: list[str] = []
    try:
        model, recalibration = _fit(piece, training, folds, problems, on_epoch)
    except ModelError as error:
        log.warning("%s cannot be fitted at %s: %s", piece.model, _minute(piece.origin.at), error)
        return PieceForecasts(np.zeros((0, *shape), np.float32), time.monotonic() - started, str(error))
    quantiles = np.full((len(windows), *shape), np.nan, np.float32)
    for index, issue in enumerate(piece.origin.issues):
        try:
            quantiles[index] = _forecast(model, recalibration, windows, index)
        except ModelError as error:
            problems.append(f"no forecast for {_minute(issue)}: {error}")
    return PieceForecasts(quantiles, time.monotonic() - started, "; ".join(problems))


def _fit(
    piece: Piece, training: Snapshot, folds: Folds, problems: list[str], on_epoch: OnEpoch
) -> tuple[Model, Recalibration]:
    """Return the fit that would serve, and the correction that serves with it."""
    if piece.model not in baseline_names(grid=training.task.grid is not None):
        reason = too_few_issue_times(folds)
        if reason:
            raise ModelError(reason)
    plan = training.product.training
    seconds = candidate_share(plan.budget.total_seconds(), len(plan.candidates), folds) / len(folds.folds)
    judged = fit_model(piece.model, piece.recipe, training, folds, seconds=seconds, on_epoch=on_epoch)
    recalibration = score_recalibrated(judged.models, training, folds)[1].newest
    refit = Refitter(training, folds, {}, on_epoch=on_epoch).refit_checked(judged, seconds=seconds)
    if refit.model is not None and not refit.objections:
        return refit.model, recalibration
    problems.append(f"the judged fit forecasts: {'; '.join(map(describe_objection, refit.objections))}")
    return judged.model, recalibration


def _forecast(model: Model, recalibration: Recalibration, windows: IssueWindows, index: int) -> NDArray[np.float32]:
    quantiles = predict_issue(model, windows, index)
    for problem in contract_problems(windows, quantiles):
        raise ModelError(problem)
    return recalibrate_issue(quantiles, recalibration, windows, index)


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
