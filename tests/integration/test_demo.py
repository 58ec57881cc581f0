"""The demo, run once for real, and once more in the same home."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Settings
from pipeline.demo.run import Outcome, run_demo
from pipeline.ingest.feed import OpenFeed
from pipeline.workspace import Workspace
from tests.world import make_settings

BUDGET = timedelta(seconds=20)
"""Enough for a demo in which no network beats its base, with five seconds or sixty."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def events() -> list[str]:
    return []


@pytest.fixture(scope="module")
def outcome(settings: Settings, events: list[str]) -> Iterator[Outcome]:
    yield run_demo(settings, report=events.append, budget=BUDGET)


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _state(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    product, root = outcome.product, settings.home / "products" / outcome.product.name
    scores = Workspace(product, settings).scores.read()
    order = ["day", "model", "lead", "location"]
    return {
        "observations": OpenFeed(product.feed, settings).observations.table.read().num_rows,
        "quarantine": OpenFeed(product.feed, settings).quarantine.read().num_rows,
        "forecasts": Workspace(product, settings).forecasts.table.read().num_rows,
        "ledger": Workspace(product, settings).ledger.read(),
        "versions": Workspace(product, settings).registry.versions(),
        "scores": scores.sort_values(order)
        .reset_index(drop=True)
        .drop(columns="scored_at")
        .round(9)
        .to_json(date_format="iso"),
        "published": _files(root / "published"),
        "raw": _files(root / "raw"),
        "models": _files(root / "models"),
    }


def test_fourteen_issue_times_are_published(outcome: Outcome) -> None:
    folders = {day.forecast.folder for day in outcome.days}
    assert len(folders) == len(outcome.days) == 14
    for folder in folders:
        index = json.loads((folder / "forecast.json").read_text())
        assert {"forecast.parquet", "forecast.nc", "report.html"} <= set(index["files"])


def test_the_champion_beats_persistence_and_climatology_at_every_lead(outcome: Outcome, settings: Settings) -> None:
    champion = Workspace(outcome.product, settings).registry.by_alias("champion")
    assert champion is not None
    verdict = next(one.verdict for one in reversed(outcome.retrains) if one.verdict.promoted)
    assert verdict.challenger == champion.model
    rivals = {rival.rival: rival.crps_by_lead for rival in verdict.rivals}
    for name in ("persistence", "climatology"):
        assert all(ours < theirs for ours, theirs in zip(verdict.crps_by_lead, rivals[name], strict=True))
    assert abs(verdict.coverage - verdict.nominal_coverage) < 0.05


def test_gaps_and_stale_input_have_their_fallback_levels(outcome: Outcome) -> None:
    levels = [day.forecast.fallback_level for day in outcome.days]
    assert {0, 1, 2} <= set(levels)
    assert max(levels) == 2
    by_day = {day.number: day.forecast for day in outcome.days}
    assert by_day[5].fallback_level == 2  # the file of the day did not come
    assert by_day[2].missing == ("VAL",)


def test_three_rows_are_refused_each_with_its_reason(outcome: Outcome, settings: Settings) -> None:
    rows = OpenFeed(outcome.product.feed, settings).quarantine.read().to_pylist()
    assert sorted(row["location"] for row in rows) == ["CLO", "DUB", "MAL"]
    assert all(row["reason"] for row in rows)
    assert sum(outcome.refused.values()) == 3


def test_a_revision_is_appended_and_nothing_overwritten(outcome: Outcome, settings: Settings) -> None:
    assert sum(day.ingest.revised for day in outcome.days) == 1
    rows = OpenFeed(outcome.product.feed, settings).observations.read().to_pandas()
    twice = rows[rows.duplicated(["valid_time", "location"], keep=False)]
    assert twice["location"].tolist() == ["BIR", "BIR"]
    assert twice["known_at"].is_monotonic_increasing


def test_the_latest_report_can_be_opened(outcome: Outcome) -> None:
    assert outcome.page.is_file()
    assert outcome.page.resolve().parent == outcome.days[-1].forecast.folder
    assert "<html" in outcome.page.read_text()


def test_every_day_is_reported(outcome: Outcome, events: list[str]) -> None:
    assert len([line for line in events if "forecast by" in line]) == 14
    json.dumps(outcome.as_data(), allow_nan=False)


def test_a_second_run_changes_nothing(outcome: Outcome, settings: Settings) -> None:
    before = _state(outcome, settings)
    again = run_demo(settings, report=lambda _: None, budget=BUDGET)
    assert all(day.forecast.repeated for day in again.days)
    assert all(one.repeated for one in again.retrains)
    assert all(not day.ingest.payloads for day in again.days)
    assert again.history.payloads == 0
    after = _state(again, settings)
    for name, value in before.items():
        assert after[name] == value, name


def test_an_interrupted_demo_continues(outcome: Outcome, settings: Settings) -> None:
    # Files of an interrupted demo must not be ingested with the history, before their day.
    inbox = settings.home / "demo" / "inbox"
    days = sorted(path.name for path in inbox.iterdir())
    assert len(days) > 14
    from pipeline.demo.sample_feed import SampleFeed

    SampleFeed(inbox, budget=BUDGET).deliver_history()
    assert [path.name for path in inbox.iterdir()] == ["history.csv"]
    for number in range(14):
        SampleFeed(inbox, budget=BUDGET).deliver(number)
    assert sorted(path.name for path in inbox.iterdir()) == days
