"""What the champion's forecasts rest on, for the report page."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from models.errors import ModelError
from pipeline.errors import NightcastError, first_line
from pipeline.fallback_level import FallbackLevel
from pipeline.forecasting.influences import influences_at_issue
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.ingest.feed import OpenFeed
from pipeline.registry.bundle import Bundle, Fit
from pipeline.registry.explanations import read_explanation
from pipeline.report import Basis, InputMove
from pipeline.times import Cadence
from pipeline.training.explanation.facts import Attention, Explanation, Influence
from pipeline.training.explanation.report import report_losses

log = logging.getLogger(__name__)

SHOWN_MOVES = 3
"""Groups of inputs of each variable that are shown with what they moved."""


def read_basis(
    forecast: PublishedForecast,
    cadence: Cadence,
    feed: OpenFeed,
    covariates: Mapping[str, OpenFeed],
    bundle: Bundle,
    fit: Fit,
) -> Basis | None:
    """Return what the forecasts of a bundle rest on, and what moved this one, which is of a fit of it.

    None if the bundle was not explained or its champion did not make the forecast. What moved the forecast is left out
    if it cannot be computed: the forecast is published without it.
    """
    explanation = read_explanation(bundle)
    if explanation is None or forecast.fallback_level > FallbackLevel.CHAMPION_ON_STALE_INPUT:
        return None
    product = forecast.product
    try:
        found = influences_at_issue(product, cadence, feed, covariates, fit, forecast.issue_time)
    except Exception as error:  # as for every other part of the page, but whatever is wrong: the page goes out
        expected = isinstance(error, (ModelError, NightcastError))
        message = "%s: the page does not show what moved the forecast: %s"
        log.warning(message, product.name, first_line(error), exc_info=not expected)
        found = ()
    return _basis(explanation, found, forecast)


def _basis(explanation: Explanation, found: tuple[Influence, ...], forecast: PublishedForecast) -> Basis:
    attention = explanation.attention or Attention()
    moves = [
        _move(one, forecast)
        for variable in forecast.product.forecast.targets
        for one in [it for it in found if it.variable == variable][:SHOWN_MOVES]
    ]
    return Basis(
        losses=report_losses(explanation),
        issues=explanation.issues,
        since=explanation.since,
        until=explanation.until,
        moves=tuple(moves),
        frame_weights=tuple((one.title, one.weight) for one in attention.frames),
        location_weights=tuple((one.title, one.weight) for one in attention.locations),
    )


def _move(influence: Influence, forecast: PublishedForecast) -> InputMove:
    variable = forecast.product.feed.variable(influence.variable)
    return InputMove(
        title=influence.title,
        variable=variable.long_name,
        units=variable.units,
        mean_change=influence.mean_change,
        largest_change=influence.largest_change,
        place=influence.place,
        valid_time=forecast.valid_times[influence.lead - 1],
    )
