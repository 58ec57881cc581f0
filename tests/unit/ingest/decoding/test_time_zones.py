import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.decoding.time_zones import Instants, to_utc

# In Dublin clocks showed 01:00 to 01:59 on 27 October 2024 from 00:00 to 00:59 UTC and again from 01:00 UTC.
NIGHT = "2024-10-27"


def instants(clock: list[str], groups: list[int] | None = None) -> Instants:
    local = np.array([f"{NIGHT}T{time}" if time else "NaT" for time in clock], dtype="datetime64[us]")
    numbers = np.zeros(len(clock), np.int64) if groups is None else np.array(groups)
    return to_utc(local, "Europe/Dublin", numbers, lambda utc: np.ones(len(utc), np.bool_))


def shown(read: Instants) -> list[str]:
    return [str(time)[11:16] for time in read.utc]


def test_where_time_steps_back_once_rows_before_and_after_are_apart() -> None:
    # 01:20 is missing from the first showing, 01:00 and 01:40 from the second.
    read = instants(["00:40", "01:00", "01:40", "01:20", "02:00"])
    assert shown(read) == ["23:40", "00:00", "00:40", "01:20", "02:00"]
    assert not read.guessed.any()


def test_a_falling_payload_is_read_from_its_end() -> None:
    read = instants(["02:00", "01:30", "01:00", "01:30", "01:00", "00:30"])
    assert shown(read) == ["02:00", "01:30", "01:00", "00:30", "00:00", "23:30"]
    assert shown(instants(["02:00", "01:00", "01:00", "00:00"])) == ["02:00", "01:00", "00:00", "23:00"]


def test_a_single_pass_is_the_first_showing_and_a_guess() -> None:
    read = instants(["00:30", "01:00", "01:30", "02:00"])
    assert shown(read) == ["23:30", "00:00", "00:30", "02:00"]
    assert read.guessed.tolist() == [False, True, True, False]


def test_without_order_pairs_are_told_apart_and_the_rest_is_a_guess() -> None:
    read = instants(["01:30", "01:10", "01:50", "01:10", "01:30", "01:20"])
    assert shown(read) == ["00:30", "00:10", "00:50", "01:10", "01:30", "00:20"]
    assert read.guessed.tolist() == [False, False, True, False, False, True]


def test_groups_do_not_disturb_each_other() -> None:
    # One steps back from 01:30 to 01:00; the other falls without a step.
    read = instants(["01:00", "02:00", "01:30", "01:30", "01:00", "01:00"], [0, 1, 0, 1, 0, 1])
    assert shown(read) == ["00:00", "02:00", "00:30", "00:30", "01:00", "00:00"]
    assert read.guessed.tolist() == [False, False, False, True, False, True]


def test_no_time_stays_no_time() -> None:
    read = instants(["", "01:00", "", "01:00"])
    assert shown(read)[1::2] == ["00:00", "01:00"]
    assert np.isnat(read.utc[::2]).all()
    assert not read.skipped.any()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Dublin"])
def test_no_rows_are_no_instants(zone: str) -> None:
    read = to_utc(np.array([], "datetime64[us]"), zone, np.array([], np.int64), lambda utc: np.ones(0, np.bool_))
    assert len(read.utc) == len(read.skipped) == len(read.guessed) == 0


@settings(max_examples=60, deadline=None)
@given(
    kept=st.lists(st.booleans(), min_size=18, max_size=18),
    interleaved=st.permutations(range(36)),
    falling=st.booleans(),
)
def test_gaps_and_interleaved_stations_are_resolved_where_both_showings_have_a_time_in_common(
    kept: list[bool], interleaved: list[int], falling: bool
) -> None:
    # Ten-minute values from 23:00 to 01:50 UTC, some missing; 01:10 local stands in both showings.
    first = np.datetime64(f"{NIGHT}T00:00", "us") - np.timedelta64(1, "h")
    utc = first + np.arange(18) * np.timedelta64(10, "m")
    stay = np.array(kept) | np.isin(np.arange(18), [0, 7, 13])
    utc = utc[stay][::-1] if falling else utc[stay]
    local = np.where(utc < np.datetime64(f"{NIGHT}T01:00"), utc + np.timedelta64(1, "h"), utc)
    # Two stations with the same times, their rows mixed in any way that keeps the order within each.
    station = np.array([n % 2 for n in interleaved if n // 2 < len(utc)])
    position = np.array([np.sum(station[:n] == which) for n, which in enumerate(station)])
    read = to_utc(local[position], "Europe/Dublin", station, lambda times: np.ones(len(times), np.bool_))
    assert (read.utc == utc[position]).all()
    assert not read.guessed.any()
