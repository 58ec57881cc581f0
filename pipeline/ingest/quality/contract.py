"""The contract of a feed: what its product file demands, in the terms of the checks."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from functools import cache

import numpy as np

from expectations.observations import Check, Kind, ObservationContract, RowKind, Severity, VariableLimits
from expectations.suites import explain_expectation, judges_rows
from expectations.unit_change import UnitChange
from pipeline.config import Feed
from pipeline.config.quality import Expectation
from pipeline.errors import ConfigError
from pipeline.locations import Locations
from pipeline.units import convert, convertible

_ALIKE = (
    ("degC", "degF", "K"),
    ("m s-1", "knot", "km h-1", "mph"),
    ("hPa", "Pa", "kPa", "inHg", "mmHg"),
    ("mm", "cm", "inch", "m"),
    ("km", "m", "mile", "ft"),
    ("W m-2", "kJ m-2 h-1"),
)
"""Units that are taken for one another."""
_POWERS = (10.0, 100.0, 1000.0)
_FAR = timedelta(days=400)


def contract_of(feed: Feed, locations: Locations, now: datetime, *, known: bool = False) -> ObservationContract:
    """Return what a feed promises of its observations at an instant.

    Raises:
        ConfigError: an expectation of the product cannot be meant.
    """
    quality, checks = feed.quality, feed.quality.checks
    variables = []
    for name in feed.variables:
        units, (low, high), _, _ = feed.variable(name)
        variables.append(VariableLimits(name, units, low, high))
    rules: dict[Kind, Severity] = {
        "limits": checks.limits.severity,
        "location": checks.location.severity,
        "grid": checks.time_step.severity,
        "past": checks.past.severity,
        "future": checks.future.severity,
        "known": checks.known_at.severity,
        "unique": checks.unique.severity,
    }
    measured: list[RowKind] = []
    series: tuple[tuple[RowKind, str], ...] = (
        ("stuck", checks.persistence.severity),
        ("jump", checks.step.severity if checks.step.at_most else "off"),
        ("buddy", checks.buddy.severity if locations.shape is None and len(locations) > 3 else "off"),
    )
    for kind, severity in series:
        if severity != "off":
            measured.append(kind)
            rules[kind] = severity  # type: ignore[assignment]
    return ObservationContract(
        locations.ids,
        tuple(variables),
        feed.step,
        now,
        tolerance=quality.ahead if quality.ahead is not None else _FAR if feed.is_covariate else feed.step,
        oldest=datetime.combine(quality.oldest, time(), UTC),
        known=known,
        foretold=feed.is_covariate,
        severity=rules,
        measured=tuple(measured),
        custom=tuple(_custom(place, each, feed) for place, each in enumerate(quality.expectations)),
    )


def check_quality(feed: Feed) -> None:
    """Make sure that what a product file says of quality can be carried out.

    Raises:
        ConfigError: it names an expectation that there is none of, or gives it arguments that it does not take.
    """
    for place, expectation in enumerate(feed.quality.expectations):
        _custom(place, expectation, feed)


def unit_changes(feed: Feed, name: str) -> tuple[UnitChange, ...]:
    """Return what the values of a variable look like when the source changes its unit, or slips by powers of ten."""
    return _unit_changes(feed.variables[name].source_units or feed.variable(name)[0], feed.variable(name)[0])


@cache
def _unit_changes(said: str, units: str) -> tuple[UnitChange, ...]:
    found: list[UnitChange] = []
    for group in _ALIKE:
        if not any(_same(said, other) for other in group):
            continue
        for other in group:
            if not _same(said, other):
                # Sent in `other`, and taken for what the source used to send.
                zero, one = convert(convert(np.array([0.0, 1.0]), units, other), said, units)
                found.append(UnitChange(f"{other} taken for {said}", float(one - zero), float(zero)))
    known = [change.factor for change in found if not change.offset]
    for power in _POWERS:
        for factor, words in ((power, f"{power:g} times too large"), (1 / power, f"{power:g} times too small")):
            if not any(abs(factor / each - 1) < 0.01 for each in known):
                found.append(UnitChange(words, factor))
    return tuple(found)


def _same(one: str, other: str) -> bool:
    if one == other:
        return True
    probe = np.array([0.0, 1.0])
    return convertible(one, other) and bool(np.allclose(convert(probe, one, other), probe, rtol=1e-9, atol=1e-12))


def _custom(place: int, expectation: Expectation, feed: Feed) -> Check:
    name, arguments = expectation.type, expectation.kwargs
    where = f"feed.quality.expectations.{place}"
    problem = explain_expectation(name, arguments)
    if problem:
        what, _, remedy = problem.partition("; ")
        raise ConfigError(feed.title, where, what, remedy)
    if expectation.severity == "row" and not judges_rows(name):
        raise ConfigError(feed.title, where, f"{name} judges the batch, not rows", "make its severity batch or warn")
    column = ", ".join(expectation.columns)
    others = {part: value for part, value in arguments.items() if not part.startswith("column")}
    told = ", ".join(f"{part} {value}" for part, value in others.items())
    words = f"{column} {{value}} breaks {name}" if judges_rows(name) else f"{column} breaks {name}".strip()
    return Check(
        "custom",
        column,
        words + (f" ({told})" if told else ""),
        severity=expectation.severity,
        columns=expectation.columns,
        expectation=name,
        arguments=arguments,
    )
