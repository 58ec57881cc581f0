"""Conversion between units written as CF and UDUNITS write them (``m s-1``, ``degC``, ``knot``), by pint."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pint
from numpy.typing import NDArray

_TERM = r"(?:\d{1,6}(?:\.\d{1,6})?(?:[eE]-?\d{1,2})?|[A-Za-z_%°µμ]+(?:(?:\^|\*\*)?-?\d)?)"
_SPELLING = re.compile(
    rf"{_TERM}(?:(?: ?[*/] ?| ){_TERM}){{0,9}}"
)  # pint computes what it is given: 9**9**9 takes long
_EXPONENT = re.compile(r"(?<=[A-Za-z])(?![A-Za-z])(?<![0-9\-])(?=[0-9\-])")


@cache
def _registry() -> pint.UnitRegistry[Any]:
    # UDUNITS joins an exponent to its unit: s-1 is s**-1. "%" and "knot" pint knows by itself.
    registry = pint.UnitRegistry[Any](
        preprocessors=[lambda text: _EXPONENT.sub("**", text), lambda text: text.replace("%", "percent")],
        autoconvert_offset_to_baseunit=True,
    )
    # Precipitation is told as a depth of water and kept as a mass on an area, as CF has it: 1 mm is 1 kg m-2.
    water = pint.Context.from_lines(
        [
            "@context water",
            "[length] -> [mass] / [length] ** 2: value * 1000 kg / m ** 3",
            "[mass] / [length] ** 2 -> [length]: value / (1000 kg / m ** 3)",
            "[length] / [time] -> [mass] / [length] ** 2 / [time]: value * 1000 kg / m ** 3",
            "[mass] / [length] ** 2 / [time] -> [length] / [time]: value / (1000 kg / m ** 3)",
        ]
    )
    registry.add_context(water)
    registry.enable_contexts("water")
    return registry


def check_units(units: str) -> str:
    """Return the unit when it can be read.

    Raises:
        ValueError: pint does not know it.
    """
    try:
        if not _SPELLING.fullmatch(units):
            raise ValueError(units)
        _registry().Unit(units)
    except (pint.PintError, AttributeError, TypeError, ValueError, SyntaxError):  # how pint says: unreadable
        raise ValueError(f"{units[:80]!r} is no unit; use UDUNITS spelling, e.g. m s-1, degC, kg m-2, 1") from None
    return units


def convertible(source: str, target: str) -> bool:
    """Return whether both units measure the same kind of quantity."""
    try:
        convert(np.zeros(1), source, target)
    except ValueError:
        return False
    return True


def convert(values: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Return values of unit `source` in unit `target`; NaN stays NaN. A depth of water is a mass on an area.

    Raises:
        ValueError: the units are of different kinds.
    """
    if source == target:
        return values
    registry = _registry()
    try:
        return np.asarray(registry.Quantity(values, source).to(target).magnitude, dtype=np.float64)
    except pint.DimensionalityError as error:
        raise ValueError(f"cannot convert {source!r} to {target!r}: {error}") from None
