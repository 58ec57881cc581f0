from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.forecasting.verification.scores import (
    LeadScore,
    Scores,
    refit_skill,
    score_pairs,
    scores_by_lead,
    skill_scores,
)
from pipeline.store.objects import open_store

ISSUE = datetime(2002, 1, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)


def _row(model: str, observed: float, quantiles: list[float], **changed: object) -> dict[str, object]:
    return {
        "model": model,
        "published": False,
        "variable": "wind_speed",
        "lead": 1,
        "location": "S0",
        "issue_time": ISSUE,
        "levels": [0.25, 0.5, 0.75],
        "quantiles": quantiles,
        "observed": observed,
    } | changed


def _frame(*rows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    return frame.assign(issue_time=pd.to_datetime(frame["issue_time"]))


def test_sums_equal_those_computed_by_hand() -> None:
    # Quantiles 1, 2, 4 and observation 3: pinball 0.25 * 2, 0.5 * 1, 0.25 * 1 = 0.5, 0.5, 0.25.
    # Trapezoids over 0, 0.25, 0.5, 0.75, 1 give each level the weight 0.25: CRPS = 2 * 0.25 * 1.25 = 0.625.
    # Observation 9: 0.25 * 8, 0.5 * 7, 0.75 * 5 = 2, 3.5, 3.75: CRPS = 2 * 0.25 * 9.25 = 4.625, outside the interval.
    made = score_pairs(_frame(_row("a", 3, [1, 2, 4], published=True), _row("b", 9, [1, 2, 4], published=True)))
    (row,) = made.to_dict("records")
    assert (row["model"], row["lead"], row["location"], row["day"]) == ("published", 1, "S0", ISSUE.date())
    assert row["count"] == 2
    assert row["crps_sum"] == pytest.approx(0.625 + 4.625)
    assert row["absolute_error_sum"] == 1 + 7
    assert row["squared_error_sum"] == 1 + 49
    assert row["error_sum"] == -1 - 7
    assert row["covered_sum"] == 1


def test_the_published_forecast_is_scored_apart_from_its_own_model() -> None:
    made = score_pairs(_frame(_row("ridge-var", 3, [1, 2, 4], published=True), _row("ridge-var", 3, [3, 3, 3])))
    assert dict(zip(made["model"], made["crps_sum"], strict=True)) == {
        "published": pytest.approx(0.625),
        "ridge-var": 0,
    }


def test_forecasts_with_different_quantile_levels_are_scored_together() -> None:
    other = _row("a", 3, [2, 2.5], levels=[0.25, 0.5], published=True, lead=2)
    made = score_pairs(_frame(_row("a", 3, [1, 2, 4], published=True), other))
    # levels 0.25 and 0.5: weights 0.25 and 0.375; pinball 0.25 and 0.25
    assert made.set_index("lead")["crps_sum"].to_dict() == {
        1: pytest.approx(0.625),
        2: pytest.approx(2 * (0.25 * 0.25 + 0.375 * 0.25)),
    }


def test_without_pairs_there_are_no_scores() -> None:
    empty = _frame(_row("a", 1, [1, 1, 1])).head(0)
    assert score_pairs(empty).empty
    assert scores_by_lead(score_pairs(empty)) == ()


def test_rmse_is_the_root_of_the_mean_over_all_locations_and_days() -> None:
    rows = score_pairs(
        _frame(
            _row("x", 3, [1, 2, 4], published=True),
            _row("x", 9, [1, 2, 4], published=True, location="S1"),
            _row("x", 5, [5, 5, 5], published=True, issue_time=ISSUE + DAY),
        )
    )
    (score,) = scores_by_lead(rows)
    assert (score.model, score.variable, score.lead, score.count) == ("published", "wind_speed", 1, 3)
    assert score.crps == pytest.approx((0.625 + 4.625 + 0) / 3)
    assert score.mae == pytest.approx(8 / 3)
    assert score.rmse == pytest.approx(np.sqrt(50 / 3))
    assert score.bias == pytest.approx(-8 / 3)
    assert score.coverage == pytest.approx(2 / 3)


def test_models_are_compared_over_the_forecasts_they_have_in_common() -> None:
    later = ISSUE + DAY
    rows = score_pairs(
        _frame(
            _row("champion", 3, [1, 2, 4], published=True),  # no baseline on the first day
            _row("champion", 9, [1, 2, 4], published=True, issue_time=later),
            _row("persistence", 9, [9, 9, 9], issue_time=later),
            _row("retired", 3, [0, 0, 0]),  # not verified on the last day
        )
    )
    scored = {score.model: (score.count, score.crps) for score in scores_by_lead(rows)}
    assert scored == {"published": (1, pytest.approx(4.625)), "persistence": (1, 0)}


def test_one_forecast_without_baselines_does_not_hide_those_that_had_them() -> None:
    rows = score_pairs(
        _frame(
            _row("champion", 9, [1, 2, 4], published=True),
            _row("persistence", 9, [9, 9, 9]),
            _row("climatology", 3, [1, 2, 4], published=True, issue_time=ISSUE + DAY),
        )
    )
    assert {score.model: score.count for score in scores_by_lead(rows)} == {"published": 1, "persistence": 1}


def _published_and(*baselines: str, hours: int, **changed: object) -> list[dict[str, object]]:
    """A published forecast with the error 6 and exact baselines, issued some hours later."""
    issue = {"issue_time": ISSUE + timedelta(hours=hours)} | changed
    return [
        _row("champion", 9, [1, 2, 4], published=True, **issue),
        *(_row(name, 9, [9, 9, 9], **issue) for name in baselines),
    ]


def test_a_day_on_which_the_baselines_change_is_compared_over_equal_forecasts() -> None:
    rows = [
        *_published_and(hours=0),
        *_published_and("climatology", "persistence", "ridge-var", hours=6),
        *_published_and("climatology", "persistence", hours=12),
        *_published_and("climatology", "persistence", hours=15),
    ]
    counts = {score.model: score.count for score in scores_by_lead(score_pairs(_frame(*rows)))}
    assert counts == {"published": 3, "climatology": 3, "persistence": 3}


def test_scores_of_older_releases_are_compared_where_the_counts_are_equal(tmp_path: Path) -> None:
    rows = [*_published_and("climatology", "ridge-var", hours=0), *_published_and("climatology", hours=6)]
    old = score_pairs(_frame(*rows)).groupby(["model", "variable", "lead", "location", "day"], as_index=False)
    scores = Scores(open_store(tmp_path))
    scores.replace("2002-01", old.sum(numeric_only=True).assign(models=None), at=ISSUE, issue_times=2)
    counts = {score.model: score.count for score in scores_by_lead(scores.read())}
    assert counts == {"published": 2, "climatology": 2}


def test_skill_is_over_all_leads() -> None:
    def score(model: str, lead: int, count: int, crps: float) -> LeadScore:
        return LeadScore(
            model=model, variable="v", lead=lead, count=count, crps=crps, mae=0, rmse=0, bias=0, coverage=1
        )

    table = [score("published", 1, 3, 1.0), score("published", 2, 1, 3.0)]
    table += [score("persistence", 1, 3, 2.0), score("persistence", 2, 1, 6.0), score("exact", 1, 1, 0.0)]
    assert skill_scores(table) == {"persistence": pytest.approx(0.5)}
    assert skill_scores(table[2:]) == {}
    assert skill_scores([]) == {}


def _of(model: str, variable: str, crps: float, *, lead: int = 1, count: int = 1) -> LeadScore:
    return LeadScore(
        model=model, variable=variable, lead=lead, count=count, crps=crps, mae=0, rmse=0, bias=0, coverage=1
    )


def test_skill_of_several_variables_scales_each_by_climatology() -> None:
    # Pressure in Pa and wind in m/s: 0.5 and 0.75 of the CRPS of climatology; persistence 0.8 and 1.2.
    table = [_of("published", "p", 500.0), _of("published", "wind", 1.5)]
    table += [_of("climatology", "p", 1000.0), _of("climatology", "wind", 2.0)]
    table += [_of("persistence", "p", 800.0), _of("persistence", "wind", 2.4)]
    assert skill_scores(table) == {
        "climatology": pytest.approx(1 - (0.5 + 0.75) / 2),
        "persistence": pytest.approx(1 - (0.5 + 0.75) / (0.8 + 1.2)),
    }
    kilo = [score.model_copy(update={"crps": score.crps / 1000}) if score.variable == "p" else score for score in table]
    assert skill_scores(kilo) == {name: pytest.approx(value) for name, value in skill_scores(table).items()}


def test_without_climatology_each_variable_is_scaled_by_the_baseline_itself() -> None:
    table = [_of("published", "p", 500.0), _of("published", "wind", 1.5, count=9)]
    table += [_of("persistence", "p", 800.0), _of("persistence", "wind", 2.0, count=9)]
    assert skill_scores(table) == {"persistence": pytest.approx(1 - (500 / 800 + 1.5 / 2) / 2)}


def test_a_baseline_without_one_of_the_variables_is_not_compared() -> None:
    table = [_of("published", "p", 1.0), _of("published", "wind", 1.0), _of("persistence", "p", 2.0)]
    assert skill_scores(table) == {}


def test_the_refit_is_compared_with_the_judged_fit_on_what_both_forecast() -> None:
    refit = {"published": True}
    rows = score_pairs(
        _frame(
            _row("ridge-var", 3, [1, 2, 4], **refit),  # 0.625
            _row("judged", 3, [0, 2, 4]),  # 0.75
            _row("climatology", 3, [3, 3, 3]),
            _row("ridge-var", 3, [3, 3, 3], issue_time=ISSUE + DAY, **refit),  # the judged fit made no forecast
        )
    )
    assert refit_skill(rows) == {"wind_speed": pytest.approx(1 - 0.625 / 0.75)}
    assert {score.model for score in scores_by_lead(rows)} == {"published", "climatology"}
    assert refit_skill(rows[rows["model"] != "judged"]) == {}
