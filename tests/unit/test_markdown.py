"""Text from outside is shown as it is in Markdown."""

from __future__ import annotations

import pytest

from pipeline.markdown import inert


def test_letters_and_plain_punctuation_stay() -> None:
    assert inert("Roche-Point, 6.5 Åland") == "Roche-Point, 6.5 Åland"


@pytest.mark.parametrize("char", "<>&|`*_[]()!#\\\"':/")
def test_markup_becomes_an_entity(char: str) -> None:
    assert inert(char) == f"&#{ord(char)};"


def test_stays_on_one_line_without_control_or_direction_characters() -> None:
    assert inert("a\nb\tc\u202ed\x00e\u200bf") == "a b cdef"
