from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import check_name, check_zone


@pytest.mark.parametrize("name", ["a", "ireland-wind", "wind_speed", "x9", "a" * 63])
def test_valid_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "9x",
        "-x",
        "a b",
        "a/b",
        "..",
        "a\0",
        "a\n",
        "con",
        "nul",
        "latest",
        "é",
        "a" * 64,
        "a\u202e",
        "a;--",
        "=1",
    ],
)
def test_invalid_names(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid name; use a lower-case letter"):
        check_name(name)


@given(st.text(max_size=70))
def test_a_valid_name_is_a_single_harmless_path_segment(text: str) -> None:
    try:
        name = check_name(text)
    except ValueError:
        return
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert name.isascii() and name.isprintable() and name == name.lower()


def test_time_zones() -> None:
    assert check_zone("Pacific/Auckland") == "Pacific/Auckland"
    for zone in ("", "CEST", "europe/dublin", "../../etc/passwd", "Mars/Base"):
        with pytest.raises(ValueError, match="is not a time zone; use an IANA name"):
            check_zone(zone)
