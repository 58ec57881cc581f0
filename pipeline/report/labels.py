"""Place labels beside dots so that they overlap neither each other nor a dot."""

from __future__ import annotations

from typing import NamedTuple


class Rect(NamedTuple):
    """Left, top, right and bottom edges."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Rect) -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def contains(self, other: Rect) -> bool:
        """Whether `other` lies inside."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )


class LabelPosition(NamedTuple):
    """Where a label begins, the rectangle it covers, and whether it needs a line to its dot."""

    x: float
    y: float
    rect: Rect
    far: bool


_SIDES = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))


def label_positions(x: float, y: float, radius: float, width: float, size: float) -> list[LabelPosition]:
    """Return positions around a dot, best first: right, left, corners, above, below; then the same further out."""
    out: list[LabelPosition] = []
    for reach in (3.0, 13.0, 25.0, 38.0):
        for dx, dy in _SIDES:
            gap = radius + reach
            diagonal = 0.72 if dx and dy else 1.0
            left = x + dx * gap * diagonal - (width if dx < 0 else width / 2 if dx == 0 else 0)
            middle = y + dy * (gap * diagonal + size * 0.35)
            rect = Rect(left, middle - size * 0.55, left + width, middle + size * 0.55)
            out.append(LabelPosition(left, middle + size * 0.35, rect, reach > 3.0))
    return out


def place_labels(
    dots: list[tuple[float, float]], widths: list[float], *, radius: float, size: float, frame: Rect
) -> list[LabelPosition | None]:
    """Return a position for the label of each dot, or None where there is no room.

    The dot with the fewest free positions comes first; on a tie, the earlier one.
    """
    occupied = [Rect(x - radius, y - radius, x + radius, y + radius) for x, y in dots]
    options = []
    for (x, y), width in zip(dots, widths, strict=True):
        spots = label_positions(x, y, radius, width, size)
        options.append(
            [s for s in spots if frame.contains(s.rect) and not any(s.rect.overlaps(rect) for rect in occupied)]
        )
    out: list[LabelPosition | None] = [None] * len(dots)
    waiting = list(range(len(dots)))
    while waiting:
        index = min(waiting, key=lambda i: (len(options[i]), i))
        waiting.remove(index)
        if not options[index]:
            continue
        spot = options[index][0]
        out[index] = spot
        for other in waiting:
            options[other] = [s for s in options[other] if not s.rect.overlaps(spot.rect)]
    return out
