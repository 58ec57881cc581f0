"""Forecast with fallbacks: from the champion on complete input down to climatology, always labelled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.base import Model
from models.errors import ModelError
from models.statistics.conformal import Recalibration
from pipeline.errors import ContractError
from pipeline.fallback_level import FallbackLevel
from pipeline.features.windows import IssueWindows
from pipeline.forecasting.notes import Note, NoteKind, describe_note
from pipeline.forecasting.serving import BundleStore
from pipeline.forecasting.serving_order import CHAMPION_SERVES, ServingModel, serving_models
from pipeline.registry.bundle import Fit
from pipeline.registry.standing import Standing
from pipeline.training.evaluate import check_task, contract_problems, predict_issue, recalibrate_issue
from pipeline.training.fit import REQUIRED_BASELINES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Forecast:
    """The forecast of the best fallback level that passed the output checks."""

    made_by: ServingModel
    quantiles: NDArray[np.float32]
    """(lead, target, location, quantile), physical units."""
    baseline_forecasts: dict[str, NDArray[np.float32]]
    """Forecasts of the baselines from the same input, by name; they are verified beside the published forecast."""
    notes: tuple[Note, ...]
    """Why better fallback levels were not used, and what was missing."""
    judged: NDArray[np.float32] | None = None
    """Forecast of the champion's judged fit, where its refit made the forecast; verification compares the two."""
    champion: NDArray[np.float32] | None = None
    """Forecast of the champion, where a baseline serves in its place; verification shows when it has recovered."""


@dataclass(frozen=True)
class InputState:
    """How complete and how recent the input of a forecast is."""

    age_steps: int | None
    """Steps from the newest frame with a value to the newest frame that is due; None when there is no value."""
    missing_locations: tuple[str, ...]
    """Locations without a value in the newest frame that is due."""
    complete: bool
    """Whether every value of the context is known."""
    missing_covariates: tuple[str, ...] = ()
    """Covariates without a value at any lead time; models forecast without them."""

    @property
    def fallback_level(self) -> FallbackLevel:
        """The best level that this input allows."""
        if self.age_steps is None:
            return FallbackLevel.CLIMATOLOGY
        if self.age_steps > 0:
            return FallbackLevel.CHAMPION_ON_STALE_INPUT
        gaps = not self.complete or self.missing_covariates
        return FallbackLevel.CHAMPION_WITH_GAPS if gaps else FallbackLevel.CHAMPION


def inspect_input(windows: IssueWindows) -> InputState:
    """Return the state of the input of the first window."""
    inputs = windows.inputs(np.array([0]))
    mask, covariate_mask = inputs.mask[0], inputs.future_covariates(windows.task)[1][0]
    known = mask.any(axis=(1, 2))
    age = int(np.argmax(known[::-1])) if known.any() else None
    missing_locations = np.array(windows.task.locations)[~mask[-1].any(axis=0)]
    missing_covariates = np.array(windows.task.covariates)[~covariate_mask.any(axis=(0, 2))]
    return InputState(age, tuple(missing_locations.tolist()), bool(mask.all()), tuple(missing_covariates.tolist()))


def forecast_with_fallbacks(
    windows: IssueWindows,
    state: InputState,
    bundles: BundleStore,
    fit_climatology: Callable[[], Model],
    input_notes: Sequence[Note] = (),
    standing: Standing = CHAMPION_SERVES,
) -> Forecast:
    """Return the forecast of the first window at the best fallback level that passes the output checks.

    Args:
        windows: One issue time.
        state: The state of its input.
        bundles: Where the bundles are.
        fit_climatology: Fits the emergency climatology, for a product that has no usable bundle.
        input_notes: Notes on the input, which the forecast gets too.
        standing: What serves according to the ledger.

    Raises:
        ContractError: not even climatology passes the output checks.
    """
    notes = list(input_notes)
    for option in serving_models(windows.issues[0], state.fallback_level, bundles, fit_climatology, standing):
        if isinstance(option, Note):
            notes.append(option)
            continue
        quantiles = _checked_forecast(
            option.model, option.recalibration, windows, failed="model_failed", broken="broke_contract"
        )
        if isinstance(quantiles, Note):
            notes.append(quantiles)
            continue
        if option.recalibration is not None and option.recalibration.horizon != windows.horizon:
            notes.append(Note("correction_left_out", (option.model.name,)))
        baselines, left_out = _forecast_baselines(option, windows)
        shadows = [_forecast_judged(option, windows), _forecast_champion(option, windows)]
        notes += [*left_out, *(one for one in shadows if isinstance(one, Note))]
        judged, shadow = (None if isinstance(one, Note) else one for one in shadows)
        return Forecast(option, quantiles, baselines, tuple(notes), judged, shadow)
    raise ContractError(f"no model passed the output checks: {'; '.join(map(describe_note, notes))}")


