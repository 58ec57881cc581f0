from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from models.errors import ModelError
from models.options import fitting

WANTED = {
    "count": int,
    "share": float,
    "fast": bool,
    "kind": Literal["a", "b"],
    "lag": int | None,
    "names": str | Sequence[str],
}


def test_values_of_the_right_type_pass_and_none_is_left_out() -> None:
    given: dict[str, Any] = {"count": 3, "share": 1, "fast": True, "kind": "a", "lag": None, "names": ["x"]}
    found = fitting("m", given, WANTED)
    assert found == {"count": 3, "share": 1.0, "fast": True, "kind": "a", "names": ["x"]}
    assert isinstance(found["share"], float)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"count": True}, "m: count must be a whole number, found True"),
        ({"lag": 1.5}, "m: lag must be a whole number, found 1.5"),
        ({"share": "x"}, "m: share must be a number, found 'x'"),
        ({"share": True}, "m: share must be a number, found True"),
        ({"fast": 0}, "m: fast must be true or false, found 0"),
        ({"kind": "c"}, "m: kind must be one of ['a', 'b'], found 'c'"),
        ({"cuont": 1}, "m: unknown option 'cuont'; did you mean 'count'?"),
        ({"zzz": 1}, "m: unknown option 'zzz'; there are count, share, fast, kind, lag, names"),
    ],
)
def test_others_are_refused_in_one_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ModelError) as caught:
        fitting("m", given, WANTED)
    assert str(caught.value) == line
