"""The contract of a feed: the demands of its product file, in the terms of the checks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache

import numpy as np

from expectations.observations import Check, Kind, ObservationContract, SeriesKind, Severity, VariableLimits
from expectations.reasons import Reason, summarise
from expectations.suites import explain_expectation, is_row_expectation
from expectations.unit_change import UnitChange
from pipeline.config import Feed
from pipeline.config.quality import Expectation
from pipeline.errors import ConfigError
from pipeline.locations import Locations
from pipeline.steps import longest
from pipeline.units import convert, convertible

_ALIKE = (
    ("degC", "degF", "K"),
    ("m s-1", "knot", "km h-1", "mph"),
    ("hPa", "Pa", "kPa", "inHg", "mmHg"),
    ("mm", "cm", "inch", "m"),
    ("km", "m", "mile", "ft"),
    ("W m-2", "kJ m-2 h-1"),
)
"""Units that are easily confused."""
_POWERS = (10.0, 100.0, 1000.0)
_FAR = timedelta(days=400)


def contract_of(feed: Feed, locations: Locations, now: datetime, *, known: bool = False) -> ObservationContract:
    """Return the contract of a feed at an instant.

    Raises:
        ConfigError: an expectation of the product is not valid.
    """
    quality, checks = feed.quality, feed.quality.checks
    variables = []
    for name in feed.variables:
        variable = feed.variable(name)
        variables.append(VariableLimits(name, variable.units, *variable.limits))
    rules: dict[Kind, Severity] = {
        "limits": checks.limits.severity,
        "location": checks.location.severity,
        "grid": checks.time_step.severity,
        "past": checks.past.severity,
        "future": checks.future.severity,
        "known": checks.known_at.severity,
        "unique": checks.unique.severity,
    }
    series_checks: list[SeriesKind] = []
    severities: tuple[tuple[SeriesKind, str], ...] = (
        ("persistence", checks.persistence.severity),
        ("step", checks.step.severity if checks.step.at_most else "off"),
        ("buddy", checks.buddy.severity if locations.shape is None and len(locations) > 3 else "off"),
    )
    for kind, severity in severities:
        if severity != "off":
            series_checks.append(kind)
            rules[kind] = severity  # type: ignore[assignment]
    return ObservationContract(
        locations.ids,
        tuple(variables),
        feed.step,
        now,
        tolerance=quality.ahead if quality.ahead is not None else _FAR if feed.is_covariate else longest(feed.step),
        oldest=datetime.combine(quality.oldest, time(), UTC),
        known=known,
        forecasts=feed.is_covariate,
        severity=rules,
        series_checks=tuple(series_checks),
        custom=tuple(_custom(index, each, feed) for index, each in enumerate(quality.expectations)),
    )


def check_quality(feed: Feed) -> None:
    """Make sure that the expectations of a product file can be carried out.

    Raises:
        ConfigError: an expectation is unknown to Great Expectations, or does not take the arguments given.
    """
    for index, expectation in enumerate(feed.quality.expectations):
        _custom(index, expectation, feed)


def unit_changes(feed: Feed, name: str) -> tuple[UnitChange, ...]:
    """Return the changes that values of a variable undergo if the source changes its unit or slips by a power of 10."""
    return _unit_changes(feed.variables[name].source_units or feed.variable(name).units, feed.variable(name).units)


@cache
def _unit_changes(usual: str, units: str) -> tuple[UnitChange, ...]:
    found: list[UnitChange] = []
    for group in _ALIKE:
        if not any(_same(usual, other) for other in group):
            continue
        for other in group:
            if not _same(usual, other):
                # Sent in `other` and read as the unit that the source usually sends.
                zero, one = convert(convert(np.array([0.0, 1.0]), units, other), usual, units)
                found.append(UnitChange(f"{other} instead of {usual}", float(one - zero), float(zero)))
    known = [change.factor for change in found if not change.offset]
    for power in _POWERS:
        for factor, description in ((power, f"{power:g} times too large"), (1 / power, f"{power:g} times too small")):
            if not any(abs(factor / each - 1) < 0.01 for each in known):
                found.append(UnitChange(description, factor))
    return tuple(found)


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    probe = np.array([0.0, 1.0])
    return convertible(one, other) and bool(np.allclose(convert(probe, one, other), probe, rtol=1e-9, atol=1e-12))


def _custom(index: int, expectation: Expectation, feed: Feed) -> Check:
    name, arguments = expectation.type, expectation.kwargs
    where = f"feed.quality.expectations.{index}"
    problem = explain_expectation(name, arguments)
    if problem:
        what, _, remedy = problem.partition("; ")
        raise ConfigError(feed.title, where, what, remedy)
    if expectation.severity == "row" and not is_row_expectation(name):
        remedy = "make its severity batch or warn"
        raise ConfigError(feed.title, where, f"{name} tests the batch and not rows", remedy)
    column = ", ".join(expectation.columns)
    others = ", ".join(f"{part} {value}" for part, value in arguments.items() if not part.startswith("column"))
    expected = f"{name} ({others})" if others else name
    reason = Reason("custom", column, expected=expected)
    return Check(
        "custom",
        column,
        summarise([reason]) if is_row_expectation(name) else f"{column} breaks {expected}".strip(),
        reason,
        severity=expectation.severity,
        columns=expectation.columns,
        expectation=name,
        arguments=arguments,
    )
