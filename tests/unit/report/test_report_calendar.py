"""Labels, axes and ticks of calendar steps."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.report import StationSeries, VariableForecast
from pipeline.report import typography as text
from pipeline.report.axes import fan_axes
from pipeline.report.data import TimeLabel
from pipeline.report.fan import fan_chart
from pipeline.report.series import observed
from pipeline.report.ticks import TimeScale, time_ticks
from pipeline.steps import CalendarStep

MONTH, DUBLIN = CalendarStep("month"), CalendarStep("day", "Europe/Dublin")
LEVELS = (0.1, 0.5, 0.9)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def _ends(step: CalendarStep, first: datetime, count: int) -> list[datetime]:
    return [step.start(step.number(first) + number) for number in range(count)]


def _forecast(step: CalendarStep, newest: datetime, history: int, leads: int) -> VariableForecast:
    number = step.number(newest)
    past = [step.start(number - back) for back in reversed(range(history))]
    ahead = [step.start(number + lead) for lead in range(1, leads + 1)]
    series = StationSeries(
        station_id="s1",
        name="One",
        latitude=53.0,
        longitude=-8.0,
        observed_time=past,
        observed=np.arange(history) + 1.0,
        valid_time=ahead,
        quantile_levels=LEVELS,
        quantiles=np.tile([4.0, 5.0, 6.0], (leads, 1)),
    )
    return VariableForecast(name="wind_speed", title="Wind speed", units="m s-1", stations=(series,))


@pytest.mark.parametrize("label", ["start", "end"])
def test_a_period_has_its_name_whatever_the_label(label: TimeLabel) -> None:
    assert text.period_text(np.datetime64("2024-04-01"), MONTH, label) == "March 2024"
    assert text.period_text(utc(2024, 3, 31, 23), DUBLIN, label) == "31 March 2024"


def test_lengths_and_leads() -> None:
    assert [text.steps_text(count, MONTH) for count in (1, 15)] == ["1 month", "15 months"]
    steps = [CalendarStep(unit) for unit in ("week", "month", "quarter")]
    assert [text.lead_name(2, step) for step in (*steps, DUBLIN)] == ["2 wk", "2 mo", "2 qtr", "2 d"]
    assert (text.zone_name(MONTH), text.zone_name(DUBLIN)) == ("UTC", "Europe/Dublin")
    assert text.whole_days(MONTH)


def test_a_value_is_drawn_in_the_middle_of_its_period() -> None:
    assert text.drawn_at(utc(2024, 3, 1), MONTH, "start") == utc(2024, 2, 15, 12)  # 29 days
    assert text.drawn_at(utc(2024, 3, 31, 23), DUBLIN, "end") == utc(2024, 3, 31, 11, 30)  # 23 hours


def test_the_axes_begin_with_the_oldest_month_and_end_with_the_last() -> None:
    axes = fan_axes(_forecast(MONTH, utc(2024, 1, 1), 20, 2), issue_time=utc(2024, 1, 10), step=MONTH, label="start")
    assert (axes.history_end, axes.first_valid, axes.history) == (utc(2024, 1, 1), utc(2024, 2, 1), 15)
    assert axes.first < utc(2022, 10, 3) < axes.last  # 15 months of history, from October 2022
    assert utc(2024, 2, 28) < axes.last < utc(2024, 3, 3)


def test_a_month_without_an_observation_is_a_gap() -> None:
    series = _forecast(MONTH, utc(2024, 1, 1), 3, 1).stations[0]
    shown = observed(series, utc(2024, 3, 1), MONTH, 6)
    assert shown[0] == _ends(MONTH, utc(2023, 10, 1), 6)
    np.testing.assert_array_equal(shown[1], [np.nan, 1, 2, 3, np.nan, np.nan])


@pytest.mark.parametrize(
    ("step", "first", "count", "most", "labels"),
    [
        (MONTH, utc(2024, 1, 1), 4, 6, ["Jan 2024", "Feb 2024", "Mar 2024", "Apr 2024"]),
        (MONTH, utc(2023, 12, 1), 18, 6, ["Dec 2023", "Mar 2024", "Jun 2024", "Sep 2024", "Dec 2024", "Mar 2025"]),
        (CalendarStep("quarter"), utc(2023, 10, 1), 3, 6, ["Q4 2023", "Q1 2024", "Q2 2024"]),
        (CalendarStep("week"), utc(2024, 2, 26), 4, 6, ["26 Feb", "4 Mar", "11", "18"]),
        (DUBLIN, utc(2024, 3, 30), 4, 6, ["30 Mar", "31", "1 Apr", "2"]),
    ],
)
def test_ticks_are_in_the_middle_of_periods_with_their_names(
    step: CalendarStep, first: datetime, count: int, most: int, labels: list[str]
) -> None:
    number = step.number(first)
    ends = [step.start(number + index + 1) for index in range(count)]
    scale = TimeScale(step.start(number), ends[-1], 0.0, 300.0, step, "start")
    ticks = time_ticks(scale, ends[0], most)
    assert [tick.label for tick in ticks] == labels
    assert {tick.at for tick in ticks} <= {scale.drawn_at(end) for end in ends}
    assert len(ticks) <= most


def test_a_chart_names_its_months() -> None:
    variable = _forecast(MONTH, utc(2024, 1, 1), 12, 3)
    axes = fan_axes(variable, issue_time=utc(2024, 1, 10), step=MONTH, label="start")
    drawn = fan_chart(variable.stations[0], axes)
    assert "last observed 12.0 m s⁻¹ in December 2023; forecast median 5.0 in January 2024 to 5.0 in March 2024" in (
        drawn.replace("\N{NO-BREAK SPACE}", " ")
    )
    assert "February 2024: 5.0" in drawn
