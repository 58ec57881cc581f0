from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.forecasting.verification.live_scores import LiveScores, extend_live_scores
from pipeline.store.forecasts import CHAMPION, JUDGED, Forecasts
from pipeline.store.objects import open_store
from pipeline.times import Cadence

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CADENCE = Cadence(DAY, 6 * HOUR, 2, "0 7 * * *", "UTC")
START = datetime(2002, 1, 30, 7, tzinfo=UTC)
LEVELS = [0.25, 0.5, 0.75]
OPEN = 47 * HOUR
"""From an issue time until its last value is due."""


class World:
    """Forecasts and observations of one variable or more at two stations."""

    def __init__(self, folder: Path, variables: Sequence[str] = ("wind",)) -> None:
        self.forecasts = Forecasts(open_store(folder / "forecasts"))
        self.scores = LiveScores(open_store(folder / "live_scores"))
        self.variables = variables
        self.observed: dict[tuple[datetime, str], tuple[float, datetime]] = {}

    def issue(
        self, day: int, models: dict[str, float], *, published: str, rung: int = 0, version: int | None = 1
    ) -> None:
        """Store forecasts whose quantiles are all the same value, by model."""
        when = START + day * DAY
        rows = [
            {
                "issue_time": when,
                "valid_time": valid,
                "lead": lead,
                "location": location,
                "variable": variable,
                "model": model,
                "published": is_published,
                "levels": LEVELS,
                "quantiles": [value] * 3,
                "rung": rung,
                "version": version,
                "digest": "ab",
                "notes": "[]",
            }
            for model, value, is_published in [
                (published, models[published], True),
                *((name, value, False) for name, value in models.items() if name != published or rung > 2),
            ]
            for lead, valid in enumerate(CADENCE.lead_times(when), 1)
            for variable in self.variables
            for location in ("S0", "S1")
        ]
        schema = pa.schema([field for field in self.forecasts.table.schema if field.name != "month"])
        assert self.forecasts.add(when, pa.Table.from_pylist(rows, schema))

    def observe(self, first: int, last: int, value: float = 0.0, *, locations: Sequence[str] = ("S0", "S1")) -> None:
        """Let the values of days arrive when they are due."""
        for day in range(first, last + 1):
            valid = START.replace(hour=0) + day * DAY
            self.observed |= {(valid, location): (value, valid + 6 * HOUR) for location in locations}

    def read(self, *, known_by: datetime, since: datetime, until: datetime) -> pa.Table:
        """As `Observations.read`."""
        rows = [
            {"valid_time": valid, "location": location, "known_at": known, **dict.fromkeys(self.variables, value)}
            for (valid, location), (value, known) in self.observed.items()
            if since <= valid <= until and known <= known_by
        ]
        time = pa.timestamp("us", tz="UTC")
        fields = [("valid_time", time), ("location", pa.string()), ("known_at", time)]
        return pa.Table.from_pylist(rows, pa.schema([*fields, *((name, pa.float64()) for name in self.variables)]))

    def score(self, at: datetime, *, since: datetime = START, baselines: Sequence[str] = ("b", "climatology")) -> bool:
        return extend_live_scores(
            self.scores,
            CADENCE,
            self.forecasts,
            self,  # type: ignore[arg-type]
            lambda version, digest: baselines,
            since=since,
            at=at,
        )

    def rows(self, at: datetime = START + 1000 * DAY) -> pd.DataFrame:
        return self.scores.read(at=at, since=START)


