"""Search spaces: the options of a model that are worth a search, with the range of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers from `low` to `high`, every `step`-th, or drawn on a log scale."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Numbers from `low` to `high`, drawn evenly or on a log scale."""

    low: float
    high: float
    log: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values without an order."""

    values: tuple[bool | int | str, ...]

    def __contains__(self, value: object) -> bool:
        return any(value == one and type(value) is type(one) for one in self.values)


Range = IntRange | FloatRange | Choice
SearchSpace = Mapping[str, Range]
"""The range of each option, by its name."""


def within(space: SearchSpace, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are in the space, and within their range."""
    return {name: options[name] for name, allowed in space.items() if name in options and options[name] in allowed}