def _forecast_baselines(
    made_by: ServingModel, windows: IssueWindows
) -> tuple[dict[str, NDArray[np.float32]], tuple[Note, ...]]:
    """Return the forecasts of the baselines, without one that is the champion: it would be compared with itself."""
    source = made_by.source
    if source is None:
        return {}, ()
    serves = made_by.fallback_level <= FallbackLevel.CHAMPION_ON_STALE_INPUT
    champion = {made_by.model.name} & set(REQUIRED_BASELINES) if serves else set()
    forecasts, notes = {}, []
    for name in source.bundle.baselines:
        if name in champion:
            continue
        try:
            model = source.fit.baseline(name)
        except ModelError as error:
            notes.append(Note("baseline_left_out", (name,), error=str(error)))
            continue
        quantiles = _checked_forecast(
            model,
            source.fit.recalibration(name),
            windows,
            failed="baseline_left_out",
            broken="baseline_left_out",
        )
        if isinstance(quantiles, Note):
            notes.append(quantiles)
        else:
            forecasts[name] = quantiles
    return forecasts, tuple(notes)


def _forecast_judged(made_by: ServingModel, windows: IssueWindows) -> NDArray[np.float32] | Note | None:
    """Return the forecast of the fit that the gate judged; None where there is none beside the one that serves."""
    if made_by.source is None or made_by.judged or made_by.fallback_level > FallbackLevel.CHAMPION_ON_STALE_INPUT:
        return None
    judged = made_by.source.judged
    return None if judged == made_by.source.fit else _forecast_beside(judged, windows, "judged_left_out")


def _forecast_champion(made_by: ServingModel, windows: IssueWindows) -> NDArray[np.float32] | Note | None:
    """Return the forecast of the champion in whose place a baseline serves; None where there is none."""
    if made_by.in_place_of is None:
        return None
    return _forecast_beside(made_by.in_place_of, windows, "champion_left_out")


def _forecast_beside(fit: Fit, windows: IssueWindows, problem: NoteKind) -> NDArray[np.float32] | Note:
    """Return the forecast of a fit that is not published."""
    try:
        model = fit.challenger()
    except ModelError as error:
        return Note(problem, error=str(error))
    return _checked_forecast(model, fit.recalibration(), windows, failed=problem, broken=problem)


def _checked_forecast(
    model: Model, recalibration: Recalibration | None, windows: IssueWindows, *, failed: NoteKind, broken: NoteKind
) -> NDArray[np.float32] | Note:
    """Return the corrected quantiles of the first window, or a note when the model fails or breaks the contract."""
    try:
        quantiles = _forecast(model, windows)
    except ModelError as error:
        return Note(failed, (model.name,), error=str(error))
    problems = contract_problems(windows, quantiles)
    if problems:
        return Note(broken, (model.name,), error=problems[0])
    return recalibrate_issue(quantiles, recalibration, windows)


def _forecast(model: Model, windows: IssueWindows) -> NDArray[np.float32]:
    check_task(model, windows.task)
    try:
        return predict_issue(model, windows)
    except ModelError:
        raise
    except Exception as error:  # memory, a device, a library: the next fallback level forecasts, and a note says why
        log.exception("%s failed", model.name)
        raise ModelError(f"{type(error).__name__}: {error}") from error
