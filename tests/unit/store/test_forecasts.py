from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pipeline.store.forecasts import SCHEMA, Forecasts
from pipeline.store.objects import open_store
from pipeline.workspace import Workspace
from tests.world import make_product, make_settings

ISSUE = datetime(2001, 1, 31, 18, tzinfo=UTC)


def forecast(issue_time: datetime, *, model: str = "ridge-var", locations: int = 2) -> pa.Table:
    row: dict[str, Any] = {
        "issue_time": issue_time,
        "valid_time": issue_time + timedelta(hours=6),
        "lead": 1,
        "variable": "wind_speed",
        "model": model,
        "published": True,
        "levels": [0.1, 0.5, 0.9],
        "quantiles": [1.0, 2.0, 3.0],
        "rung": 0,
        "input_age_hours": 7.0,
        "version": 3,
        "digest": "ab" * 32,
        "code_version": "0",
        "notes": "",
    }
    schema = pa.schema([field for field in SCHEMA if field.name != "month"])
    return pa.Table.from_pylist([row | {"location": f"S{n}"} for n in range(locations)], schema=schema)


@pytest.fixture
def store(tmp_path: Path) -> Forecasts:
    return Forecasts(open_store(tmp_path / "forecasts"))


def test_an_empty_store(store: Forecasts) -> None:
    assert store.read(ISSUE).num_rows == 0
    assert store.table.read().num_rows == 0
    assert store.issue_times() == []


def test_a_forecast_is_read_back_unchanged(store: Forecasts) -> None:
    assert store.add(ISSUE, forecast(ISSUE))
    assert store.read(ISSUE).drop_columns("month").equals(forecast(ISSUE))
    assert store.read(ISSUE)["month"].to_pylist() == ["2001-01"] * 2
    assert store.read(ISSUE + timedelta(microseconds=1)).num_rows == 0


def test_the_first_forecast_of_an_issue_time_is_kept(store: Forecasts) -> None:
    assert store.add(ISSUE, forecast(ISSUE, model="first"))
    assert not store.add(ISSUE, forecast(ISSUE, model="second"))
    assert store.read(ISSUE)["model"].to_pylist() == ["first"] * 2


def test_one_of_two_concurrent_forecasts_is_kept(store: Forecasts, monkeypatch: pytest.MonkeyPatch) -> None:
    # The other run commits after this one has read.
    append = store.table.append
    rival = Forecasts(store.table.store)
    rivals: list[bool] = []

    def overtaken(choose: Any, *, where: Any = None) -> pa.Table:
        def overtaken_choose(existing: pa.Table) -> pa.Table:
            if not rivals:
                rivals.append(rival.add(ISSUE, forecast(ISSUE, model="rival")))
            return choose(existing)

        return append(overtaken_choose, where=where)

    monkeypatch.setattr(store.table, "append", overtaken)
    assert not store.add(ISSUE, forecast(ISSUE, model="mine"))
    assert rivals == [True]
    assert store.read(ISSUE)["model"].to_pylist() == ["rival"] * 2


def test_issue_times_in_other_zones_are_the_same_instants(store: Forecasts) -> None:
    there = ISSUE.astimezone(ZoneInfo("Pacific/Auckland"))  # already February there
    assert store.add(ISSUE, forecast(ISSUE))
    assert not store.add(there, forecast(there))
    assert store.read(there).num_rows == 2


def test_forecasts_by_month_and_their_issue_times(store: Forecasts) -> None:
    later = ISSUE + timedelta(days=1)
    store.add(later, forecast(later))
    store.add(ISSUE, forecast(ISSUE, locations=1))
    assert store.issue_times() == [ISSUE, later]
    assert store.read_month("2001-02")["issue_time"].to_pylist() == [later] * 2
    assert store.table.read().num_rows == 3


def test_the_forecasts_of_a_product(tmp_path: Path) -> None:
    product, settings = make_product(tmp_path, days=3), make_settings(tmp_path)
    assert Workspace(product, settings).forecasts.table.uri == str(
        settings.home / "products" / "tiny-wind" / "forecasts"
    )
