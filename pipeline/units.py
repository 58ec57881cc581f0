"""Unit conversion by pint, for units in CF and UDUNITS spelling (``m s-1``, ``degC``, ``knot``).

Pint is imported on first use: it is slow to load, and the common units need no conversion.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.errors import InvalidValueError

if TYPE_CHECKING:
    import numpy as np
    import pint
    from numpy.typing import NDArray

_COMMON = {"1", "%", "K", "degC", "degree", "hPa", "kg m-2", "km h-1", "knot", "m", "m s-1", "mm", "Pa", "s", "W m-2"}
_TERM = r"(?:\d{1,6}(?:\.\d{1,6})?(?:[eE]-?\d{1,2})?|[A-Za-z_%°µμ]+(?:(?:\^|\*\*)?-?\d)?)"
_SPELLING = re.compile(
    rf"{_TERM}(?:(?: ?[*/] ?| ){_TERM}){{0,9}}"
)  # pint evaluates the expression, and 9**9**9 takes forever
_EXPONENT = re.compile(r"(?<=[A-Za-z])(?![A-Za-z])(?<![0-9\-])(?=[0-9\-])")


@cache
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    # UDUNITS appends an exponent to its unit: s-1 is s**-1. Pint reads "%" and "knot" as they are.
    registry = pint.UnitRegistry[Any](
        preprocessors=[lambda text: _EXPONENT.sub("**", text), lambda text: text.replace("%", "percent")],
        autoconvert_offset_to_baseunit=True,
    )
    # Providers report precipitation as a depth of water, CF as mass per area: 1 mm is 1 kg m-2.
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
    """Return the unit if pint can read it.

    Raises:
        InvalidValueError: pint cannot.
    """
    if units in _COMMON:
        return units
    import pint

    try:
        if not _SPELLING.fullmatch(units):
            raise ValueError(units)
        _registry().Unit(units)
    except (pint.PintError, AttributeError, TypeError, ValueError, SyntaxError):  # pint raises any of these
        raise InvalidValueError(
            f"{units[:80]!r} is not a valid unit", "use UDUNITS spelling, e.g. m s-1, degC, kg m-2, 1"
        ) from None
    return units


def convertible(source: str, target: str) -> bool:
    """Return whether values can be converted from one unit to the other."""
    if source == target:
        return True
    import numpy as np

    try:
        convert(np.zeros(1), source, target)
    except ValueError:
        return False
    return True


def convert(values: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    """Return values converted from unit `source` to unit `target`; NaN stays NaN, 1 mm of water is 1 kg m-2.

    Raises:
        ValueError: the units have different dimensions.
    """
    if source == target:
        return values
    import numpy as np
    import pint

    registry = _registry()
    try:
        return np.asarray(registry.Quantity(values, source).to(target).magnitude, dtype=np.float64)
    except pint.DimensionalityError:
        raise ValueError(f"cannot convert from {source!r} to {target!r}") from None
