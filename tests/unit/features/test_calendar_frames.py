"""Frames, windows and covariates of calendar steps: every step has a frame, and none has two."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.steps import CalendarStep
from pipeline.features.arrays import Frames
from pipeline.features.covariates import Covariate
from pipeline.features.files import frame_writer, read_frames
from pipeline.features.frames import build_frames, frames_from_rows
from pipeline.features.windows import IssueWindows, make_task
from pipeline.ingest.feed import OpenFeed
from pipeline.times import Cadence, as_numpy
from tests.unit.features.replay import CHANNELS, PLACES, Row, table_of
from tests.world import make_product, make_settings

MONTH, DUBLIN = CalendarStep("month"), CalendarStep("day", "Europe/Dublin")
STEPS = (MONTH, DUBLIN, CalendarStep("week"), CalendarStep("quarter", "America/New_York"))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def _row(step: CalendarStep, number: int, place: str = "A") -> Row:
    at = step.start(number)
    return Row(at, place, at + timedelta(hours=1), float(number), -float(number))


def _frames(step: CalendarStep, numbers: list[int]) -> Frames:
    rows = [_row(step, number, place) for number in numbers for place in PLACES]
    return build_frames(table_of(rows), locations=PLACES, variables=CHANNELS, step=step)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(STEPS), st.lists(st.integers(100, 700), min_size=1, max_size=12, unique=True))
def test_every_step_has_one_frame_at_its_time(step: CalendarStep, numbers: list[int]) -> None:
    frames = _frames(step, numbers)
    first, last = min(numbers), max(numbers)
    assert frames.times.tolist() == step.starts(np.arange(first, last + 1)).tolist()
    assert [frames.index(step.start(number)) for number in range(first, last + 1)] == list(range(last - first + 1))
    present = np.flatnonzero(frames.mask.any(axis=(1, 2)))
    assert (present + first).tolist() == sorted(numbers)
    np.testing.assert_array_equal(frames.first[present, 0, 1], sorted(numbers))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(STEPS), st.lists(st.integers(100, 400), min_size=2, max_size=12, unique=True))
def test_frames_written_by_parts_and_read_from_disk_are_the_same(step: CalendarStep, numbers: list[int]) -> None:
    numbers = sorted(numbers)
    with tempfile.TemporaryDirectory() as folder:
        with frame_writer(Path(folder), channels=2, locations=2, step=step) as writer:
            for part in (numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]):
                rows = [_row(step, number, place) for number in part for place in PLACES]
                frames = frames_from_rows(table_of(rows), locations=PLACES, variables=CHANNELS, step=step)
                assert frames is not None
                writer.append(frames, rows=len(rows))
        found, expected = read_frames(Path(folder)), _frames(step, numbers)
    assert found.step == step
    assert found.digest() == expected.digest()
    np.testing.assert_array_equal(found.times, expected.times)
    np.testing.assert_array_equal(found.first, expected.first)


def test_the_digest_tells_steps_apart() -> None:
    rows = table_of([_row(MONTH, 600)])
    one, other = (
        build_frames(rows, locations=PLACES, variables=CHANNELS, step=step) for step in (MONTH, timedelta(days=1))
    )
    assert one.digest() != other.digest()


def test_windows_have_the_months_before_and_after_their_issue_time(tmp_path: Path) -> None:
    schedule = {"forecast": "0 12 2 * *"}
    product = make_product(tmp_path, days=3, context=3, delay="1d", feed={"step": "month"}, schedule=schedule)
    cadence, numbers = Cadence.of(product), list(range(640, 660))
    rows = [Row(MONTH.start(n), "S0", MONTH.start(n) + timedelta(days=1), float(n), None) for n in numbers]
    table = table_of(rows).rename_columns(["valid_time", "location", "known_at", "wind_speed", "v"])
    locations = OpenFeed(product.feed, make_settings(tmp_path)).locations
    frames = build_frames(table, locations=locations.ids, variables=("wind_speed",), step=MONTH)
    task = make_task(product, cadence, locations)
    assert (task.calendar, task.step_seconds, task.leads) == (MONTH, 2_629_746, 2)
    issue = MONTH.start(650) + timedelta(days=1, hours=12)
    batch = IssueWindows(task, cadence, frames, [issue], truth_at=issue + timedelta(days=200)).batch(np.array([0]))
    assert batch.inputs.time[0].tolist() == MONTH.starts(np.array([648, 649, 650])).astype("datetime64[s]").tolist()
    assert batch.inputs.target_time[0].tolist() == (MONTH.starts(np.array([651, 652])).astype("datetime64[s]").tolist())
    assert batch.inputs.values[0, :, 0, 0].tolist() == [648.0, 649.0, 650.0]
    assert batch.target[0, :, 0, 0].tolist() == [651.0, 652.0]


@pytest.mark.parametrize(
    ("step", "wanted", "found"),
    [
        (MONTH, [utc(2024, 1, 1), utc(2024, 2, 1), utc(2024, 2, 2)], [True, True, False]),
        (DUBLIN, [utc(2024, 3, 31), utc(2024, 3, 31, 23), utc(2024, 4, 1)], [True, True, False]),
    ],
)
def test_a_covariate_of_calendar_steps_is_known_at_their_ends(
    tmp_path: Path, step: CalendarStep, wanted: list[datetime], found: list[bool]
) -> None:
    first = step.number(wanted[0])
    frames = _frames(step, [first, first + 1, first + 2])
    feed = make_product(tmp_path, days=3, stations=2).feed
    locations = OpenFeed(feed, make_settings(tmp_path)).locations
    feed = feed.model_copy(update={"variables": dict.fromkeys(CHANNELS, feed.variables["wind_speed"])})
    covariate = Covariate(feed, locations, frames, utc(2025, 1, 1))
    times = np.array([[as_numpy(at) for at in wanted]], "datetime64[us]")
    _, mask = covariate.values_and_mask(np.array([as_numpy(utc(2024, 12, 1))]), times)
    assert mask[0, :, 0, 0].tolist() == found
