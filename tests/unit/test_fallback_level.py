from __future__ import annotations

from pipeline.fallback_level import FallbackLevel


def test_levels_go_from_the_champion_to_climatology() -> None:
    assert [(int(level), level.name) for level in FallbackLevel] == [
        (0, "CHAMPION"),
        (1, "CHAMPION_WITH_GAPS"),
        (2, "CHAMPION_ON_STALE_INPUT"),
        (3, "BASELINE"),
        (4, "CLIMATOLOGY"),
    ]


def test_a_level_is_made_from_its_number_and_has_its_texts() -> None:
    level = FallbackLevel(2)
    assert level is FallbackLevel.CHAMPION_ON_STALE_INPUT
    assert f"{level} {level.label}" == "2 champion, stale input"
    assert level.description == "The champion, on older input because the newest observations are missing."
