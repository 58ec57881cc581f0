from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.base import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0h", timedelta(0)),
        ("30s", timedelta(seconds=30)),
        ("10min", timedelta(minutes=10)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
        ("4y", timedelta(days=1461)),  # with one leap day
    ],
)
def test_durations_by_hand(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "h", "6", "6 h", "6H", "-6h", "+6h", "6h ", "6h\n", "1e3h", ".5h", 6, None, True])
def test_invalid_durations(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(days=7), "1w"),
        (timedelta(days=3652, hours=12), "10y"),
        (timedelta(minutes=90), "90min"),
        (timedelta(seconds=1234567), "1234567s"),
        (timedelta(microseconds=1), "0.000001s"),
    ],
)
def test_formatted_durations(span: timedelta, text: str) -> None:
    assert format_duration(span) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40_000)))
def test_formatted_durations_are_read_back(span: timedelta) -> None:
    assert parse_duration(format_duration(span)) == span
