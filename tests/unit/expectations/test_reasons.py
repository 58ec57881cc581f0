from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.reasons import Reason, ReasonKind, cell_value, explain, from_json, summarise, to_json

KINDS: tuple[ReasonKind, ...] = get_args(ReasonKind)
WIND = Reason("limits", "wind_speed", 1048.36058, "m s-1", low=0.0, high=60.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_sentence(kind: ReasonKind) -> None:
    reason = Reason(kind, "x", 1.5, "mm", low=0.0, high=2.0, measure=3.0, expected="y")
    assert explain([reason])
    assert "{" not in explain([reason]) + summarise([reason])


def test_a_sentence_has_value_unit_and_limits_and_the_summary_no_value() -> None:
    assert explain([WIND]) == "wind_speed 1048.36058 m s-1 is outside 0 to 60"
    assert summarise([WIND]) == "wind_speed … m s-1 is outside 0 to 60"
    future = Reason("future", "valid_time", "2020-01-01 14:00", high="2020-01-01 13:00")
    assert explain([WIND, future]).endswith(
        "to 60; valid_time 2020-01-01 14:00 is in the future, after 2020-01-01 13:00"
    )
    assert summarise([future]) == "valid_time … is in the future, after …"


def test_identity_ignores_values_and_limits() -> None:
    assert WIND.identity == Reason("limits", "wind_speed", 3.0, low=5.0).identity
    assert WIND.identity != Reason("limits", "air_temperature", 3.0).identity
    custom = [Reason("custom", "x", 1.0, expected=name).identity for name in ("a", "b")]
    assert custom[0] != custom[1]


@given(st.text(max_size=20), st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.none())
def test_json_keeps_a_reason(text: str, value: float | str | None) -> None:
    reasons = (Reason("invalid_number", text, value), Reason("ragged_line", value=3, measure=2, expected=text))
    assert from_json(to_json(reasons)) == reasons


def test_a_kind_of_a_later_release_becomes_text() -> None:
    (reason,) = from_json('[{"kind":"frozen","variable":"x","depth":3}]')
    assert (reason.kind, reason.value) == ("text", '{"kind":"frozen","variable":"x","depth":3}')
    (known,) = from_json('[{"kind":"missing","variable":"x","depth":3}]')
    assert known == Reason("missing", "x")


@pytest.mark.parametrize(
    ("cell", "value"),
    [(1.5, 1.5), (3, 3), (None, None), (True, "True"), (float("inf"), "inf"), (" a ", "a"), ("x" * 99, "x" * 80)],
)
def test_a_cell_as_a_value(cell: object, value: float | str | None) -> None:
    assert cell_value(cell) == value
    assert type(cell_value(cell)) is type(value)
