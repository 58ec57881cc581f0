from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from pipeline.report import fan_svg, series, skill_svg
from pipeline.report.axes import fan_axes, shared_ticks, value_ticks
from pipeline.report.data import LeadSkill, StationSeries, VariableForecast
from pipeline.report.fan import fan_chart
from tests.unit.report.conftest import MakeStation

DAY = timedelta(days=1)
ISSUE = datetime(1978, 12, 14, 7, tzinfo=UTC)


def chart(one: StationSeries, **changes: Any) -> str:
    variable = VariableForecast(name="w", title="W", units="m s-1", stations=(one,))
    return fan_chart(one, fan_axes(variable, issue_time=ISSUE, step=DAY, label="start", **changes))


def path(svg: str, style: str) -> str:
    found = re.search(rf'<path class="{style}" d="([^"]*)"/>', svg)
    return found.group(1) if found else ""


def test_intervals_pair_each_level_with_its_mirror(station: MakeStation) -> None:
    bands = series.bands(station(0, "A"))
    assert [band.share for band in bands] == [0.9, 0.8, 0.5]
    assert bands[1].low.tolist() == [4, 5, 6]
    assert bands[1].high.tolist() == [8, 9, 10]


def test_a_median_between_levels_is_interpolated(station: MakeStation) -> None:
    one = station(0, "A", quantile_levels=(0.4, 0.6), quantiles=[[4.0, 6.0]] * 3)
    assert series.median(one).tolist() == [5.0, 5.0, 5.0]


def test_the_observed_line_is_broken_by_nan_and_by_a_missing_row(station: MakeStation) -> None:
    whole = station(0, "A")
    assert path(chart(whole), "seen").count("M") == 1
    values = np.array(whole.observed)
    values[12] = np.nan
    assert path(chart(station(0, "A", observed=values)), "seen").count("M") == 2
    keep = np.arange(20) != 12
    dropped = station(0, "A", observed=np.array(whole.observed)[keep], observed_time=whole.observed_time[keep])
    broken = chart(dropped)
    assert path(broken, "seen").count("M") == 2
    assert broken.count("no observation</title>") == 1


def test_a_lone_observation_is_a_dot(station: MakeStation) -> None:
    values = np.full(20, np.nan)
    values[15] = 4.0
    assert 'class="seen1"' in chart(station(0, "A", observed=values))


def test_history_ends_at_the_issue_time_even_if_input_is_stale(station: MakeStation) -> None:
    one = station(0, "A")
    variable = VariableForecast(name="w", title="W", units="", stations=(one,))
    axes = fan_axes(variable, issue_time=ISSUE, step=DAY, label="start")
    assert axes.history == 15
    assert axes.history_end == datetime(1978, 12, 14, tzinfo=UTC)
    assert axes.first == datetime(1978, 11, 29, tzinfo=UTC)  # 15 days covered: 29 Nov to 13 Dec
    assert axes.last == datetime(1978, 12, 17, tzinfo=UTC)


def test_few_leads_are_bars_and_many_are_a_fan(station: MakeStation) -> None:
    bars = chart(station(0, "A"))
    assert path(bars, "band band1").count("z") == 3
    ahead = np.datetime64("1978-12-14T00:00", "us") + np.arange(1, 9) * np.timedelta64(1, "D")
    fan = chart(station(0, "A", valid_time=ahead, quantiles=[[1, 2, 3, 4, 5, 6, 7]] * 8))
    assert path(fan, "band band1").count("z") == 1


def test_a_lead_without_quantiles_is_left_out(station: MakeStation) -> None:
    table = np.array(station(0, "A").quantiles, dtype=float)
    table[1] = np.nan
    assert path(chart(station(0, "A", quantiles=table)), "band band1").count("z") == 2


def test_hover_names_the_day_that_is_covered(station: MakeStation) -> None:
    drawn = chart(station(0, "A"))
    assert "<title>14 Dec: 6.0\u00a0m\u00a0s⁻¹; 90\u00a0%: 3.0 to 9.0; 80\u00a0%: 4.0 to 8.0" in drawn
    assert "14 Dec</title>" not in drawn


def test_the_axis_starts_at_zero_only_when_values_come_near_it() -> None:
    assert value_ticks([3.0, 17.0])[0] == 0
    assert value_ticks([990.0, 1010.0])[0] > 0
    assert value_ticks([]) == [0.0, 1.0]


def test_one_axis_is_shared_unless_it_flattens_a_station(station: MakeStation) -> None:
    alike = VariableForecast(name="w", title="W", units="", stations=(station(0, "A"), station(1, "B")))
    axes = fan_axes(alike, issue_time=ISSUE, step=DAY, label="start")
    assert shared_ticks(alike, axes) == [0, 5, 10, 15]
    big = station(1, "B", quantiles=np.array(station(1, "B").quantiles) * 50)
    apart = VariableForecast(name="w", title="W", units="", stations=(station(0, "A"), big))
    assert shared_ticks(apart, fan_axes(apart, issue_time=ISSUE, step=DAY, label="start")) is None


def test_series_of_different_lengths_are_refused(station: MakeStation) -> None:
    with pytest.raises(ValueError, match="19 observed values for 20 times"):
        station(0, "A", observed=np.zeros(19))
    with pytest.raises(ValueError, match=r"shape \(3, 2\), expected \(3, 7\)"):
        station(0, "A", quantiles=np.zeros((3, 2)))


def test_fan_svg_is_a_complete_file_with_its_own_styles(variable: VariableForecast) -> None:
    drawn = fan_svg(variable, issue_time=ISSUE, step=DAY, time_label="start")
    root = ElementTree.fromstring(drawn)  # noqa: S314 - made here
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--band1" in drawn
    assert all(one.name in drawn for one in variable.stations)
    only = fan_svg(variable, issue_time=ISSUE, step=DAY, station_ids=["s1"])
    assert "Birr" in only
    assert "Dublin" not in only


def test_hostile_names_leave_the_file_well_formed(station: MakeStation) -> None:
    bad = station(0, "</style>]]>\x00<script>alert(1)</script>\ud800")
    variable = VariableForecast(name="w", title="<i>", units="<u>", stations=(bad,))
    drawn = fan_svg(variable, issue_time=ISSUE, step=DAY)
    assert not [e for e in ElementTree.fromstring(drawn).iter() if e.tag.endswith("script")]  # noqa: S314


def test_skill_svg_shows_gain_and_loss_or_that_nothing_is_verified(skill: tuple[LeadSkill, ...]) -> None:
    drawn = skill_svg("Wind speed", skill, units="m s-1")
    ElementTree.fromstring(drawn)  # noqa: S314
    assert drawn.count('class="gain"') == 2
    assert drawn.count('class="loss"') == 1
    assert "2000 verified forecast values" in drawn
    assert "not verified yet" in skill_svg("Wind speed", (), units="m s-1")


def test_skill_svg_shows_the_coverage_of_every_interval(skill: tuple[LeadSkill, ...]) -> None:
    inner = ((0.8, 0.79), (0.5, 0.31))
    several = tuple(replace(entry, inner=inner) for entry in skill)
    one, all_three = (skill_svg("Wind", entries, units="m s-1", nominal_coverage=0.9) for entries in (skill, several))
    assert "Coverage of the 90\u00a0% interval<" in one
    assert "Coverage of the 50\u00a0%, 80\u00a0%, 90\u00a0% intervals<" in all_three
    assert [all_three.count(f"nominal {share}\u00a0%") for share in (50, 80, 90)] == [1, 1, 1]
