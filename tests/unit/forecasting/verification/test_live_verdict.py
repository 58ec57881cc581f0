from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.config.product import Gate
from pipeline.forecasting.verification.live_scores import SCHEMA, LiveScores
from pipeline.forecasting.verification.live_verdict import LiveSeries, build_series, judge, update_standing
from pipeline.registry.ledger import Ledger
from pipeline.registry.standing import LiveVerdict, Standing, Step
from pipeline.store.forecasts import Forecasts
from pipeline.store.objects import open_store
from pipeline.times import Cadence, as_numpy
from tests.score_simulation import simulate_gains

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CADENCE = Cadence(DAY, 6 * HOUR, 2, "0 7 * * *", "UTC")
START = datetime(2002, 1, 1, 7, tzinfo=UTC)
DAYS = 90
END = START + (DAYS + 2) * DAY
VERDICT = LiveVerdict(
    kind="worse_than_baseline", rivals=("b",), skill=-0.1, p_value=0.04, cases=30, since=START, until=START + 30 * DAY
)
NOW = Standing(row=1, versions=(1,), since=START, skill_since=START, refit_since=START)
NOISE = simulate_gains(2, DAYS, 3, seed=31)


def series(champion: Any, *, judged: Any = np.nan) -> LiveSeries:
    """A series of daily forecasts whose best baseline has the score 1."""
    issues = as_numpy(START) + np.arange(DAYS) * np.timedelta64(1, "D")
    full = np.broadcast_to(np.asarray(champion, float), DAYS), np.broadcast_to(np.asarray(judged, float), DAYS)
    rivals = ("damped-anomaly",) * (DAYS - 1) + ("persistence",)
    return LiveSeries(issues, full[0], np.ones(DAYS), full[1], rivals, 3, 3 * DAY)


def verdicts(one: LiveSeries, now: Standing = NOW) -> list[LiveVerdict]:
    return list(judge(one, now, Gate(), at=END))


def test_a_worse_champion_and_the_numbers_behind_the_verdict() -> None:
    (found,) = verdicts(series(1.3 + NOISE[0]))
    assert (found.kind, found.rivals) == ("worse_than_baseline", ("persistence", "damped-anomaly"))
    champion = 1.3 + NOISE[0][(found.since - START).days :]
    assert found.skill == pytest.approx(1 - champion.mean())
    assert (found.cases, found.until) == (len(champion), START + (DAYS - 1) * DAY)
    assert found.p_value <= 0.05


def test_an_equal_or_better_champion_changes_nothing() -> None:
    assert verdicts(series(1 + NOISE[0])) == []
    assert verdicts(series(0.7 + NOISE[0])) == []


def test_a_champion_that_has_stepped_down_only_recovers() -> None:
    down = Standing(row=1, versions=(1,), since=START, skill_since=START, refit_since=START, down=Step(START, VERDICT))
    assert verdicts(series(1.3 + NOISE[0]), down) == []
    (found,) = verdicts(series(0.7 + NOISE[0]), down)
    assert found.kind == "better_than_baseline"
    assert found.skill is not None and found.skill > 0.2


def test_a_verdict_on_a_baseline_without_errors_survives_json() -> None:
    """In a dry season, persistence of no rain is perfect."""
    perfect = replace(series(np.abs(0.05 + 0.02 * NOISE[0])), baseline=np.zeros(DAYS))
    (found,) = verdicts(perfect)
    assert (found.kind, found.skill) == ("worse_than_baseline", None)
    assert LiveVerdict.model_validate_json(found.model_dump_json()) == found


def test_only_forecasts_since_the_last_step_count() -> None:
    late = Standing(row=1, versions=(1,), since=START, skill_since=START + 60 * DAY, refit_since=START)
    assert verdicts(series(1.3 + NOISE[0]), late) == []


def test_a_refit_is_worse_only_beyond_the_margin() -> None:
    """Half a percent, always in the same way, is within the margin of a refresh."""
    champion = 0.7 + NOISE[0]
    assert verdicts(series(champion, judged=champion / 1.005)) == []
    (found,) = verdicts(series(champion, judged=champion / 1.3))
    assert (found.kind, found.rivals) == ("refit_worse", ())
    assert found.skill == pytest.approx(-0.3)
    judged = Standing(
        row=1, versions=(1,), since=START, skill_since=START, refit_since=START, judged=Step(START, VERDICT)
    )
    assert verdicts(series(champion, judged=champion / 1.3), judged) == []


def test_both_verdicts_may_come_at_once() -> None:
    champion = 1.3 + NOISE[0]
    assert [one.kind for one in verdicts(series(champion, judged=champion / 1.3))] == [
        "worse_than_baseline",
        "refit_worse",
    ]


def rows(champion: NDArray[np.float64], *, variable: str = "wind", unit: float = 1.0, version: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "issue_time": pd.date_range(START, periods=len(champion), freq="D"),
            "variable": variable,
            "version": version,
            "rival": "b",
            "champion": champion * unit,
            "baseline": unit,
            "judged": np.nan,
            "climatology": 2 * unit,
        }
    )


def test_a_single_variable_keeps_its_unit_and_several_are_relative_to_climatology() -> None:
    champion = np.linspace(1, 2, 40)
    one = build_series(rows(champion, unit=3), CADENCE)
    np.testing.assert_allclose(one.champion, champion * 3)
    both = pd.concat([rows(champion), rows(2 * champion, variable="pressure", unit=1e3)])
    two = build_series(both.sort_values(["issue_time", "variable"]), CADENCE)
    np.testing.assert_allclose(two.champion, (champion / 2 + champion) / 2)
    np.testing.assert_allclose(two.baseline, 0.5)
    assert np.isnan(two.judged).all()
    assert (two.overlap, two.open_for) == (3, 54 * HOUR)


