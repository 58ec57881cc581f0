"""Products whose step is a month, a quarter, a week or a local day, from the check to the report page."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from rich.console import Console

from pipeline.cli.views import forecast as forecast_view
from pipeline.cli.views import ingest as ingest_view
from pipeline.cli.views import status as status_view
from pipeline.config import load_product
from pipeline.errors import ConfigError
from pipeline.jobs.check import check_product
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import ProductHome
from tests.world import VARIABLE, make_product, make_settings

DUBLIN = "day in Europe/Dublin"
FREQUENCIES = {"month": "MS", "quarter": "QS", "week": "W-MON", DUBLIN: "D"}
DAYS_A_YEAR = {"month": 12, "quarter": 4, "week": 52.18, DUBLIN: 365.25}

Make = Callable[..., ProductHome]


def _values(step: str, periods: int, stations: int) -> np.ndarray:
    """Return values with a yearly cycle and anomalies that last: 0.9 of each remains in the next step."""
    random = np.random.default_rng(5)
    anomaly = np.zeros((periods, stations))
    for n in range(1, periods):
        anomaly[n] = 0.9 * anomaly[n - 1] + 0.4 * random.normal() + 0.2 * random.normal(size=stations)
    season = 2 * np.cos(2 * np.pi * np.arange(periods) / DAYS_A_YEAR[step])
    return np.asarray(np.round(9 + season[:, None] + anomaly, 3))


def _write(folder: Path, times: pd.DatetimeIndex, values: np.ndarray, stamp: str = "%Y-%m-%d") -> None:
    wide = pd.DataFrame(values, columns=[f"S{n}" for n in range(values.shape[1])])
    wide.insert(0, "time", times.strftime(stamp))
    wide.to_csv(folder / "wind.csv", index=False)


@pytest.fixture
def make(tmp_path: Path, empty_mlflow: Path) -> Make:
    """Makes a product of calendar steps with its files, nothing ingested; `end` is when its last value has arrived."""

    def made(
        step: str, start: str, periods: int, *, stations: int = 1, stamp: str = "%Y-%m-%d", **overrides: Any
    ) -> ProductHome:
        folder = tmp_path / "product"
        fields: dict[str, Any] = {
            "feed": {"step": step, "delay": "1d"},
            "forecast": {"targets": [VARIABLE], "context": 14, "horizon": 3},
            "training": {"candidates": ["ridge-var"], "validation": None, "budget": "1min", "window": "20y"},
            "gate": {"issues": None, "significance": 0.2},
            **overrides,
        }
        make_product(folder, stations=stations, days=3, **fields)
        times = pd.date_range(start, periods=periods, freq=FREQUENCIES[step])
        _write(folder, times, _values(step, periods, stations), stamp)
        product, settings = load_product(folder / "product.yaml"), make_settings(folder)
        (settings.home / "mlflow").mkdir(parents=True)
        shutil.copy(empty_mlflow, settings.home / "mlflow" / "mlflow.db")
        end = (times[-1] + pd.tseries.frequencies.to_offset(FREQUENCIES[step])).tz_localize("UTC")
        return ProductHome(product, settings, end.to_pydatetime() + timedelta(days=2))

    return made


def _printed(view: Any, result: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    console = Console(record=True, width=200, soft_wrap=True)
    monkeypatch.setattr(view, "out", console)
    view.show(result)
    return console.export_text()


def _text_of(page: Path) -> str:
    text = re.sub(r"<style.*?</style>", "", page.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def _run(place: ProductHome) -> tuple[Any, Any]:
    """Check, ingest, train and forecast; return the result of the retrain and the last forecast."""
    facts = check_product(place.workspace, at=place.end)
    assert "refused" not in facts
    ingested = jobs.ingest(place.workspace, at=place.end)
    assert (ingested.refused, ingested.revised) == (0, 0)
    retrained = jobs.retrain(place.workspace, at=place.end)
    (forecast,) = jobs.forecast(place.workspace, at=place.end)
    return retrained, forecast


def test_fifteen_years_of_months_at_several_stations(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cron = {"forecast": "0 12 2 * *"}
    place = make("month", "2009-03-01", 180, stations=3, stamp="%Y-%m", schedule=cron)
    facts = check_product(place.workspace, at=place.end)
    assert facts["schedule"] == (
        "a forecast issued on 2024-03-02 at 12:00 UTC uses values up to February 2024 and covers 3 months, "
        "March 2024 to May 2024"
    )
    ingested = jobs.ingest(place.workspace, at=place.end)
    assert ingested.added == 540
    assert ingested.newest == datetime(2024, 3, 1, tzinfo=UTC)
    assert "newest value February 2024" in _printed(ingest_view, ingested, monkeypatch)
    times = sorted(set(place.workspace.feed.observations.read()["valid_time"].to_pylist()))
    assert times == [at.to_pydatetime() for at in pd.date_range("2009-04-01", periods=180, freq="MS", tz="UTC")]

    retrained = jobs.retrain(place.workspace, at=place.end)
    assert retrained.verdict.promoted
    assert place.workspace.registry.by_alias("champion") is not None

    since = datetime(2023, 9, 1, tzinfo=UTC)
    results = jobs.forecast(place.workspace, since=since, at=place.end)
    assert len(results) == 7
    assert results[-1].periods == ("March 2024", "April 2024", "May 2024")
    assert results[-1].fallback_level == 0
    assert "for March 2024 to May 2024: " in _printed(forecast_view, results[-1:], monkeypatch)
    verified = jobs.verify(place.workspace, at=place.end)
    assert verified.scored == 3 * (6 + 5 + 4)  # stations, and the issue times whose value of each lead is due
    status = jobs.status(place.workspace, at=place.end)
    assert status.state == "fresh"
    assert "newest February 2024" in _printed(status_view, status, monkeypatch)

    page = _text_of(results[-1].folder / "report.html")
    for words in (
        "next 3 months",
        "For March 2024 the median is highest",
        "March 2024 April 2024 May 2024",
        "The last 15 months and the forecast, in UTC",
        "February 2024 (period ended 1 Mar 2024 00:00 UTC)",
    ):
        assert words in page
    assert not re.search(r"1 Mar(?! 2024 00:00)", page)
    with xr.open_dataset(results[-1].folder / "forecast.nc") as published:
        assert published["time_bnds"].values.astype("datetime64[D]").astype(str).tolist() == [
            ["2024-03-01", "2024-04-01"],
            ["2024-04-01", "2024-05-01"],
            ["2024-05-01", "2024-06-01"],
        ]
    rows = pd.read_parquet(results[-1].folder / "forecast.parquet")
    assert [f"{at:%Y-%m-%d}" for at in rows["valid_time"].unique()] == ["2024-04-01", "2024-05-01", "2024-06-01"]


@pytest.mark.parametrize(
    ("step", "start", "periods", "cron", "names"),
    [
        ("month", "2009-03-01", 180, "0 12 2 * *", ("March 2024", "April 2024", "May 2024")),
        ("quarter", "2000-01-01", 80, "0 12 2 1,4,7,10 *", ("Q1 2020", "Q2 2020", "Q3 2020")),
        ("week", "2020-01-06", 200, "0 12 * * 2", ("week of 6 November 2023", "week of 13 November 2023")),
        (DUBLIN, "2023-01-20", 281, "0 12 * * *", ("29 October 2023", "30 October 2023", "31 October 2023")),
    ],
)
def test_one_station(make: Make, step: str, start: str, periods: int, cron: str, names: tuple[str, ...]) -> None:
    place = make(step, start, periods, schedule={"forecast": cron})
    retrained, forecast = _run(place)
    assert retrained.verdict.issues > 0
    assert retrained.verdict.promoted or forecast.fallback_level == 3  # the best baseline, until it is shown
    assert forecast.periods[: len(names)] == names
    assert forecast.fallback_level <= 3
    assert names[0] in _text_of(forecast.folder / "report.html")


def test_local_days_across_both_changes_of_clocks(make: Make) -> None:
    place = make(DUBLIN, "2023-03-20", 240, schedule={"forecast": "0 12 * * *"})
    jobs.ingest(place.workspace, at=place.end)
    times = sorted(set(place.workspace.feed.observations.read()["valid_time"].to_pylist()))
    lengths = [(after - before) / timedelta(hours=1) for before, after in pairwise(times)]
    assert sorted(set(lengths)) == [23, 24, 25]
    assert (len(times), lengths.count(23), lengths.count(25)) == (240, 1, 1)
    assert times[0] == datetime(2023, 3, 21, tzinfo=UTC)
    assert datetime(2023, 6, 1, 23, tzinfo=UTC) in times
    results = jobs.forecast(
        place.workspace, since=datetime(2023, 10, 26, tzinfo=UTC), at=datetime(2023, 10, 28, tzinfo=UTC)
    )
    assert [one.periods[0] for one in results] == ["26 October 2023", "27 October 2023"]
    rows = pd.read_parquet(results[0].folder / "forecast.parquet")
    assert [f"{at:%d %H}" for at in rows["valid_time"].unique()] == ["26 23", "27 23", "28 23"]
    rows = pd.read_parquet(results[1].folder / "forecast.parquet")
    assert [f"{at:%d %H}" for at in rows["valid_time"].unique()] == ["27 23", "28 23", "30 00"]  # the 29th has 25 hours
    jobs.verify(place.workspace, at=place.end)
    assert {row.count for row in jobs.verify(place.workspace, at=place.end).scores} == {2}


def test_a_late_revision_replaces_its_month(make: Make) -> None:
    place = make("month", "2014-01-01", 60, feed={"step": "month", "delay": "1d", "mode": "live"})
    jobs.ingest(place.workspace, at=place.end)
    source = place.product.folder / "wind.csv"
    lines = source.read_text().splitlines()
    assert lines[-3].startswith("2018-10-01,")
    source.write_text("\n".join([lines[0], "2018-10-17,99.5", *lines[-2:]]) + "\n")  # stamped in the middle, this time
    later = place.end + timedelta(days=20)
    revised = jobs.ingest(place.workspace, at=later)
    assert (revised.added, revised.revised, revised.unchanged) == (0, 1, 2)
    october = datetime(2018, 11, 1, tzinfo=UTC)
    rows = place.workspace.feed.observations.read(since=october, until=october).sort_by("known_at")
    assert rows["known_at"].to_pylist()[1] == later
    assert rows[VARIABLE].to_pylist()[1] == 99.5
    known = place.workspace.feed.observations.read(known_by=place.end, since=october, until=october)
    assert known[VARIABLE].to_pylist() != [99.5]


def test_two_values_of_one_month_do_not_overwrite_silently(make: Make) -> None:
    place = make("month", "2014-01-01", 24)
    source = place.product.folder / "wind.csv"
    source.write_text(source.read_text() + "2015-12-20,7.5\n")
    ingested = jobs.ingest(place.workspace, at=place.end)
    assert (ingested.added, ingested.refused) == (24, 1)
    assert list(ingested.reasons) == ["duplicate key, a later row of the payload has other values"]
    refused = place.workspace.feed.quarantine.open_rows()
    assert refused["valid_time"].to_pylist() == [datetime(2016, 1, 1, tzinfo=UTC)]


def test_a_backfill_by_parts_gives_the_same_table(make: Make, tmp_path: Path) -> None:
    place = make("month", "2010-01-01", 48, stations=2)
    source = place.product.folder / "wind.csv"
    header, *lines = source.read_text().splitlines()
    source.unlink()
    for year in range(4):
        part = "\n".join([header, *lines[12 * year : 12 * year + 12]])
        (place.product.folder / f"wind-{2010 + year}.csv").write_text(part + "\n")
    text = place.file.read_text().replace("path: wind.csv", "path: wind-*.csv")
    place.file.write_text(text)
    product = load_product(place.file)
    whole, parts = (Workspace(product, make_settings(tmp_path / name)) for name in ("whole", "parts"))
    since, until = datetime(2010, 6, 1, tzinfo=UTC), datetime(2013, 6, 1, tzinfo=UTC)
    jobs.backfill(whole, since=since, until=until, at=place.end)
    for number in (3, 1, 2):
        jobs.backfill(parts, since=since, until=until, part=(number, 3), at=place.end)
    times = sorted(set(whole.feed.observations.read()["valid_time"].to_pylist()))
    assert (times[0], times[-1], len(times)) == (since, until, 37)
    assert parts.feed.observations.digest() == whole.feed.observations.digest()


@pytest.mark.parametrize(
    ("step", "stamp", "start"),
    [("30d", "%Y-%m-%d", "2014-01-31"), ("31d", "%Y-%m-15", "2014-01-01"), ("30d", "%Y-%m-01", "2014-01-01")],
)
def test_the_check_names_the_calendar_step_that_fits(make: Make, step: str, stamp: str, start: str) -> None:
    place = make("month", "2014-01-01", 60, stations=2)
    place.file.write_text(place.file.read_text().replace("step: month", f"step: {step}"))
    frequency = "ME" if start.endswith("31") else "MS"
    times = pd.date_range(start, periods=60, freq=frequency)
    _write(place.product.folder, times, _values("month", 60, 2), stamp)
    workspace = Workspace(load_product(place.file), place.settings)
    with pytest.raises(ConfigError) as caught:
        check_product(workspace, at=place.end)
    message = str(caught.value)
    assert message.startswith("tiny-wind: feed.step: 1")
    assert f"of 120 rows are off the time grid of {step} from 1970, e.g. 2014-" in message
    assert message.endswith("; write step: month, which their time stamps fit")
    assert caught.value.exit_code == 2


def test_the_check_notes_months_of_a_daily_feed(make: Make) -> None:
    place = make("month", "2014-01-01", 60)
    place.file.write_text(place.file.read_text().replace("step: month", "step: 1d"))
    facts = check_product(Workspace(load_product(place.file), place.settings), at=place.end)
    assert "the time stamps fit step: month, and feed.step is 1d" in facts["note"]


def test_a_backtest_of_months_groups_by_season_and_not_by_hour(make: Make) -> None:
    place = make("month", "2009-03-01", 120, schedule={"forecast": "0 12 2 * *"})
    jobs.ingest(place.workspace, at=place.end)
    since = datetime(2018, 3, 1, tzinfo=UTC)
    result = jobs.backtest(
        place.workspace,
        since=since,
        until=place.end,
        every=timedelta(days=200),
        models=("climatology", "damped-anomaly"),
        at=place.end,
    )
    assert result.scores is not None
    groups = {(one.by, one.group) for one in result.scores.scores}
    assert {group for by, group in groups if by == "season"} == {"DJF", "MAM", "JJA", "SON"}
    assert not [group for by, group in groups if by == "hour"]
    assert result.folder is not None
    assert "3 mo" in (result.folder / "backtest.html").read_text()
