"""The fallback levels of a forecast: what made it, and from what input."""

from __future__ import annotations

from enum import IntEnum


class FallbackLevel(IntEnum):
    """What made a forecast, from the champion on complete input (0, best) down to climatology (4).

    Tables, files and JSON hold the number; `label` and `description` are its words wherever people read it.
    """

    label: str
    """A few words, such as "champion, stale input"."""
    description: str
    """One sentence."""

    def __new__(cls, value: int, label: str = "", description: str = "") -> FallbackLevel:
        """Create a member from its number and its texts."""
        level = int.__new__(cls, value)
        level._value_, level.label, level.description = value, label, description
        return level

    @property
    def title(self) -> str:
        """The number and the label, such as "fallback level 3 (baseline)"."""
        return f"fallback level {self.value} ({self.label})"

    CHAMPION = 0, "champion", "The champion, on current and complete input."
    CHAMPION_WITH_GAPS = (
        1,
        "champion, gaps in input",
        "The champion; values missing from its input are masked, not filled in.",
    )
    CHAMPION_ON_STALE_INPUT = (
        2,
        "champion, stale input",
        "The champion, on older input because the newest observations are missing.",
    )
    BASELINE = (
        3,
        "baseline",
        "The best baseline, because no champion could be used or the champion has become worse than it.",
    )
    CLIMATOLOGY = (
        4,
        "climatology",
        "Climatology, the usual range for the season and the hour, because no other model could be used.",
    )