def test_scores_of_several_variables_do_not_depend_on_later_ones() -> None:
    both = pd.concat([rows(np.ones(60)), rows(np.ones(60), variable="pressure", unit=1e3)])
    rng = np.random.default_rng(1)
    both["climatology"] *= rng.uniform(0.5, 2, len(both))
    both = both.sort_values(["issue_time", "variable"], ignore_index=True)
    whole, part = build_series(both, CADENCE), build_series(both.head(2 * 40), CADENCE)
    np.testing.assert_array_equal(whole.champion[:40], part.champion)


def test_a_variable_is_left_out_while_its_climatology_is_zero() -> None:
    dry = rows(np.zeros(40), variable="rain").assign(baseline=0.0, climatology=0.0)
    both = pd.concat([rows(np.full(40, 1.5)), dry]).sort_values(["issue_time", "variable"], ignore_index=True)
    np.testing.assert_allclose(build_series(both, CADENCE).champion, 0.75)


def test_no_rows_make_an_empty_series() -> None:
    one = build_series(rows(np.empty(0)), CADENCE)
    assert len(one.issues) == len(one.champion) == 0
    assert verdicts(one) == []


def test_forecasts_of_a_denser_schedule_are_thinned() -> None:
    hourly = rows(np.ones(240)).assign(issue_time=pd.date_range(START, periods=240, freq="h"))
    one = build_series(hourly, CADENCE)
    apart = one.issues[3:] - one.issues[:-3]
    assert (apart >= np.timedelta64(54, "h")).all()


class Place:
    """A ledger with a promoted champion, and live scores."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(open_store(folder / "ledger"))
        self.scores = LiveScores(open_store(folder / "live_scores"))
        self.forecasts = Forecasts(open_store(folder / "forecasts"))

    def decide(self, action: Any, version: int, at: datetime) -> None:
        self.ledger.write(action, at=at, version=version, previous=None, who="gate", why="so", key=f"{at}")

    def mature(self, champion: NDArray[np.float64], *, version: int = 1, after: int = 0) -> None:
        """Add scores of forecasts from a day on, each scored two days after its issue."""
        frame = rows(champion, version=version)
        frame["issue_time"] += after * DAY
        frame["scored_at"] = frame["issue_time"] + 2 * DAY
        self.scores.add(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False))

    def verify(self, at: datetime) -> Standing:
        product: Any = SimpleNamespace(gate=Gate())
        nothing: Any = None
        return update_standing(
            product, CADENCE, self.forecasts, nothing, self.scores, self.ledger, lambda *_: (), at=at
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.decide("promoted", 1, START)
    place.mature(1.3 + NOISE[0])
    return place


def test_a_step_down_is_written_once_with_its_numbers(place: Place) -> None:
    found = place.verify(END)
    assert found.serving == "best baseline"
    row, _ = place.ledger.read()
    assert (row.action, row.version, row.previous, row.who, row.at) == ("stepped_down", 1, 1, "verification", END)
    assert found.down == Step(END, LiveVerdict.model_validate_json(row.numbers))
    assert row.why == found.reason
    assert place.verify(END) == place.verify(END + DAY) == found
    assert len(place.ledger.read()) == 2


def test_a_replayed_verification_decides_as_it_did_then(place: Place) -> None:
    assert place.verify(START + 20 * DAY).serving == "champion"
    place.verify(END)
    assert place.verify(START + 20 * DAY).serving == "champion"
    assert len(place.ledger.read()) == 2


def test_a_refresh_continues_the_series_and_a_promotion_starts_another(tmp_path: Path) -> None:
    """The forecasts of both versions are of one recipe: together they are enough, each alone is not."""
    refreshed, promoted = Place(tmp_path / "a"), Place(tmp_path / "b")
    half = DAYS // 2
    for place, action in ((refreshed, "refreshed"), (promoted, "promoted")):
        place.decide("promoted", 1, START)
        place.decide(action, 2, START + half * DAY - HOUR)
        place.mature(1.3 + NOISE[0, :half])
        place.mature(1.3 + NOISE[0, half:], version=2, after=half)
    assert refreshed.verify(END).serving == "best baseline"
    assert promoted.verify(END).serving == "champion"


def test_a_manual_rollback_begins_anew(place: Place) -> None:
    place.verify(END)
    place.decide("rollback", 1, END + HOUR)
    assert place.verify(END + DAY).serving == "champion"


def test_recovery_rests_on_forecasts_since_the_step_down(place: Place) -> None:
    down = place.verify(END)
    place.mature(0.7 + NOISE[1], after=DAYS + 3)
    days = range(DAYS + 5, 2 * DAYS + 6, 5)
    found = next(one for day in days if (one := place.verify(START + day * DAY)).serving == "champion")
    assert found.recovery is not None
    assert down.skill_since is not None
    assert found.recovery.verdict.since >= down.skill_since
    assert [row.action for row in place.ledger.read()] == ["stepped_up", "stepped_down", "promoted"]


def test_without_a_champion_nothing_is_judged(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.mature(1.3 + NOISE[0])
    assert place.verify(END) == Standing()
    assert place.ledger.read() == []
