"""Places names beside dots so that they cover neither each other nor a dot."""

from __future__ import annotations

from typing import NamedTuple


class Rect(NamedTuple):
    """Left, top, right and bottom edges."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Rect) -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other: Rect) -> bool:
        """Whether `other` lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )


class Spot(NamedTuple):
    """Where a label stands: the start of its baseline, and whether it needs a line to its dot."""

    x: float
    y: float
    rect: Rect
    far: bool


_SIDES = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))


def candidates(x: float, y: float, radius: float, width: float, size: float) -> list[Spot]:
    """Spots around a dot, best first: right, left, corners, above, below; then the same further out."""
    out: list[Spot] = []
    for reach in (3.0, 13.0, 25.0, 38.0):
        for dx, dy in _SIDES:
            gap = radius + reach
            diagonal = 0.72 if dx and dy else 1.0
            left = x + dx * gap * diagonal - (width if dx < 0 else width / 2 if dx == 0 else 0)
            middle = y + dy * (gap * diagonal + size * 0.35)
            rect = Rect(left, middle - size * 0.55, left + width, middle + size * 0.55)
            out.append(Spot(left, middle + size * 0.35, rect, reach > 3.0))
    return out


def place(
    dots: list[tuple[float, float]], widths: list[float], *, radius: float, size: float, frame: Rect
) -> list[Spot | None]:
    """A spot for each dot's label, or None where there is no room.

    The dot with the fewest free spots is served first; on a tie, the earlier one.
    """
    taken = [Rect(x - radius, y - radius, x + radius, y + radius) for x, y in dots]
    options = []
    for (x, y), width in zip(dots, widths, strict=True):
        spots = candidates(x, y, radius, width, size)
        options.append([s for s in spots if frame.holds(s.rect) and not any(s.rect.meets(t) for t in taken)])
    out: list[Spot | None] = [None] * len(dots)
    waiting = list(range(len(dots)))
    while waiting:
        index = min(waiting, key=lambda i: (len(options[i]), i))
        waiting.remove(index)
        if not options[index]:
            continue
        spot = options[index][0]
        out[index] = spot
        for other in waiting:
            options[other] = [s for s in options[other] if not s.rect.meets(spot.rect)]
    return out
