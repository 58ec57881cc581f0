from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from pipeline.forecasting.verification.scores import LeadScore, by_lead, score_rows, skill

ISSUE = datetime(2002, 1, 1, 7, tzinfo=UTC)
DAY = timedelta(days=1)


def _row(model: str, truth: float, quantiles: list[float], **changed: object) -> dict[str, object]:
    return {
        "model": model,
        "published": False,
        "variable": "wind_speed",
        "lead": 1,
        "location": "S0",
        "issue_time": ISSUE,
        "levels": [0.25, 0.5, 0.75],
        "quantiles": quantiles,
        "truth": truth,
    } | changed


def _frame(*rows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    return frame.assign(issue_time=pd.to_datetime(frame["issue_time"]))


def test_sums_are_worked_out_by_hand() -> None:
    # Quantiles 1, 2, 4 of truth 3: pinball 0.25 * 2, 0.5 * 1, 0.25 * 1 = 0.5, 0.5, 0.25.
    # Trapezoids over 0, 0.25, 0.5, 0.75, 1 give each level the weight 0.25: CRPS = 2 * 0.25 * 1.25 = 0.625.
    # Truth 9: 0.25 * 8, 0.5 * 7, 0.75 * 5 = 2, 3.5, 3.75: CRPS = 2 * 0.25 * 9.25 = 4.625, outside the interval.
    made = score_rows(_frame(_row("a", 3, [1, 2, 4], published=True), _row("b", 9, [1, 2, 4], published=True)))
    (row,) = made.to_dict("records")
    assert (row["model"], row["lead"], row["location"], row["day"]) == ("published", 1, "S0", ISSUE.date())
    assert row["count"] == 2
    assert row["crps_sum"] == pytest.approx(0.625 + 4.625)
    assert row["absolute_error_sum"] == 1 + 7
    assert row["squared_error_sum"] == 1 + 49
    assert row["error_sum"] == -1 - 7
    assert row["covered_sum"] == 1


def test_the_published_forecast_is_scored_apart_from_its_own_model() -> None:
    made = score_rows(_frame(_row("ridge-var", 3, [1, 2, 4], published=True), _row("ridge-var", 3, [3, 3, 3])))
    assert dict(zip(made["model"], made["crps_sum"], strict=True)) == {
        "published": pytest.approx(0.625),
        "ridge-var": 0,
    }


def test_forecasts_of_other_levels_can_be_scored_together() -> None:
    other = _row("a", 3, [2, 2.5], levels=[0.25, 0.5], published=True, lead=2)
    made = score_rows(_frame(_row("a", 3, [1, 2, 4], published=True), other))
    # levels 0.25 and 0.5: weights 0.25 and 0.375; pinball 0.25 and 0.25
    assert made.set_index("lead")["crps_sum"].to_dict() == {
        1: pytest.approx(0.625),
        2: pytest.approx(2 * (0.25 * 0.25 + 0.375 * 0.25)),
    }


def test_nothing_matched_is_nothing_scored() -> None:
    empty = _frame(_row("a", 1, [1, 1, 1])).head(0)
    assert score_rows(empty).empty
    assert by_lead(score_rows(empty)) == ()


def test_means_are_of_sums_and_the_root_comes_last() -> None:
    rows = score_rows(
        _frame(
            _row("x", 3, [1, 2, 4], published=True),
            _row("x", 9, [1, 2, 4], published=True, location="S1"),
            _row("x", 5, [5, 5, 5], published=True, issue_time=ISSUE + DAY),
        )
    )
    (score,) = by_lead(rows)
    assert (score.model, score.variable, score.lead, score.count) == ("published", "wind_speed", 1, 3)
    assert score.crps == pytest.approx((0.625 + 4.625 + 0) / 3)
    assert score.mae == pytest.approx(8 / 3)
    assert score.rmse == pytest.approx(np.sqrt(50 / 3))
    assert score.bias == pytest.approx(-8 / 3)
    assert score.coverage == pytest.approx(2 / 3)


def test_models_are_compared_over_what_all_of_them_forecast() -> None:
    later = ISSUE + DAY
    rows = score_rows(
        _frame(
            _row("champion", 3, [1, 2, 4], published=True),  # the baseline was not there on the first day
            _row("champion", 9, [1, 2, 4], published=True, issue_time=later),
            _row("persistence", 9, [9, 9, 9], issue_time=later),
            _row("retired", 3, [0, 0, 0]),  # served once, long ago
        )
    )
    told = {score.model: (score.count, score.crps) for score in by_lead(rows)}
    assert told == {"published": (1, pytest.approx(4.625)), "persistence": (1, 0)}


def test_one_forecast_without_baselines_does_not_hide_those_that_had_them() -> None:
    rows = score_rows(
        _frame(
            _row("champion", 9, [1, 2, 4], published=True),
            _row("persistence", 9, [9, 9, 9]),
            _row("climatology", 3, [1, 2, 4], published=True, issue_time=ISSUE + DAY),
        )
    )
    assert {score.model: score.count for score in by_lead(rows)} == {"published": 1, "persistence": 1}


def test_skill_is_over_all_leads() -> None:
    def score(model: str, lead: int, count: int, crps: float) -> LeadScore:
        return LeadScore(
            model=model, variable="v", lead=lead, count=count, crps=crps, mae=0, rmse=0, bias=0, coverage=1
        )

    table = [score("published", 1, 3, 1.0), score("published", 2, 1, 3.0)]
    table += [score("persistence", 1, 3, 2.0), score("persistence", 2, 1, 6.0), score("exact", 1, 1, 0.0)]
    assert skill(table) == {"persistence": pytest.approx(0.5)}
    assert skill(table[2:]) == {}
    assert skill([]) == {}


def _of(model: str, variable: str, crps: float, *, lead: int = 1, count: int = 1) -> LeadScore:
    return LeadScore(
        model=model, variable=variable, lead=lead, count=count, crps=crps, mae=0, rmse=0, bias=0, coverage=1
    )


def test_skill_of_several_variables_is_a_mean_of_parts_of_climatology() -> None:
    # Pressure in Pa and wind in m/s: ours are 0.5 and 0.75 of climatology's, those of persistence 0.8 and 1.2.
    table = [_of("published", "p", 500.0), _of("published", "wind", 1.5)]
    table += [_of("climatology", "p", 1000.0), _of("climatology", "wind", 2.0)]
    table += [_of("persistence", "p", 800.0), _of("persistence", "wind", 2.4)]
    assert skill(table) == {
        "climatology": pytest.approx(1 - (0.5 + 0.75) / 2),
        "persistence": pytest.approx(1 - (0.5 + 0.75) / (0.8 + 1.2)),
    }
    kilo = [score.model_copy(update={"crps": score.crps / 1000}) if score.variable == "p" else score for score in table]
    assert skill(kilo) == {name: pytest.approx(value) for name, value in skill(table).items()}


def test_without_climatology_each_baseline_is_its_own_unit() -> None:
    table = [_of("published", "p", 500.0), _of("published", "wind", 1.5, count=9)]
    table += [_of("persistence", "p", 800.0), _of("persistence", "wind", 2.0, count=9)]
    assert skill(table) == {"persistence": pytest.approx(1 - (500 / 800 + 1.5 / 2) / 2)}


def test_a_baseline_without_one_of_the_variables_is_not_compared() -> None:
    table = [_of("published", "p", 1.0), _of("published", "wind", 1.0), _of("persistence", "p", 2.0)]
    assert skill(table) == {}
