from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from pipeline.report import typography as text
from pipeline.report.data import TimeLabel

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("valid", "step", "label", "shown"),
    [
        ("1978-12-15T00:00", DAY, "start", "14 Dec"),
        ("1978-12-15T00:00", DAY, "end", "15 Dec"),
        ("1978-12-15T06:00", DAY, "start", "14 Dec"),
        ("1978-12-15T06:00", DAY, "end", "15 Dec 06:00"),
        ("1978-12-15T00:00", HOUR, "start", "14 Dec 23:00"),
        ("1978-12-15T00:00", HOUR, "end", "15 Dec 00:00"),
        ("1979-01-01T00:00", DAY, "start", "31 Dec"),
        ("1979-01-08T00:00", 7 * DAY, "start", "1 Jan"),
    ],
)
def test_a_period_is_named_by_its_start_or_its_end(valid: str, step: timedelta, label: TimeLabel, shown: str) -> None:
    assert text.period_text(np.datetime64(valid), step, label) == shown


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("m s-1", "m s⁻¹"),
        ("kg m-2", "kg m⁻²"),
        ("degC", "°C"),
        ("1", ""),
        ("persons h-1", "persons h⁻¹"),
        ("%", "%"),
    ],
)
def test_units_are_printed_with_superscripts(given: str, shown: str) -> None:
    assert text.units_text(given) == shown


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (-3.25, 1, "\u22123.2"),
        (-0.04, 1, "0.0"),
        (12345.6, 0, "12\u202f346"),
        (float("nan"), 1, "\u2013"),
        (float("-inf"), 1, "\u2013"),
    ],
)
def test_numbers_have_a_minus_sign_and_are_never_nan(value: float, decimals: int, shown: str) -> None:
    assert text.number(value, decimals) == shown


def test_decimals_follow_the_size_of_the_values() -> None:
    assert [text.decimals_for(v) for v in (2500, 100, 99, 1, 0.5, 0.05, 0, float("nan"))] == [
        0,
        0,
        1,
        1,
        2,
        3,
        1,
        1,
    ]


def test_shares_become_whole_percent_with_a_sign_when_asked() -> None:
    assert text.percent(0.196, sign=True) == "+20\u00a0%"
    assert text.percent(-0.05, sign=True) == "\u22125\u00a0%"
    assert text.percent(0.001, sign=True) == "0\u00a0%"


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (timedelta(days=3), "3 days"),
        (timedelta(hours=24), "24 hours"),
        (timedelta(hours=65), "2 days 17 hours"),
        (timedelta(minutes=90), "1 hour 30 minutes"),
        (timedelta(0), "0 minutes"),
    ],
)
def test_durations_in_words(length: timedelta, shown: str) -> None:
    assert text.duration_text(length) == shown


def test_leads_are_short() -> None:
    leads = [timedelta(minutes=10), timedelta(hours=17), timedelta(days=2), timedelta(hours=65)]
    assert [text.lead_text(lead) for lead in leads] == ["10 min", "17 h", "2 d", "2 d 17 h"]


def test_instants_of_any_kind_are_shown_in_utc() -> None:
    paris = datetime(1978, 12, 14, 8, tzinfo=timezone(timedelta(hours=1)))
    for at in (paris, datetime(1978, 12, 14, 7, tzinfo=UTC), np.datetime64("1978-12-14T07:00")):
        assert text.instant_text(at) == "14 Dec 1978 07:00 UTC"


def test_control_characters_and_bidi_marks_vanish() -> None:
    assert text.clean("a\x00b\x1b\u202ec\nd\ud800") == "abc d"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1"])
def test_a_formula_is_shown_as_text(name: str) -> None:
    assert text.shown_name(name).startswith("'")
