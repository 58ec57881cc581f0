"""Forecast with fallbacks: from the champion on complete input down to climatology, always labelled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.forecasts import check_forecast
from models.base import Model
from models.errors import ModelError
from pipeline.errors import ContractError
from pipeline.fallback_level import FallbackLevel
from pipeline.features.windows import IssueWindows
from pipeline.forecasting.serving import BundleStore
from pipeline.registry.bundle import Bundle
from pipeline.training.evaluate import predict_published

log = logging.getLogger(__name__)
CLIMATOLOGY = "climatology"


@dataclass(frozen=True)
class Candidate:
    """A model that may serve, and the fallback level it serves at."""

    fallback_level: FallbackLevel
    model: Model
    version: int | None
    digest: str


@dataclass(frozen=True)
class Forecast:
    """The forecast of the best fallback level that passed the output checks."""

    candidate: Candidate
    quantiles: NDArray[np.float32]
    """(lead, target, location, quantile), physical units."""
    shadows: dict[str, NDArray[np.float32]]
    """Baselines on the same input, by name; they are verified beside the published forecast."""
    notes: tuple[str, ...]
    """Why better fallback levels were not used, and which covariates are missing."""


@dataclass(frozen=True)
class InputState:
    """What is known of the context at an issue time."""

    age_steps: int | None
    """Steps from the newest frame with a value to the frame that should be the newest; None when there is no value."""
    missing: tuple[str, ...]
    """Locations without a value in the frame that should be the newest."""
    complete: bool
    untold: tuple[str, ...] = ()
    """Covariates of which nothing is known for the times to come; models do without them."""

    @property
    def fallback_level(self) -> FallbackLevel:
        """The best level that this input allows."""
        if self.age_steps is None:
            return FallbackLevel.CLIMATOLOGY
        if self.age_steps > 0:
            return FallbackLevel.CHAMPION_ON_STALE_INPUT
        gaps = not self.complete or self.untold
        return FallbackLevel.CHAMPION_WITH_GAPS if gaps else FallbackLevel.CHAMPION


def inspect(windows: IssueWindows) -> InputState:
    """Describe the input of the first window."""
    inputs = windows.inputs(np.array([0]))
    mask, said = inputs.mask[0], inputs.future_covariates(windows.task)[1][0]
    seen = mask.any(axis=(1, 2))
    age = int(np.argmax(seen[::-1])) if seen.any() else None
    absent = ~mask[-1].any(axis=0)
    missing = tuple(np.array(windows.task.locations)[absent].tolist())
    untold = np.array(windows.task.covariates)[~said.any(axis=(0, 2))]
    return InputState(age, missing, bool(mask.all()), tuple(untold.tolist()))


def forecast_with_fallbacks(windows: IssueWindows, bundles: BundleStore, last_resort: Callable[[], Model]) -> Forecast:
    """Return the forecast of the first window at the best fallback level that passes the output checks.

    Args:
        windows: One issue time.
        bundles: Where the bundles are.
        last_resort: Fits a climatology now, for a product that has no usable bundle.

    Raises:
        ContractError: not even climatology holds.
    """
    state = inspect(windows)
    if state.untold:
        bundles.notes.append(f"nothing is known ahead of {', '.join(state.untold)}")
    for candidate, bundle in _candidates(windows, state, bundles, last_resort):
        try:
            quantiles = _forecast(candidate.model, windows)
        except ModelError as error:
            bundles.notes.append(f"{candidate.model.name} failed: {error}")
            continue
        broken = _check(windows, quantiles)
        if broken:
            bundles.notes.append(f"{candidate.model.name} broke its contract: {broken[0]}")
            continue
        return Forecast(candidate, quantiles, _shadows(bundle, windows, bundles), tuple(bundles.notes))
    raise ContractError(f"no model passed the output checks: {'; '.join(bundles.notes)}")


def _candidates(
    windows: IssueWindows, state: InputState, bundles: BundleStore, last_resort: Callable[[], Model]
) -> Iterator[tuple[Candidate, Bundle | None]]:
    issue_time = windows.issues[0]
    champion = bundles.find("champion", known_by=issue_time)
    fallback = champion or bundles.find("fallback", known_by=issue_time)
    if champion and state.fallback_level < FallbackLevel.CLIMATOLOGY:
        bundle, version = champion
        try:
            model = bundle.challenger()
        except ModelError as error:
            bundles.notes.append(f"champion unusable: {error}")
        else:
            yield Candidate(state.fallback_level, model, version, bundle.digest), bundle
    if fallback:
        bundle, version = fallback
        names = (
            [name for name in bundle.baselines if name != CLIMATOLOGY]
            if state.fallback_level < FallbackLevel.CLIMATOLOGY
            else []
        )
        for name in [*names, CLIMATOLOGY]:
            try:
                model = bundle.baseline(name)
            except ModelError as error:
                bundles.notes.append(f"{name} unusable: {error}")
                continue
            level = FallbackLevel.CLIMATOLOGY if name == CLIMATOLOGY else FallbackLevel.BASELINE
            yield Candidate(level, model, version, bundle.digest), bundle
    yield Candidate(FallbackLevel.CLIMATOLOGY, last_resort(), None, ""), None


def _shadows(bundle: Bundle | None, windows: IssueWindows, bundles: BundleStore) -> dict[str, NDArray[np.float32]]:
    shadows = {}
    for name in bundle.baselines if bundle else ():
        try:
            quantiles = _forecast(bundle.baseline(name), windows)  # type: ignore[union-attr]
        except ModelError as error:
            bundles.notes.append(f"baseline {name} left out: {error}")
            continue
        broken = _check(windows, quantiles)
        if broken:
            bundles.notes.append(f"baseline {name} left out: {broken[0]}")
        else:
            shadows[name] = quantiles
    return shadows


def _forecast(model: Model, windows: IssueWindows) -> NDArray[np.float32]:
    if model.task != windows.task:  # arrays of another order may fit and would be read wrongly
        raise ModelError("it was trained for other stations, variables, quantiles or steps than the product has now")
    try:
        (quantiles,) = predict_published(model, windows.inputs(np.array([0])), windows.gaps[:1], windows.horizon)
    except ModelError:
        raise
    except (
        Exception
    ) as error:  # memory, a device, a library: whatever it is, the next fallback forecasts, and a note says why
        log.exception("%s failed", model.name)
        raise ModelError(f"{type(error).__name__}: {error}") from error
    return np.asarray(quantiles)


def _check(windows: IssueWindows, quantiles: NDArray[np.float32]) -> list[str]:
    task = windows.task
    limits = [task.limits[task.channels.index(name)] for name in task.targets]
    return check_forecast(
        quantiles,
        limits,
        leads=windows.horizon,
        targets=task.targets,
        locations=task.locations,
        levels=task.quantiles,
    )
