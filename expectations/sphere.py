"""Points on the Earth as unit vectors, whose straight distances order as great-circle distances do."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_KM = 6371.0
"""Mean radius of the Earth."""


def unit_vectors(longitude: ArrayLike, latitude: ArrayLike) -> NDArray[np.float64]:
    """Return the points at some longitudes and latitudes, in degrees, on the unit sphere: shape (point, 3)."""
    east, north = np.radians(longitude), np.radians(latitude)
    level = np.cos(north)
    return np.stack([level * np.cos(east), level * np.sin(east), np.sin(north)], axis=1)
