from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.names import check_name, check_zone


@pytest.mark.parametrize("name", ["a", "ireland-wind", "wind_speed", "x9", "a" * 63])
def test_names(name: str) -> None:
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
def test_what_is_no_name(name: str) -> None:
    # F36, F37
    with pytest.raises(ValueError, match="is no name; use lower-case letters"):
        check_name(name)


@given(st.text(max_size=70))
def test_whatever_passes_is_one_harmless_path_segment(text: str) -> None:
    try:
        name = check_name(text)
    except ValueError:
        return
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert name.isascii() and name.isprintable() and name == name.lower()


def test_zones() -> None:
    assert check_zone("Pacific/Auckland") == "Pacific/Auckland"
    for zone in ("", "CEST", "europe/dublin", "../../etc/passwd", "Mars/Base"):
        with pytest.raises(ValueError, match="is no time zone; use an IANA name"):
            check_zone(zone)
