"""Steps that do not fit the time stamps of a source, and those that do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.config import Feed
from pipeline.config.steps import format_step
from pipeline.ingest.decoding.layouts import decode_table
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.quality.checks import check_rows
from pipeline.ingest.quality.step_fit import find_misfit, fitting_step
from pipeline.ingest.sources.base import REFUSED_SCHEMA
from tests.world import make_product, make_settings

NOTHING = REFUSED_SCHEMA.empty_table()


def _feed(folder: Path, step: str, **time: Any) -> Feed:
    return make_product(folder, days=20, feed={"step": step, "source": {"time": {"columns": ["time"], **time}}}).feed


def _rows(feed: Feed, folder: Path, times: pd.DatetimeIndex) -> pa.Table:
    opened = OpenFeed(feed, make_settings(folder))
    table = pa.table({"time": times.strftime("%Y-%m-%d %H:%M"), "S0": np.arange(len(times)) + 1.0})
    return decode_table(table, feed, feed.source, opened.locations).rows  # type: ignore[arg-type]


MONTHS = pd.date_range("2005-01-01", periods=60, freq="MS")


@pytest.mark.parametrize(
    ("step", "times", "time", "fits"),
    [
        ("30d", MONTHS, {"label": "start"}, "month"),
        ("30d", MONTHS, {}, "month"),
        ("31d", pd.date_range("2005-01-31", periods=60, freq="ME"), {}, "month"),
        ("30d", MONTHS + timedelta(days=14), {"label": "start"}, "month"),
        ("91d", pd.date_range("2005-01-01", periods=40, freq="QS"), {"label": "start"}, "quarter"),
        ("1w", pd.date_range("2005-01-03", periods=60, freq="7D"), {}, "week"),  # Mondays; 1970 began on a Thursday
        ("1d", pd.date_range("2005-01-01 09:00", periods=60, freq="6h"), {}, None),  # nothing evident: off by hours
        ("1h", pd.date_range("2005-01-01 00:10", periods=60, freq="20min"), {}, None),
        ("1h", pd.date_range("2005-01-01", periods=60, freq="20min"), {}, "20min"),
    ],
)
def test_the_step_that_time_stamps_fit_is_named(
    tmp_path: Path, step: str, times: pd.DatetimeIndex, time: dict[str, Any], fits: str | None
) -> None:
    feed = _feed(tmp_path, step, **time)
    rows = _rows(feed, tmp_path, times)
    found = fitting_step(rows, feed)
    assert (format_step(found) if found else None) == fits
    misfit = find_misfit(rows, NOTHING, feed)
    assert misfit is not None
    assert misfit.problem.endswith(" UTC")
    assert f"of 60 rows are off the time grid of {step}" in misfit.problem or len(times) == 40
    assert misfit.remedy == (
        f"write step: {fits}, which their time stamps fit"
        if fits
        else f"write their step, or resample: {step} in feed.source.time if they are irregular"
    )


@pytest.mark.parametrize(
    ("step", "times"),
    [
        ("month", MONTHS),
        ("1d", pd.date_range("2005-01-01", periods=60, freq="D")),
        ("1d", MONTHS),  # sparse, yet on the grid
    ],
)
def test_a_step_that_fits_is_no_misfit(tmp_path: Path, step: str, times: pd.DatetimeIndex) -> None:
    feed = _feed(tmp_path, step)
    assert find_misfit(_rows(feed, tmp_path, times), NOTHING, feed) is None


def test_local_days_are_recognised_where_clocks_change(tmp_path: Path) -> None:
    feed = _feed(tmp_path, "12h", zone="Europe/Dublin")
    found = fitting_step(_rows(feed, tmp_path, pd.date_range("2024-03-20", periods=60, freq="D")), feed)
    assert found is not None
    assert format_step(found) == "day in Europe/Dublin"


def test_daily_rows_of_a_monthly_feed_contradict_each_other(tmp_path: Path) -> None:
    feed = _feed(tmp_path, "month")
    rows = _rows(feed, tmp_path, pd.date_range("2005-01-01", periods=59, freq="D"))
    locations = OpenFeed(feed, make_settings(tmp_path)).locations
    checked = check_rows(rows, feed, locations, now=datetime(2006, 1, 1, tzinfo=UTC), live=False)
    assert checked.accepted["wind_speed"].to_pylist() == [31.0, 59.0]  # the last of each month, as in any payload
    assert checked.refused.num_rows == 57
    misfit = find_misfit(rows, checked.refused, feed)
    assert misfit is not None
    assert misfit.problem == "57 of 59 rows contradict a later one of the same month and location"
    assert misfit.remedy == "write the step of the rows, e.g. 1d"
