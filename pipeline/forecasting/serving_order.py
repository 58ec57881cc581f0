"""The models that may make a forecast, best first, as the fallback levels and live verdicts order them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from models.base import Model
from models.errors import ModelError
from models.statistics.conformal import Recalibration
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.notes import Note
from pipeline.forecasting.serving import BundleStore, RegisteredBundle
from pipeline.registry.bundle import Fit
from pipeline.registry.standing import Standing
from pipeline.training.fit import CLIMATOLOGY

CHAMPION_SERVES = Standing()
"""What serves where no live verdict says otherwise."""


@dataclass(frozen=True)
class ServingModel:
    """A model that may make the forecast, and the fallback level that it serves at."""

    fallback_level: FallbackLevel
    model: Model
    source: RegisteredBundle | None
    """Where the model is from; None for the emergency climatology."""
    recalibration: Recalibration | None = None
    """Correction of its quantiles; None for the emergency climatology, and from a bundle of an earlier release."""
    judged: bool = False
    """Whether it is the judged fit, in place of the refit."""
    in_place_of: Fit | None = None
    """The fit of the champion in whose place a baseline serves, by a live verdict."""

    @property
    def version(self) -> int | None:
        """Registry version of the bundle."""
        return self.source.version if self.source else None

    @property
    def digest(self) -> str:
        """Digest of the bundle; empty without one."""
        return self.source.bundle.digest if self.source else ""


def serving_models(
    issue_time: datetime,
    level: FallbackLevel,
    bundles: BundleStore,
    fit_climatology: Callable[[], Model],
    standing: Standing,
) -> Iterator[ServingModel | Note]:
    """Yield the models that may serve, best first, and a note in place of each that cannot be used.

    Args:
        issue_time: Issue time of the forecast.
        level: The best level that its input allows.
        bundles: Where the bundles are.
        fit_climatology: Fits the emergency climatology, for a product that has no usable bundle.
        standing: What serves according to the ledger.
    """
    has_input = level < FallbackLevel.CLIMATOLOGY
    champion, notes = bundles.find("champion", known_by=issue_time)
    yield from notes
    fallback, stepped_aside = champion, None
    if champion is None:
        fallback, notes = bundles.find("fallback", known_by=issue_time)
        yield from notes
    elif has_input and standing.down:
        yield Note("live_verdict", verdict=standing.down.verdict)
        stepped_aside = champion.judged if standing.judged else champion.fit
    elif has_input:
        yield from _fits(champion, level, standing)
    if fallback:
        # The baseline that is better than the champion is the best on the held-out issue times, be it climatology.
        baselines = [name for name in fallback.bundle.baselines if stepped_aside or name != CLIMATOLOGY]
        for name in dict.fromkeys([*(baselines if has_input else []), CLIMATOLOGY]):
            try:
                model = fallback.fit.baseline(name)
            except ModelError as error:
                yield Note("model_unusable", (name,), error=str(error))
                continue
            rank = FallbackLevel.CLIMATOLOGY if name == CLIMATOLOGY else FallbackLevel.BASELINE
            yield ServingModel(rank, model, fallback, fallback.fit.recalibration(name), in_place_of=stepped_aside)
    yield ServingModel(FallbackLevel.CLIMATOLOGY, fit_climatology(), None)


def _fits(champion: RegisteredBundle, level: FallbackLevel, standing: Standing) -> Iterator[ServingModel | Note]:
    """Yield the fits of the champion that may serve, and a note for each that cannot be loaded."""
    fits = [champion.fit]
    if standing.judged and champion.judged != champion.fit:
        yield Note("live_verdict", verdict=standing.judged.verdict)
        fits.insert(0, champion.judged)
    for fit in fits:
        try:
            model = fit.challenger()
        except ModelError as error:
            yield Note("bundle_unusable", ("champion",), error=str(error))
        else:
            yield ServingModel(level, model, champion, fit.recalibration(), judged=fit != champion.fit)
