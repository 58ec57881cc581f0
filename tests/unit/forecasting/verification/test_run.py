from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.forecasting.verification.match import match
from pipeline.forecasting.verification.scores import LeadScore
from pipeline.jobs.verify import VerifyResult
from tests import jobs
from tests.conftest import ProductHome
from tests.world import make_rows

DAY = timedelta(days=1)


@pytest.fixture
def live(fresh: Callable[..., ProductHome]) -> ProductHome:
    """A live product without models; climatology serves. The record ends 10 days after the first issue time."""
    place = fresh(days=100, feed={"mode": "live"})
    jobs.forecast(place.workspace, since=place.end - 12 * DAY, until=place.end - DAY, at=place.end)
    return place


def _published(result: VerifyResult) -> dict[int, LeadScore]:
    return {score.lead: score for score in result.scores if score.model == "published"}


def _by_hand(place: ProductHome, at: datetime) -> dict[int, list[float]]:
    """Absolute errors of the median by lead, over what is known at an instant."""
    rows = place.workspace.forecasts.table.read().to_pandas()
    known = place.workspace.feed.observations.read(known_by=at).to_pandas()
    truth = known.drop_duplicates(["valid_time", "location"], keep="last").set_index(["valid_time", "location"])
    errors: dict[int, list[float]] = {}
    for row in rows[rows["published"]].to_dict("records"):
        key = (row["valid_time"], row["location"])
        if key in truth.index:
            error = np.float64(row["quantiles"][3]) - np.float32(truth.loc[key, "wind_speed"])
            errors.setdefault(row["lead"], []).append(abs(error))
    return errors


def test_scores_are_those_worked_out_by_hand_and_only_of_what_is_known(live: ProductHome) -> None:
    result = jobs.verify(live.workspace, at=live.end)
    expected = _by_hand(live, live.end)
    told = _published(result)
    assert {lead: score.count for lead, score in told.items()} == {lead: len(some) for lead, some in expected.items()}
    for lead, errors in expected.items():
        assert told[lead].mae == pytest.approx(np.mean(errors))
    assert told[2].count < told[1].count  # the newest lead 2 has not come true
    assert result.scored == sum(len(some) for some in expected.values())


def test_verified_earlier_less_has_matured(live: ProductHome) -> None:
    early = jobs.verify(live.workspace, at=live.end - 6 * DAY)
    assert 0 < early.scored < jobs.verify(live.workspace, at=live.end).scored


def test_after_a_long_outage_all_that_matured_meanwhile_is_scored(live: ProductHome) -> None:
    jobs.verify(live.workspace, at=live.end - 6 * DAY)
    late = jobs.verify(live.workspace, at=live.end + 200 * DAY)
    assert late.scored == 4 * (11 + 10)  # stations x matured values of both leads, by hand: the record ends
    before = jobs.verify(live.workspace, at=live.end - 6 * DAY)
    assert before.scored == late.scored  # looking back takes nothing away


def test_twice_is_once(live: ProductHome) -> None:
    first = jobs.verify(live.workspace, at=live.end)
    rows = live.workspace.scores.read()
    second = jobs.verify(live.workspace, at=live.end)
    assert second == first
    again = live.workspace.scores.read()
    order = ["day", "lead", "location", "model"]
    pd.testing.assert_frame_equal(
        rows.sort_values(order).reset_index(drop=True), again.sort_values(order).reset_index(drop=True)
    )


def test_revised_truth_is_scored_anew(live: ProductHome) -> None:
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


def test_no_forecast_is_nothing_to_verify(fresh: Callable[..., ProductHome]) -> None:
    place = fresh(days=20)
    result = jobs.verify(place.workspace, at=place.end)
    assert (result.forecasts, result.scored, result.scores) == (0, 0, ())


def test_truth_is_the_newest_revision_known_by_an_instant() -> None:
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
    for stamp, truth in zip(stamps, (1.0, 2.0, 3.0), strict=True):
        matched = match(forecasts, observations, known_by=stamp.to_pydatetime())
        assert matched["truth"].tolist() == [truth]
        assert matched["location"].tolist() == ["S0"]
    assert match(forecasts, observations, known_by=stamps[0].to_pydatetime() - DAY).empty
