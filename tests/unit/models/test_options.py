from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from models.errors import ModelError
from models.options import check_options

TYPES = {
    "count": int,
    "share": float,
    "fast": bool,
    "kind": Literal["a", "b"],
    "lag": int | None,
    "names": str | Sequence[str],
}


def test_values_of_the_right_type_pass_and_none_is_left_out() -> None:
    options: dict[str, Any] = {"count": 3, "share": 1, "fast": True, "kind": "a", "lag": None, "names": ["x"]}
    checked = check_options("m", options, TYPES)
    assert checked == {"count": 3, "share": 1.0, "fast": True, "kind": "a", "names": ["x"]}
    assert isinstance(checked["share"], float)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"count": True}, "m: count must be a whole number, found True"),
        ({"lag": 1.5}, "m: lag must be a whole number, found 1.5"),
        ({"share": "x"}, "m: share must be a number, found 'x'"),
        ({"share": True}, "m: share must be a number, found True"),
        ({"fast": 0}, "m: fast must be true or false, found 0"),
        ({"kind": "c"}, "m: kind must be one of ['a', 'b'], found 'c'"),
        ({"cuont": 1}, "m: unknown option 'cuont'; did you mean 'count'?"),
        ({"zzz": 1}, "m: unknown option 'zzz'; options are count, share, fast, kind, lag, names"),
    ],
)
def test_invalid_options_are_refused_in_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_options("m", options, TYPES)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("old", "new"), [("average", "ema_decay"), ("outage", "input_dropout"), ("taken", "correction")]
)
def test_a_renamed_option_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_options("m", {old: 0.5}, {new: float})
    assert str(caught.value) == f"m: option {old!r} was renamed to {new!r}"
    with pytest.raises(ModelError, match="unknown option"):
        check_options("m", {old: 0.5}, TYPES)
