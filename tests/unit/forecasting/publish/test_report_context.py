from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from pipeline.forecasting.influences import influences_at_issue
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from pipeline.forecasting.publish.report_context import matured_scores, read_report_context
from pipeline.registry.bundle import Bundle
from pipeline.registry.ledger import Ledger
from pipeline.registry.standing import LiveVerdict
from pipeline.store.objects import open_store
from pipeline.times import Cadence
from tests import jobs
from tests.conftest import ProductHome, Trained

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture
def refit_worse(trained: Trained) -> Bundle:
    """The bundle of a champion whose judged fit serves by a live verdict, from the end of the record on."""
    at = trained.end + HOUR
    verdict = LiveVerdict(kind="refit_worse", skill=-0.2, p_value=0.01, cases=40, since=at - 50 * DAY, until=at - DAY)
    trained.workspace.ledger.write(
        "stepped_down",
        at=at,
        version=1,
        previous=1,
        who="verification",
        why="",
        numbers=verdict.model_dump_json(),
        key="worse",
    )
    found, _ = trained.workspace.bundles.find("champion")
    assert found is not None
    return found.bundle


def trained_until(home: Trained) -> datetime | None:
    """Forecast two days after the record, and return the end of training that the report shows."""
    ws = home.workspace
    (result,) = jobs.forecast(ws, at=home.end + 2 * DAY)
    forecast = PublishedForecast.from_rows(home.product, ws.feed.locations, ws.forecasts.read(result.issue_time))
    return read_report_context(
        forecast, ws.cadence, ws.feed, {}, scores=ws.scores, ledger=ws.ledger, bundles=ws.layout.models
    ).trained_until


def test_the_report_describes_the_refit_where_it_serves(trained: Trained) -> None:
    found, _ = trained.workspace.bundles.find("champion")
    assert found is not None
    assert trained_until(trained) == found.bundle.serving.trained_until


def test_the_report_describes_the_judged_fit_where_it_serves(trained: Trained, refit_worse: Bundle) -> None:
    assert trained_until(trained) == refit_worse.judged.trained_until != refit_worse.serving.trained_until


def test_the_report_describes_the_refit_where_the_judged_fit_fails(
    trained: Trained, refit_worse: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (refit_worse.judged.folder / "challenger" / "model.safetensors").unlink()
    monkeypatch.setattr(Bundle, "verify", lambda self: self)  # damaged after it was verified
    assert trained_until(trained) == refit_worse.serving.trained_until


def test_influences_are_those_of_the_judged_fit_where_it_serves(trained: Trained, refit_worse: Bundle) -> None:
    ws = trained.workspace
    result = jobs.explain(ws, at=trained.end + 2 * DAY)
    judged, refit = (
        influences_at_issue(ws.product, ws.cadence, ws.feed, {}, fit, result.issue_time)
        for fit in (refit_worse.judged, refit_worse.serving)
    )
    assert result.influences == judged != refit


def test_a_replayed_report_shows_no_score_of_a_value_that_was_not_due(fresh: Callable[..., ProductHome]) -> None:
    home = fresh(days=100, feed={"mode": "live"})
    jobs.forecast(home.workspace, since=home.end - 12 * DAY, until=home.end - DAY, at=home.end)
    jobs.verify(home.workspace, at=home.end)
    ws = home.workspace
    issued = ws.forecasts.issue_times()
    forecast = PublishedForecast.from_rows(home.product, ws.feed.locations, ws.forecasts.read(issued[5]))
    context = read_report_context(
        forecast, ws.cadence, ws.feed, {}, scores=ws.scores, ledger=ws.ledger, bundles=ws.layout.models
    )
    counts = {score.lead: score.count for score in context.scores if score.model == "published"}
    assert counts == {1: 5 * 4, 2: 4 * 4}  # earlier issue times x stations; the second lead of the last was not due


def test_the_verdict_on_a_refused_version_is_shown(trained: Trained, tmp_path: Path) -> None:
    (made,) = jobs.forecast(trained.workspace, at=trained.end)
    ws, ledger = trained.workspace, Ledger(open_store(tmp_path / "other-ledger"))
    forecast = PublishedForecast.from_rows(trained.product, ws.feed.locations, ws.forecasts.read(made.issue_time))

    def verdict() -> tuple[str, str]:
        context = read_report_context(
            forecast, ws.cadence, ws.feed, {}, scores=ws.scores, ledger=ledger, bundles=ws.layout.models
        )
        return context.champion, context.verdict

    assert verdict() == ("", "")
    ledger.write("refused", at=trained.end, version=1, previous=None, who="gate", why="no gain", key="a")
    assert verdict() == ("", "refused: no gain")
    ledger.write("promoted", at=trained.end, version=1, previous=None, who="gate", why="better", key="b")
    assert verdict() == ("ridge-var", "better")


@pytest.mark.parametrize(("hour", "not_due"), [(18, set()), (6, set()), (0, {(2, 2)})])
def test_a_day_counts_for_a_lead_once_all_its_values_were_due(hour: int, not_due: set[tuple[int, int]]) -> None:
    # Issued at 0, 6, 12 and 18 h for 6 h and 12 h later; values arrive at once.
    cadence = Cadence(6 * HOUR, timedelta(0), 2, "0 0,6,12,18 * * *", "UTC")
    days = [datetime(2001, 1, day, tzinfo=UTC).date() for day in (1, 2, 3)]
    scores = pd.DataFrame([{"day": day, "lead": lead} for day in days for lead in (1, 2)])
    kept = matured_scores(scores, cadence, datetime(2001, 1, 3, hour, tzinfo=UTC))
    found = {(day.day, lead) for day, lead in zip(kept["day"], kept["lead"], strict=True)}
    assert found == {(1, 1), (1, 2), (2, 1), (2, 2)} - not_due


def test_without_scores_there_is_nothing_to_show() -> None:
    cadence = Cadence(DAY, timedelta(0), 2, "0 7 * * *", "UTC")
    assert matured_scores(pd.DataFrame({"day": [], "lead": []}), cadence, datetime(2001, 1, 3, tzinfo=UTC)).empty