MODELS = {"m": 1.0, "b": 2.0, "climatology": 4.0, JUDGED: 1.5}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Four daily forecasts around the end of a month."""
    world = World(tmp_path)
    for day in range(4):
        world.issue(day, MODELS, published="m")
    return world


def crps(value: float) -> float:
    """CRPS of three equal quantiles at a distance from the observation: 2 x 0.25 x (0.25 + 0.5 + 0.75) x distance."""
    return 0.75 * value


def issued(rows: pd.DataFrame) -> list[int]:
    return [(issue - START).days for issue in rows["issue_time"]]


def test_a_forecast_is_scored_once_its_last_value_is_due(world: World) -> None:
    world.observe(0, 10)
    assert world.score(START + OPEN - HOUR)
    assert world.rows().empty
    assert world.score(START + OPEN)
    (row,) = world.rows().to_dict("records")
    assert (row["issue_time"], row["version"], row["rival"], row["scored_at"]) == (START, 1, "b", START + OPEN)
    found = [row[role] for role in ("champion", "baseline", "climatology", "judged")]
    assert found == pytest.approx([crps(1), crps(2), crps(4), crps(1.5)])
    assert world.score(START + 3 * DAY + OPEN)
    assert issued(world.rows()) == [0, 1, 2, 3]  # of two months


def test_a_second_call_and_a_later_revision_change_nothing(world: World) -> None:
    world.observe(0, 10)
    world.score(START + 5 * DAY)
    before, version = world.rows(), world.scores.table.version
    world.observe(0, 10, 9.0)
    assert world.score(START + 5 * DAY)
    assert world.score(START + 9 * DAY)
    pd.testing.assert_frame_equal(world.rows().head(4), before)
    assert world.scores.table.version == version


def test_a_replayed_night_sees_no_later_score_and_adds_none(world: World) -> None:
    world.observe(0, 10)
    world.score(START + OPEN)
    world.score(START + 9 * DAY)
    version = world.scores.table.version
    assert not world.score(START + 2 * DAY + OPEN)
    assert world.scores.table.version == version
    assert issued(world.rows(START + 2 * DAY + OPEN)) == [0]


def test_later_forecasts_wait_for_one_whose_values_are_late(world: World) -> None:
    world.observe(0, 1)
    world.observe(3, 10)
    world.score(START + DAY + OPEN)
    assert world.rows().empty
    world.observe(2, 2, locations=["S1"])  # one station is enough
    world.score(START + DAY + OPEN)
    assert issued(world.rows()) == [0, 1]


def test_values_that_do_not_arrive_are_waited_for_as_long_again(world: World) -> None:
    world.observe(0, 1)
    world.observe(3, 10)
    world.score(START + 2 * OPEN - HOUR)
    assert world.rows().empty
    world.score(START + 2 * OPEN)
    assert issued(world.rows()) == [0]
    world.observed.clear()
    world.score(START + 30 * DAY)
    assert issued(world.rows()) == [0]  # without any value there is no score


def test_forecasts_from_before_the_promotion_do_not_count(world: World) -> None:
    world.observe(0, 10)
    world.score(START + 9 * DAY, since=START + 2 * DAY)
    assert issued(world.rows()) == [2, 3]


def test_what_is_compared_depends_on_what_served(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.observe(0, 10)
    world.issue(0, MODELS, published="m", rung=2)
    world.issue(1, {"b": 2.0, "climatology": 4.0, CHAMPION: 3.0}, published="b", rung=3)
    world.issue(2, {"b": 2.0, "climatology": 4.0}, published="b", rung=3)  # no champion could be used
    world.issue(3, {"climatology": 4.0}, published="climatology", rung=4, version=None)
    world.issue(4, {"m": 1.0, "climatology": 4.0}, published="m")  # the best baseline failed
    world.score(START + 9 * DAY)
    rows = world.rows()
    assert issued(rows) == [0, 1, 4]
    np.testing.assert_allclose(rows["champion"], [crps(1), crps(3), crps(1)])
    assert rows["rival"].tolist() == ["b", "b", "climatology"]
    assert rows["judged"].isna().tolist() == [False, True, True]


def test_a_bundle_that_cannot_be_read_leaves_its_forecasts_out(world: World) -> None:
    world.observe(0, 10)
    assert world.score(START + 9 * DAY, baselines=())
    assert world.rows().empty


def test_variables_are_scored_apart(tmp_path: Path) -> None:
    world = World(tmp_path, ("wind", "pressure"))
    world.issue(0, MODELS, published="m")
    world.observe(0, 10)
    world.score(START + OPEN)
    assert world.rows()["variable"].tolist() == ["pressure", "wind"]


def test_only_the_months_of_new_forecasts_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.observe(0, 10)
    world.score(START + 9 * DAY)
    read: list[datetime] = []
    real: Callable[..., pa.Table] = Forecasts.read_between

    def remember(self: Forecasts, since: datetime, until: datetime) -> pa.Table:
        read.append(since)
        return real(self, since, until)

    monkeypatch.setattr(Forecasts, "read_between", remember)
    world.score(START + 12 * DAY)
    assert read == [START + 3 * DAY + timedelta(microseconds=1)]
