"""A small report with hand-made numbers, in the shape of a daily wind forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.fallback_level import FallbackLevel
from pipeline.report import (
    DataFacts,
    LeadSkill,
    ModelFacts,
    RefusedReason,
    ReportData,
    StationSeries,
    VariableForecast,
)

DAY = timedelta(days=1)
MakeStation = Callable[..., StationSeries]
MakeReport = Callable[..., ReportData]
ISSUE = datetime(1978, 12, 14, 7)  # noqa: DTZ001 - a naive time is UTC on this page
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def _station(number: int, name: str, **changes: Any) -> StationSeries:
    midnight = np.datetime64("1978-12-14T00:00", "us")
    past = midnight - np.arange(19, -1, -1) * np.timedelta64(1, "D")
    ahead = midnight + np.arange(1, 4) * np.timedelta64(1, "D")
    facts: dict[str, Any] = {
        "station_id": f"s{number}",
        "name": name,
        "latitude": 52.0 + 0.7 * number,
        "longitude": -10.0 + 0.9 * number,
        "observed_time": past,
        "observed": 5.0 + number + np.sin(np.arange(20.0)),
        "valid_time": ahead,
        "quantile_levels": LEVELS,
        "quantiles": [[m + d for d in (-3, -2, -1, 0, 1, 2, 3)] for m in (6 + number, 7 + number, 8 + number)],
    }
    return StationSeries(**(facts | changes))


@pytest.fixture
def station() -> MakeStation:
    """Makes a station by number and name; keywords replace its fields."""
    return _station


@pytest.fixture
def skill() -> tuple[LeadSkill, ...]:
    """Three leads; the model beats the best baseline by 20 %, 10 % and loses by 5 %."""
    return (
        LeadSkill(
            lead=timedelta(hours=17),
            crps=1.2,
            baseline_crps=(("persistence", 1.5), ("climatology", 1.6)),
            coverage=0.82,
            count=700,
        ),
        LeadSkill(
            lead=timedelta(hours=41),
            crps=1.35,
            baseline_crps=(("persistence", 1.9), ("climatology", 1.5)),
            coverage=0.79,
            count=700,
        ),
        LeadSkill(
            lead=timedelta(hours=65),
            crps=1.68,
            baseline_crps=(("persistence", 2.0), ("climatology", 1.6)),
            coverage=0.77,
            count=600,
        ),
    )


@pytest.fixture
def variable(skill: tuple[LeadSkill, ...]) -> VariableForecast:
    """Wind speed at four stations."""
    stations = tuple(_station(i, name) for i, name in enumerate(("Valentia", "Birr", "Dublin", "Malin Head")))
    return VariableForecast(name="wind_speed", title="Wind speed", units="m s-1", stations=stations, skill=skill)


@pytest.fixture
def report(variable: VariableForecast) -> MakeReport:
    """Makes the report; keywords replace its fields, `stations` those of its variable."""
    base = ReportData(
        product="ireland-wind",
        title="Ireland wind",
        issue_time=ISSUE,
        step=DAY,
        fallback_level=FallbackLevel.CHAMPION_WITH_GAPS,
        variables=(variable,),
        time_label="start",
        model=ModelFacts(
            name="attention-convlstm",
            version="14",
            digest="sha256:9f2c41aa07d1be55",
            gate_verdict="Promoted.",
        ),
        data=DataFacts(
            as_of=ISSUE,
            newest_observation=np.datetime64("1978-12-14T00:00"),
            input_age=timedelta(hours=7),
            added=11,
            revised=1,
            refused=3,
            refused_reasons=(RefusedReason(reason="above 60 m s-1", count=3),),
            missing_stations=("Birr",),
        ),
        licence="Haslett & Raftery (1989).",
        nightcast_version="0.1.0",
        code_version="4be21c9",
        links=(("forecast.parquet", "forecast.parquet"),),
    )

    def make(**changes: Any) -> ReportData:
        if "stations" in changes:
            changes["variables"] = (replace(variable, stations=tuple(changes.pop("stations"))),)
        return replace(base, **changes)

    return make
