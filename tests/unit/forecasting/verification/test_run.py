from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.cli.views import status, verify
from pipeline.forecasting.verification.match import match_observations
from pipeline.forecasting.verification.scores import LeadScore
from pipeline.jobs.verify import VerifyResult
from tests import jobs
from tests.conftest import ProductHome
from tests.world import make_rows

DAY = timedelta(days=1)


@pytest.fixture
def live(fresh: Callable[..., ProductHome]) -> ProductHome:
    """A live product without models; climatology serves. The observations end 10 days after the first issue time."""
    home = fresh(days=100, feed={"mode": "live"})
    jobs.forecast(home.workspace, since=home.end - 12 * DAY, until=home.end - DAY, at=home.end)
    return home


def _published(result: VerifyResult) -> dict[int, LeadScore]:
    return {score.lead: score for score in result.scores if score.model == "published"}


def _by_hand(home: ProductHome, at: datetime) -> dict[int, list[float]]:
    """Return the absolute errors of the median by lead, for the observations known at an instant."""
    rows = home.workspace.forecasts.table.read().to_pandas()
    known = home.workspace.feed.observations.read(known_by=at).to_pandas()
    observed = known.drop_duplicates(["valid_time", "location"], keep="last").set_index(["valid_time", "location"])
    errors: dict[int, list[float]] = {}
    for row in rows[rows["published"]].to_dict("records"):
        key = (row["valid_time"], row["location"])
        if key in observed.index:
            error = np.float64(row["quantiles"][3]) - np.float32(observed.loc[key, "wind_speed"])
            errors.setdefault(row["lead"], []).append(abs(error))
    return errors


def test_scores_equal_those_computed_by_hand_from_known_observations(live: ProductHome) -> None:
    result = jobs.verify(live.workspace, at=live.end)
    expected = _by_hand(live, live.end)
    scored = _published(result)
    assert {lead: score.count for lead, score in scored.items()} == {lead: len(some) for lead, some in expected.items()}
    for lead, errors in expected.items():
        assert scored[lead].mae == pytest.approx(np.mean(errors))
    assert scored[2].count < scored[1].count  # the newest lead 2 has no observation yet
    assert result.scored == sum(len(some) for some in expected.values())


def test_without_any_baseline_forecast_the_lack_of_skill_has_a_reason(
    live: ProductHome, capsys: pytest.CaptureFixture[str]
) -> None:
    verify.show(jobs.verify(live.workspace, at=live.end))
    assert "no skill: no baseline forecast the same values" in capsys.readouterr().out
    result = jobs.status(live.workspace, at=live.end)
    assert result.scored > 0
    status.show(result)
    assert "none: no baseline forecast the same values" in capsys.readouterr().out


def test_an_earlier_verification_scores_fewer_values(live: ProductHome) -> None:
    early = jobs.verify(live.workspace, at=live.end - 6 * DAY)
    assert 0 < early.scored < jobs.verify(live.workspace, at=live.end).scored


def test_after_a_long_outage_everything_that_matured_is_scored(live: ProductHome) -> None:
    jobs.verify(live.workspace, at=live.end - 6 * DAY)
    late = jobs.verify(live.workspace, at=live.end + 200 * DAY)
    assert late.scored == 4 * (11 + 10)  # stations x matured values of both leads, by hand: the observations end
    before = jobs.verify(live.workspace, at=live.end - 6 * DAY)
    assert before.scored == 4 * 2 * 7  # of the issue times until that day, by hand
    assert jobs.verify(live.workspace, at=live.end + 200 * DAY).scored == late.scored


def test_before_the_first_forecast_nothing_is_scored(live: ProductHome) -> None:
    jobs.verify(live.workspace, at=live.end)
    early = jobs.verify(live.workspace, at=live.end - 50 * DAY)
    assert (early.forecasts, early.scored, early.scores, early.refit_skill) == (0, 0, (), {})
    assert jobs.status(live.workspace, at=live.end - 50 * DAY).scored == 0


def test_forecasts_added_to_a_month_that_was_final_are_scored(live: ProductHome) -> None:
    late = live.end + 200 * DAY
    first = jobs.verify(live.workspace, at=late)
    jobs.forecast(live.workspace, since=live.end - 14 * DAY, until=live.end - 12 * DAY, at=live.end)
    assert jobs.verify(live.workspace, at=late).scored == first.scored + 4 * 2 * 2  # stations x leads x issue times
    version = live.workspace.scores.table.version
    jobs.verify(live.workspace, at=late)
    assert live.workspace.scores.table.version == version


def test_a_second_verification_changes_nothing(live: ProductHome) -> None:
    first = jobs.verify(live.workspace, at=live.end)
    rows = live.workspace.scores.read()
    second = jobs.verify(live.workspace, at=live.end)
    assert second == first
    again = live.workspace.scores.read()
    order = ["day", "lead", "location", "model"]
    pd.testing.assert_frame_equal(
        rows.sort_values(order).reset_index(drop=True), again.sort_values(order).reset_index(drop=True)
    )


def test_a_revised_observation_is_scored_again(live: ProductHome) -> None:
    before = _published(jobs.verify(live.workspace, at=live.end))[1]
    rows = live.workspace.forecasts.table.read().to_pandas()
    one = rows[rows["published"] & (rows["lead"] == 1) & (rows["location"] == "S0")].sort_values("valid_time").iloc[0]
    observations = live.workspace.feed.observations
    was = observations.read().to_pandas().set_index(["valid_time", "location"])["wind_speed"]
    valid, median = one["valid_time"].to_pydatetime(), float(one["quantiles"][3])

    observations.append(make_rows((valid, "S0", median + 10.0)), at=live.end + DAY, payload="1" * 64)
    assert _published(jobs.verify(live.workspace, at=live.end))[1] == before  # not known yet
    revised = _published(jobs.verify(live.workspace, at=live.end + DAY))[1]
    old = abs(median - was[(one["valid_time"], "S0")])
    assert revised.count == before.count
    assert revised.mae == pytest.approx(before.mae + (10 - old) / before.count, abs=1e-5)


def test_without_forecasts_there_are_no_scores(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=20)
    result = jobs.verify(home.workspace, at=home.end)
    assert (result.forecasts, result.scored, result.scores) == (0, 0, ())


def test_a_forecast_is_paired_with_the_newest_revision_known_by_an_instant() -> None:
    valid = pd.Timestamp("2002-01-02", tz="UTC")
    stamps = [pd.Timestamp("2002-01-03", tz="UTC") + n * pd.Timedelta(1, "D") for n in range(3)]
    observations = pa.Table.from_pandas(
        pd.DataFrame(
            {
                "valid_time": [valid] * 3,
                "location": ["S0"] * 3,
                "known_at": [stamps[1], stamps[2], stamps[0]],
                "wind_speed": [2.0, 3.0, 1.0],
            }
        ).astype({"valid_time": "datetime64[us, UTC]", "known_at": "datetime64[us, UTC]"})
    )
    forecasts = pa.Table.from_pandas(
        pd.DataFrame(
            {
                "valid_time": [valid] * 2,
                "location": ["S0", "S1"],
                "variable": ["wind_speed"] * 2,
            }
        ).astype({"valid_time": "datetime64[us, UTC]"})
    )
    for stamp, value in zip(stamps, (1.0, 2.0, 3.0), strict=True):
        matched = match_observations(forecasts, observations, known_by=stamp.to_pydatetime())
        assert matched["observed"].tolist() == [value]
        assert matched["location"].tolist() == ["S0"]
    assert match_observations(forecasts, observations, known_by=stamps[0].to_pydatetime() - DAY).empty
