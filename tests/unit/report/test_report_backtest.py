from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pipeline.report import BacktestedModel, BacktestedVariable, BacktestPage, SkillInterval, render_backtest

HOSTILE = '<img src=x onerror="alert(1)">'
LEVELS = (0.1, 0.5, 0.9)


def _model(name: str, crps: float, *, skill: float | None = None, hours: bool = False) -> BacktestedModel:
    bounds = SkillInterval(
        skill=skill or 0.0, low=(skill or 0.0) - 0.05, high=math.nan if skill is None else skill + 0.05
    )
    return BacktestedModel(
        name=name,
        crps=crps,
        mae=1.5 * crps,
        rmse=2 * crps,
        bias=-0.01,
        coverage=(0.81,),
        skill={} if skill is None else {"climatology": bounds},
        crps_by_lead=(0.8 * crps, crps),
        crps_by_hour={0: crps, 12: 1.1 * crps} if hours else {},
        crps_by_season={"DJF": crps},
        crps_by_location={"Valentia": crps, HOSTILE: crps},
        frequencies=(0.12, 0.5, 0.93),
        pit=(1.2, 0.95, 1.07, 0.7),
    )


def _page(*models: BacktestedModel) -> BacktestPage:
    start = datetime(2001, 1, 1, tzinfo=UTC)
    variable = BacktestedVariable(
        title="Wind speed", units="m s-1", count=1234, models=models, references=("climatology",)
    )
    return BacktestPage(
        product="wind",
        title=HOSTILE,
        since=start,
        until=start + timedelta(days=90),
        verified_at=start + timedelta(days=100),
        every=timedelta(weeks=1),
        origins=13,
        issues=91,
        block=4,
        confidence=0.95,
        step=timedelta(days=1),
        levels=LEVELS,
        nominal=(0.8,),
        variables=(variable,),
        problems=(HOSTILE,),
    )


def test_the_page_has_the_numbers_and_no_script_or_network() -> None:
    page = render_backtest(_page(_model("ridge-var", 1.25, skill=0.1), _model("climatology", 1.39)))
    assert "<h1>ridge-var has the lowest CRPS for wind speed</h1>" in page
    assert "the lowest CRPS, 1.25" in page
    assert "+10\N{NO-BREAK SPACE}% (+5\N{NO-BREAK SPACE}% to +15\N{NO-BREAK SPACE}%)" in page
    assert "91 issue times from 13 origins, one every 7 days" in page
    assert HOSTILE not in page
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|\bon\w+=\"", page)
    assert page == render_backtest(_page(_model("ridge-var", 1.25, skill=0.1), _model("climatology", 1.39)))


def test_models_whose_difference_may_be_chance_are_not_called_better_or_worse() -> None:
    rival = _page(_model("climatology", 1.25), _model("ridge-var", 1.26, skill=-0.01))
    page = render_backtest(rival)
    assert "<h1>climatology has the lowest CRPS for wind speed, not distinguishable from ridge-var</h1>" in page
    assert '<span class="down">' not in page and '<span class="up">' not in page
    page = render_backtest(_page(_model("ridge-var", 1.25, skill=0.01), _model("climatology", 1.26)))
    assert "<h1>ridge-var has the lowest CRPS for wind speed, not distinguishable from climatology</h1>" in page
    page = render_backtest(_page(_model("climatology", 1.25), _model("ridge-var", 1.5, skill=-0.2)))
    assert "<h1>climatology has the lowest CRPS for wind speed</h1>" in page
    assert '<span class="down">−20' in page


def test_a_chart_by_hour_appears_where_there_are_hours() -> None:
    assert "CRPS by hour of the day" not in render_backtest(_page(_model("one", 1.0)))
    assert "CRPS by hour of the day" in render_backtest(_page(_model("one", 1.0, hours=True)))


def test_many_models_share_a_chart_in_which_no_names_overlap() -> None:
    models = [_model(f"model-{number}", 1 + number / 1000) for number in range(12)]
    page = render_backtest(_page(*models))
    chart = page.partition("CRPS by lead")[2].partition("</svg>")[0]
    names = re.findall(r'y="([\d.]+)" class="(?:tick|value)">model-\d+<', chart)
    heights = sorted(float(y) for y in names)
    assert len(heights) == 5
    assert all(after - before >= 11.9 for before, after in pairwise(heights))


def test_a_location_list_that_is_too_long_is_left_out() -> None:
    model = _model("one", 1.0)
    many = replace(model, crps_by_location={f"S{number}": 1.0 for number in range(61)})
    assert "CRPS by location" in render_backtest(_page(model))
    assert "CRPS by location" not in render_backtest(_page(many))
