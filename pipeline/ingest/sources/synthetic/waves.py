"""A random field on the plane with advection, diffusion and damping, exact at any time.

It is the stationary solution of the advection-diffusion equation with damping and noise,
``dz/dt = -U(t) . grad z + kappa laplace z - zeta z + noise``, in Fourier space, where each wave of wavenumber k is an
Ornstein-Uhlenbeck process of rate ``zeta + kappa |k|^2`` whose phase moves with the wind (Sigrist, Künsch and Stahel
2015, "Stochastic partial differential equation based modelling of large space-time data sets", JRSS B 77). Covariance
over distance h and time t: ``mean over k of cos(k . (h - displacement)) exp(-(zeta + kappa |k|^2) |t|)``; wavenumbers
follow the spectrum of a Matérn covariance of smoothness 5/2, so that the field is twice differentiable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.ingest.sources.synthetic.draws import Bits, address, key, normal, uniform

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
"""Seconds since 1970-01-01T00Z."""

_DAY = 86_400
_SPLITS = (2, 2, 2, 3, 2, 3, 2, 5, 2, 2, 3, 5)  # a day to seconds, through 3 h, 1 h, 30, 10, 5 and 1 min
_FORGOTTEN = 40.0  # rate times time after which the correlation vanishes in double precision
_SMOOTHNESS = 2.5


@dataclass(frozen=True)
class Wind:
    """A mean wind of constant speed that turns at a constant rate."""

    speed: float
    """m s-1."""
    bearing: float
    """Direction to which it blows at time 0, radians clockwise from north."""
    period: float
    """Period of one clockwise turn, seconds; 0 for a steady wind."""

    def at(self, times: Times) -> Floats:
        """Return the eastward and northward components, (time, 2), m s-1."""
        angle = self._angle(times)
        return self.speed * np.stack([np.sin(angle), np.cos(angle)], axis=1)

    def carried(self, times: Times) -> Floats:
        """Return the displacement of the air since time 0, shape (time, 2), m."""
        if not self.period:
            return self.at(times[:1]) * times[:, np.newaxis]
        rate = 2 * np.pi / self.period
        angle = self._angle(times)
        east, north = np.cos(self.bearing) - np.cos(angle), np.sin(angle) - np.sin(self.bearing)
        return np.asarray(self.speed / rate * np.stack([east, north], axis=1))

    def _angle(self, times: Times) -> Floats:
        # Whole turns are removed as integers, so that the angle is exact at any time.
        period = round(self.period)
        return self.bearing + (2 * np.pi * (times % period) / period if period else np.zeros(len(times)))


class Waves:
    """Independent fields of unit variance, made of the same waves."""

    def __init__(self, seed: int, count: int, *, length: float, memory: float, diffusivity: float, wind: Wind) -> None:
        self._seed, self._wind = seed, wind
        turn, shift = (float(uniform(key(seed, name))[0]) for name in ("angles", "sizes"))
        number = np.arange(count)
        # Even steps in size and golden-ratio steps in angle sample the spectrum well with few waves.
        # The fraction of waves longer than 2 pi / k is 1 - (1 + k^2 length^2 / (2 nu))^-nu.
        share = (number + shift) / count
        size = np.sqrt(2 * _SMOOTHNESS * ((1 - share) ** (-1 / _SMOOTHNESS) - 1))
        angle = np.pi * ((number * (np.sqrt(5) - 1) / 2 + turn) % 1)
        self.wavenumbers: Floats = np.stack([np.cos(angle), np.sin(angle)]) * size / length
        """(2, wave), eastward and northward, rad m-1."""
        self.rates: Floats = 1 / memory + diffusivity * np.sum(self.wavenumbers**2, axis=0)
        """Decorrelation rate of each wave, s-1."""

    def basis(self, places: Floats) -> Floats:
        """Return the waves at (2, place) metres east and north of the origin, shape (2 * wave, place)."""
        phase = self.wavenumbers.T @ places
        return np.concatenate([np.cos(phase), np.sin(phase)])

    def amplitudes(self, times: Times, name: str) -> Floats:
        """Return the weights of `basis` at each time, shape (time, 2 * wave); their product is the field."""
        count = len(self.rates)
        streams = address(np.stack([key(self._seed, "field", name, part) for part in ("cos", "sin")]), np.arange(count))
        state = ornstein_uhlenbeck(times, np.tile(self.rates, 2), streams.ravel())
        cosine, sine = np.split(state, 2, axis=1)
        turned = self._wind.carried(times) @ self.wavenumbers
        still, moved = np.cos(turned), np.sin(turned)
        both = [cosine * still - sine * moved, cosine * moved + sine * still]
        return np.asarray(np.concatenate(both, axis=1) / np.sqrt(count))

    def slope(self, amplitudes: Floats, axis: int) -> Floats:
        """Return the weights of the eastward (0) or northward (1) derivative of a field, per metre."""
        cosine, sine = np.split(amplitudes, 2, axis=1)
        return np.concatenate([self.wavenumbers[axis] * sine, -self.wavenumbers[axis] * cosine], axis=1)


def ornstein_uhlenbeck(times: Times, rates: Floats, streams: Bits) -> Floats:
    """Return standard Ornstein-Uhlenbeck processes, one per rate and stream, shape (time, process).

    A value depends only on its time, rate and stream. Time is divided into intervals so long that their ends are
    independent. Within an interval the process is drawn from its conditional distribution given the ends (a bridge, as
    in Lévy's construction of Brownian motion), from coarse to fine, and only where needed. The cost is some tens of
    draws per time and process, less if times are close to each other.
    """
    days = _FORGOTTEN / rates.min() / _DAY
    doublings = max(0, int(np.ceil(np.log2(days))))
    width = _DAY * 2**doublings
    start = np.unique(times // width) * width
    left, right = (normal(streams, at[:, np.newaxis]) for at in (start, start + width))
    for parts in (2,) * doublings + _SPLITS:
        if not (times % width).any():
            break
        narrow = width // parts
        nodes = [left]
        for number in range(1, parts):
            drawn = normal(streams, (start + number * narrow)[:, np.newaxis])
            nodes.append(_bridge(nodes[-1], right, drawn, rates, narrow, width - number * narrow))
        grid = np.stack([*nodes, right])
        wanted = np.unique(times // narrow) * narrow
        parent = np.searchsorted(start, wanted, side="right") - 1
        child = (wanted - start[parent]) // narrow
        left, right = grid[child, parent], grid[child + 1, parent]
        start, width = wanted, narrow
    return left[np.searchsorted(start, times)]


def _bridge(left: Floats, right: Floats, drawn: Floats, rates: Floats, after: int, before: int) -> Floats:
    """Return the process `after` seconds later than `left` and `before` seconds earlier than `right`."""
    one, two = np.exp(-rates * after), np.exp(-rates * before)
    lost_one, lost_two = -np.expm1(-2 * rates * after), -np.expm1(-2 * rates * before)
    lost = -np.expm1(-2 * rates * (after + before))
    mean = (left * one * lost_two + right * two * lost_one) / lost
    return np.asarray(mean + np.sqrt(lost_one * lost_two / lost) * drawn)
