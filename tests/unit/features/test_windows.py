"""No leakage: data that become known after an issue time change neither the inputs of a model nor its forecast."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.base import Model
from models.catalogue import build
from models.task import Inputs, Task
from pipeline.config import load_product
from pipeline.features.asof import as_of
from pipeline.features.windows import IssueWindows, make_task
from pipeline.locations import read_locations
from pipeline.times import Cadence, as_datetime, as_numpy
from tests.unit.features.grids import make_grid_product
from tests.unit.features.replay import CHANNELS, DAY, HOUR, PLACES, START, Row, frames_of, replay, some_rows
from tests.world import make_product, make_values

CONTEXT = 4
CADENCE = Cadence(DAY, 30 * HOUR, 2, "0 7 * * *", "UTC")  # the newest value is a day old: one frame of gap
TASK = Task(
    channels=CHANNELS,
    targets=("v",),
    context=CONTEXT,
    leads=CADENCE.leads,
    quantile_levels=(0.1, 0.5, 0.9),
    step_seconds=86_400,
    locations=PLACES,
    longitude=(-8.0, -7.0),
    latitude=(52.0, 53.0),
    transforms=("identity", "identity"),
    limits=((None, None), (None, None)),
)
ISSUES = [START + n * DAY + 7 * HOUR for n in range(-3, 14)]
LAST = START + 400 * DAY
ALL = np.arange(len(ISSUES))


def windows(rows: list[Row], issues: list[datetime] | None = None, *, truth_at: datetime = LAST) -> IssueWindows:
    return IssueWindows(TASK, CADENCE, frames_of(rows), ISSUES if issues is None else issues, truth_at=truth_at)


def bits(inputs: Inputs) -> list[bytes]:
    return [array.tobytes() for array in (inputs.values, inputs.mask, inputs.time, inputs.target_time)]


def test_the_task_of_a_product(tmp_path: Path) -> None:
    product = make_product(tmp_path, days=3, stations=2, delay="30h", horizon=2, context=4)
    task = make_task(product, Cadence.of(product), read_locations(product.feed))
    assert task == Task(
        channels=("wind_speed",),
        targets=("wind_speed",),
        context=4,
        leads=3,  # 7 o'clock less 30 hours is the day before: one frame of gap, in front of two of horizon
        quantile_levels=product.forecast.quantiles,
        step_seconds=86_400,
        locations=("S0", "S1"),
        longitude=(-10.0, -6.0),
        latitude=(51.5, 55.0),
        transforms=("sqrt",),
        limits=((0.0, 100.0),),
    )


def test_the_task_of_a_grid_has_its_shape(tmp_path: Path) -> None:
    product = make_grid_product(tmp_path, columns=3, days=3)
    task = make_task(product, Cadence.of(product), read_locations(product.feed))
    assert (task.grid, len(task.locations)) == ((2, 3), 6)
    assert task.longitude == (-10.0, -9.0, -8.0) * 2
    assert task.latitude == (52.0,) * 3 + (51.5,) * 3


def test_the_task_of_a_product_names_its_static_fields(tmp_path: Path) -> None:
    locations = {"static": ["altitude", "slope"]}
    make_product(tmp_path, days=3, stations=2)
    (tmp_path / "stations.csv").write_text(
        "slope,id,name,longitude,latitude,altitude\n0.5,A,a,-10,51,120\n-1e-3,B,b,-9,52,7.5\n"
    )
    path = tmp_path / "product.yaml"
    fields = yaml.safe_load(path.read_text())
    fields["feed"]["locations"] |= locations
    path.write_text(yaml.safe_dump(fields))
    product = load_product(path)
    task = make_task(product, Cadence.of(product), read_locations(product.feed))
    assert task.static == ("altitude", "slope")
    assert task.static_values == ((120.0, 7.5), (0.5, -0.001))


def test_the_arrays_of_a_window() -> None:
    rows = [Row(START + n * DAY, "A", START + n * DAY + 30 * HOUR, float(n), 10.0 + n) for n in range(8)]
    rows.append(Row(START + 2 * DAY, "A", START + 6 * DAY, 99.0, 99.0))  # a later revision
    # 7 o'clock on day 5 less 30 hours is 1 o'clock on day 4, whose midnight is the newest that can be known.
    issue = START + 5 * DAY + 7 * HOUR
    cut = windows(rows, [issue])
    inputs = cut.inputs(np.array([0]))
    assert inputs.values[0, :, 0, 0].tolist() == [1.0, 2.0, 3.0, 4.0]  # the revision comes later
    assert inputs.mask[0, :, :, 0].all()
    assert not inputs.mask[0, :, :, 1].any()
    assert (inputs.values[0, :, :, 1] == 0).all()
    assert inputs.time[0].tolist() == [(START + n * DAY).replace(tzinfo=None) for n in (1, 2, 3, 4)]
    assert inputs.target_time[0].tolist() == [(START + n * DAY).replace(tzinfo=None) for n in (5, 6, 7)]
    assert cut.gaps.tolist() == [1]
    truth = cut.truth(np.array([0]))
    assert truth.shape == (1, TASK.leads, 1, 2)
    assert truth[0, :, 0, 0].tolist() == [15.0, 16.0, 17.0]
    inputs.check(TASK)


def test_targets_are_as_known_at_their_own_instant() -> None:
    rows = [
        Row(START, "A", START, 1.0, 1.0),
        Row(START + 3 * DAY, "A", START + 4 * DAY, 1.0, 5.0),
        Row(START + 3 * DAY, "A", START + 9 * DAY, 1.0, 6.0),
    ]
    issue = [START + 2 * DAY + 7 * HOUR]
    at = {day: windows(rows, issue, truth_at=START + day * DAY).truth(np.array([0]))[0, 1, 0, 0] for day in (3, 4, 9)}
    np.testing.assert_array_equal([at[3], at[4], at[9]], [np.nan, 5, 6])


def test_a_batch_holds_inputs_truth_and_masks() -> None:
    rows = [Row(START + n * DAY, place, START + n * DAY, 1.0, 2.0) for n in range(8) for place in PLACES]
    batch = windows(rows).batch(ALL)
    truth = windows(rows).truth(ALL)
    np.testing.assert_array_equal(batch.target_mask, np.isfinite(truth))
    assert np.isfinite(batch.target).all()
    np.testing.assert_array_equal(batch.target[batch.target_mask], truth[np.isfinite(truth)])


def test_windows_beyond_both_ends_are_empty() -> None:
    rows = [Row(START, "A", START, 1.0, 1.0), Row(START + DAY, "A", START + DAY, 2.0, 2.0)]
    cut = windows(rows, [START - 900 * DAY, START + 900 * DAY])
    batch = cut.batch(np.arange(2))
    assert not batch.inputs.mask.any()
    assert not batch.target_mask.any()
    assert batch.inputs.time[1, -1] == np.datetime64((START + 898 * DAY).replace(tzinfo=None), "s")


def test_without_issue_times_the_batch_is_empty() -> None:
    cut = windows([Row(START, "A", START, 1.0, 1.0)], [])
    assert len(cut) == 0
    assert cut.batch(np.arange(0)).inputs.values.shape == (0, CONTEXT, 2, 2)


@given(some_rows(days=9), st.lists(st.integers(0, len(ISSUES) - 1), max_size=8))
@settings(max_examples=80, deadline=None)
def test_inputs_equal_a_naive_replay_at_the_issue_time(rows: list[Row], picked: list[int]) -> None:
    inputs = windows(rows).inputs(np.array(picked, np.intp))
    for n, place in enumerate(picked):
        issue = ISSUES[place]
        times = [CADENCE.origin(issue) + k * DAY for k in range(1 - CONTEXT, 1)]
        expected = replay(rows, issue, times)
        np.testing.assert_array_equal(np.where(inputs.mask[n], inputs.values[n], np.nan), expected)
        assert inputs.time[n].tolist() == [time.replace(tzinfo=None) for time in times]


@given(some_rows(days=9), some_rows(days=12), st.integers(0, len(ISSUES) - 1), st.data())
@settings(max_examples=150, deadline=None)
def test_nothing_known_after_the_issue_time_changes_the_inputs(
    rows: list[Row], others: list[Row], picked: int, data: st.DataObject
) -> None:
    # Adding, changing and removing rows known later, on and beyond the axis, leaves every bit of the inputs the same.
    issue = ISSUES[picked]
    before = [row for row in rows if row.known_at <= issue]
    later = {row[:3]: row for row in rows + others if row.known_at > issue}.values()
    one = [*before, *data.draw(st.permutations(list(later)))]
    shifted = [row._replace(valid_time=row.valid_time - 20 * DAY) for row in later]
    pairs = [one, [*before, *shifted], [*one, *shifted], before]
    cuts = [windows(some, [issue]) for some in pairs if any(row.location in PLACES for row in some)]
    assert len({tuple(bits(cut.inputs(np.array([0])))) for cut in cuts}) <= 1


# End to end, through fitted baselines.


@cache
def fitted(name: str) -> tuple[Model, tuple[Row, ...]]:
    values = make_values(250, 2)
    rows = tuple(
        Row(START + n * DAY, place, START + n * DAY + 30 * HOUR, float(u), float(u) + 1)
        for n, frame in enumerate(values)
        for place, u in zip(PLACES, frame, strict=True)
    )
    issues = [START + n * DAY + 7 * HOUR for n in range(CONTEXT + 2, 240)]
    model = build(name, TASK)
    model.fit(windows(list(rows), issues[:200]), windows(list(rows), issues[200:]))
    return model, rows


def predict(model: Model, rows: list[Row], issue: datetime) -> NDArray[np.float32]:
    return model.predict(windows(rows, [issue]).inputs(np.array([0])))


@pytest.mark.parametrize("name", ["ridge-var", "damped-anomaly", "persistence"])
@given(st.integers(10, 245), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_nothing_known_after_the_issue_time_changes_a_forecast(name: str, day: int, seed: int) -> None:
    model, every = fitted(name)
    issue = START + day * DAY + 7 * HOUR
    random = np.random.default_rng(seed)
    poisoned = [row if row.known_at <= issue else row._replace(u=1e6, v=-1e6) for row in every]
    # Old values revised after the issue time, by a tick or by months.
    for n in random.integers(0, 2 * day, 20):
        late = issue + timedelta(microseconds=int(random.integers(1, 10**13)))
        poisoned.append(every[n]._replace(known_at=late, u=-1e6, v=1e6))
    poisoned.append(every[2 * day - 2]._replace(known_at=issue + timedelta(microseconds=1), u=1e6, v=1e6))
    random.shuffle(poisoned)
    honest = predict(model, list(every), issue)
    assert predict(model, poisoned, issue).tobytes() == honest.tobytes()
    # The test can fail: the newest value that is known does change the forecast.
    origin = CADENCE.origin(issue)
    moved = [row._replace(u=row.u + 3, v=row.v + 3) if row.valid_time == origin else row for row in every]  # type: ignore[operator]
    assert predict(model, moved, issue).tobytes() != honest.tobytes()


def test_the_frames_do_contain_later_values() -> None:
    _, rows = fitted("persistence")
    frames = frames_of(list(rows))
    assert np.isfinite(as_of(frames, as_datetime(as_numpy(LAST)))).all()
