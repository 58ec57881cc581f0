"""A champion that loses its skill gives way to the best baseline, and serves again once it has recovered."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipeline.cli.views import show_result
from pipeline.fallback_level import FallbackLevel
from pipeline.jobs.retrain import _champion
from pipeline.jobs.verify import VerifyResult
from pipeline.store.forecasts import CHAMPION, JUDGED
from pipeline.training.decision import MOST_WARM_STARTS
from pipeline.workspace import Workspace
from tests import jobs
from tests.conftest import Trained
from tests.world import issue, make_rows

DAY = timedelta(days=1)
OBSERVED = 5.0
ENOUGH = 75
"""Days after which a large loss of skill has shown."""


def let_pass(trained: Trained, since: datetime, errors: dict[str, float], *, days: int = ENOUGH) -> datetime:
    """Store the forecasts and observations of days from an issue time on, and return the last issue time.

    They are those of the first day, as if made by models with these errors in m/s: of the champion, of its judged fit,
    and of the others.
    """
    ws = trained.workspace
    if not ws.forecasts.read(since).num_rows:
        jobs.forecast(ws, at=since)
    first = ws.forecasts.read(since).to_pandas()
    champion = first["published"] if first["rung"].iloc[0] <= 2 else first["model"] == CHAMPION
    error = np.where(
        champion, errors["champion"], np.where(first["model"] == JUDGED, errors["judged"], errors["other"])
    )
    spread = np.linspace(-0.3, 0.3, len(first["levels"].iloc[0]))
    first["quantiles"] = [(OBSERVED + one + spread).astype(np.float32) for one in error]
    rows = []
    for day in range(1, days + 1):
        times = {name: first[name] + day * DAY for name in ("issue_time", "valid_time")}
        rows.append(first.assign(**times, month=times["issue_time"].dt.strftime("%Y-%m")))
    tables = [pa.Table.from_pandas(part, ws.forecasts.table.schema, preserve_index=False) for part in rows]
    ws.forecasts.table.append(lambda _: pa.concat_tables(tables))
    last = since + days * DAY
    begin = since.replace(hour=0)
    observed = [(begin + n * DAY, f"S{s}", OBSERVED) for n in range(1, days + 5) for s in range(4)]
    ws.feed.observations.append(make_rows(*observed), at=last + 4 * DAY, payload="3" * 64)
    return last


def matured(trained: Trained, last: datetime) -> VerifyResult:
    """Verify once the forecast of an issue time has matured."""
    return jobs.verify(trained.workspace, at=last + 3 * DAY)


def _models(ws: Workspace, issue_time: datetime) -> set[str]:
    return set(ws.forecasts.read(issue_time)["model"].to_pylist())


def _tags(ws: Workspace) -> dict[str, str]:
    return dict(ws.registry.client.get_registered_model(ws.product.name).tags)


def test_lost_skill_steps_down_and_recovered_skill_steps_up(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = trained.workspace
    start = trained.end + timedelta(hours=1)
    last = let_pass(trained, start, {"champion": 0, "judged": 0, "other": 2})
    assert matured(trained, last).live.reason == ""

    # The champion becomes worse.
    last = let_pass(trained, last + 4 * DAY, {"champion": 3, "judged": 3, "other": 0.5})
    before = issue(trained.workspace, last + 2 * DAY)
    lost = matured(trained, last)
    assert (lost.live.serving, lost.live.retrain_requested, lost.live.since) == ("best baseline", lost.at, lost.at)
    assert "the champion has lost its skill: over " in lost.live.reason
    assert "higher than that of the best baseline, damped-anomaly, which serves in its place" in lost.live.reason
    again = matured(trained, last)
    assert again == lost
    assert [row.action for row in ws.ledger.read()] == ["stepped_down", "promoted"]

    # Forecasts for later issue times see the verdict, a replay of an earlier one does not.
    earlier = issue(trained.workspace, last + 2 * DAY).forecast
    assert earlier.made_by.fallback_level == before.forecast.made_by.fallback_level == FallbackLevel.CHAMPION
    np.testing.assert_array_equal(earlier.quantiles, before.forecast.quantiles)
    down = last + 4 * DAY
    (published,) = jobs.forecast(ws, at=down)
    assert (published.fallback_level, published.model) == (FallbackLevel.BASELINE, "damped-anomaly")
    assert published.notes == (lost.live.reason,)
    assert CHAMPION in _models(ws, down)
    page = (trained.root / "published" / "latest" / "report.html").read_text()
    assert "The champion has lost its skill: over " in page
    found = jobs.status(ws, at=down)
    assert (found.state, found.live) == ("fresh", lost.live)
    assert found.reason == f"data and forecast are up to date; {lost.live.reason}"
    assert _tags(ws) == {"nightcast.serving": "best baseline", "nightcast.serving_reason": lost.live.reason}
    show_result("verify", lost)
    show_result("models", jobs.models(ws))
    show_result("status", found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "tiny-wind: the best baseline serves: the champion has lost its skill" in shown
    assert "train again: `nightcast retrain tiny-wind`" in shown
    assert "stepped down version 1, before it 1, by verification" in shown
    assert "live verdict the champion has lost its skill" in shown

    # The champion recovers while the baseline serves.
    last = let_pass(trained, down, {"champion": 0.5, "judged": 0.5, "other": 3})
    back = matured(trained, last)
    assert (back.live.serving, back.live.retrain_requested) == ("champion", None)
    assert back.live.reason.startswith("the champion has recovered and serves again: over ")
    (published,) = jobs.forecast(ws, at=last + 4 * DAY)
    assert published.fallback_level == FallbackLevel.CHAMPION
    assert published.notes == ()
    assert CHAMPION not in _models(ws, last + 4 * DAY)
    assert _tags(ws)["nightcast.serving"] == "champion"


def test_a_refit_worse_than_its_judged_fit_gives_way_to_it(trained: Trained) -> None:
    ws = trained.workspace
    last = let_pass(trained, trained.end + timedelta(hours=1), {"champion": 2, "judged": 0.5, "other": 3})
    found = matured(trained, last)
    assert (found.live.serving, found.live.retrain_requested) == ("judged fit", found.at)
    assert "that of the judged fit, which serves until the next refresh" in found.live.reason
    made = issue(trained.workspace, last + 4 * DAY).forecast
    source = made.made_by.source
    assert source is not None
    assert made.made_by.fallback_level == FallbackLevel.CHAMPION
    assert (made.made_by.judged, made.judged) == (True, None)
    judged, refit = (fit.challenger().state() for fit in (source.bundle.judged, source.bundle.serving))
    assert all(np.array_equal(made.made_by.model.state()[name], judged[name]) for name in judged)
    assert any(not np.array_equal(refit[name], judged[name]) for name in judged)
    # The next refit does not continue from the one that has become worse.
    champion = _champion(ws, found.at)
    assert champion is not None
    assert champion.warm_starts == MOST_WARM_STARTS


def test_a_promotion_by_hand_begins_anew(trained: Trained) -> None:
    ws = trained.workspace
    last = let_pass(trained, trained.end + timedelta(hours=1), {"champion": 3, "judged": 3, "other": 0.5})
    assert matured(trained, last).live.serving == "best baseline"
    jobs.promote(ws, version=1, who="Ann", why="the sensor was wrong", at=last + 3 * DAY)
    assert issue(trained.workspace, last + 4 * DAY).forecast.made_by.fallback_level == FallbackLevel.CHAMPION
    assert _tags(ws) == {"nightcast.serving": "champion", "nightcast.serving_reason": ""}
    # The forecasts from before do not count any more.
    assert jobs.verify(ws, at=last + 5 * DAY).live.serving == "champion"


def test_a_promotion_of_an_archive_is_dated_in_the_time_of_its_data(trained: Trained) -> None:
    ws = trained.workspace
    for _ in range(2):
        jobs.promote(ws, version=1, who="Ann", why="once more")
    assert [row.at for row in ws.ledger.read()] == [jobs.now_of(ws)] * 3
