from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.report.ticks import TimeScale, nice_step, nice_ticks, tick_decimals, time_ticks

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(("rough", "step"), [(0.7, 1), (1.0, 1), (1.1, 2), (2.4, 5), (6, 10), (0.03, 0.05)])
def test_steps_are_one_two_or_five(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


def test_ticks_enclose_the_values() -> None:
    assert nice_ticks(0, 17.3, 4) == [0, 5, 10, 15, 20]
    assert nice_ticks(-2.1, 3.9, 4) == [-4, -2, 0, 2, 4]
    assert nice_ticks(0.12, 0.34, 4) == [0.1, 0.2, 0.3, 0.4]


def test_equal_values_still_have_an_axis() -> None:
    ticks = nice_ticks(1010, 1010, 4)
    assert ticks[0] < 1010 < ticks[-1]
    assert nice_ticks(0, 0, 4)[0] < 0 < nice_ticks(0, 0, 4)[-1]


def test_tick_decimals_distinguish_ticks() -> None:
    assert [tick_decimals(t) for t in ([0.0, 5.0, 10.0], [0.0, 0.5, 1.0], [0.05, 0.1])] == [0, 1, 2]


def test_a_start_labelled_daily_value_is_drawn_in_the_middle_of_its_day() -> None:
    scale = TimeScale(at(1978, 12, 1), at(1978, 12, 21), 0.0, 200.0, DAY, "start")
    assert scale.value_x(at(1978, 12, 15)) == pytest.approx(135.0)  # noon of the 14th: 13.5 days of 20
    assert scale.x(at(1978, 12, 14, 7)) < scale.value_x(at(1978, 12, 15))


def test_an_end_labelled_value_is_drawn_at_its_valid_time() -> None:
    scale = TimeScale(at(1978, 12, 1), at(1978, 12, 21), 0.0, 200.0, DAY, "end")
    assert scale.value_x(at(1978, 12, 15)) == pytest.approx(140.0)


def test_day_ticks_name_the_days_covered_and_include_the_first_forecast() -> None:
    scale = TimeScale(at(1978, 11, 29), at(1978, 12, 17), 0.0, 200.0, DAY, "start")
    ticks = time_ticks(scale, at(1978, 12, 15), 4)
    assert [t.label for t in ticks] == ["29 Nov", "4 Dec", "9", "14"]
    assert ticks[-1].at == at(1978, 12, 14, 12)


def test_hour_ticks_are_round_and_name_the_day_at_midnight() -> None:
    scale = TimeScale(at(2025, 11, 11, 1), at(2025, 11, 13, 7), 0.0, 200.0, HOUR, "end")
    ticks = time_ticks(scale, at(2025, 11, 12, 7), 6)
    assert [(t.label, t.below) for t in ticks] == [
        ("12:00", ""), ("00:00", "12 Nov"), ("12:00", ""), ("00:00", "13 Nov"),
    ]  # fmt: skip


def test_a_short_window_without_midnight_still_names_its_day() -> None:
    scale = TimeScale(at(2016, 8, 26, 10, 2), at(2016, 8, 26, 12, 2), 0.0, 200.0, timedelta(minutes=5), "end")
    ticks = time_ticks(scale, at(2016, 8, 26, 11), 5)
    assert ticks[0].below == "26 Aug"
    assert [t.label for t in ticks] == ["10:30", "11:00", "11:30", "12:00"]


def test_a_long_hourly_window_is_marked_by_days() -> None:
    scale = TimeScale(at(2024, 2, 24), at(2024, 3, 2), 0.0, 200.0, 3 * HOUR, "end")
    labels = [t.label for t in time_ticks(scale, at(2024, 2, 29, 2), 7)]
    assert labels == ["24 Feb", "25", "26", "27", "28", "29", "1 Mar", "2"]
