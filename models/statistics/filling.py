"""Gaps of a record filled from other locations, and what the filling cannot know.

Means of products over whichever pairs are known do not fit together where pairs differ: in a network that misses half
of its values, hardly any direction of such a matrix can be trusted. So gaps are filled first, by optimal interpolation
from the values known in the same frame (Gandin 1963), with covariances drawn to the mean of the network at the same
distance. Moments of the filled record fit together. They lack what filling cannot know, which is estimated and added,
as in the expectation step for Gaussian data with gaps (Dempster, Laird and Rubin 1977; Schneider 2001,
doi:10.1175/1520-0442(2001)014<0853:AOICDE>2.0.CO;2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.task import Task

# Number of pairs from which the covariance of two locations weighs as much as that of the network at their distance;
# and from which that of the network weighs as much as none.
_PRIOR = 50.0
# Classes of distance with equally many pairs of locations, and fewest pairs in one.
_CLASSES = 8
_FEWEST_PAIRS = 10
# Smallest eigenvalue of the correlations: what no other location knows of a value.
_NOISE = 0.02
# Maximum number of operations to fill a record; groups of locations are small enough for it.
_MAX_OPERATIONS = 1e11
# Maximum number of values that the persistence of errors is estimated from.
_MAX_VALUES = 4_000_000
# Smallest known fraction of the pairs of frames at a lag that tells of their correlation.
_FEWEST_KNOWN = 0.05
# Errors of frames in which different locations are missing covary less with each other than this times their variance.
_LARGEST_LOSS = 4.0

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Known = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FilledRecord:
    """A record (frame, channel, location) of anomalies without gaps. A variable is one channel at one location.

    Attributes:
        values: anomalies, in gaps the mean given what is known in the same frame.
        information: same shape, 1 where known, in gaps the fraction of the variance that the filling explains.
        uncertainty: (variable, variable), covariance of the errors of filling, averaged over all frames.
        persistence: (lag, variable), mean product of errors and values that far apart which the filled record lacks,
            relative to `uncertainty`; 1 at lag 0.
    """

    values: Floats
    information: Floats
    uncertainty: Doubles
    persistence: Doubles

    def lost(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> Doubles:
        """Return what moments of the filled record lack, (variable, variable).

        They are those of the means over two sets of frames, given by their distances from a common one.
        """
        lags, counts = np.unique(np.abs(first[:, None] - second), return_counts=True)
        root = np.sqrt(np.average(self.persistence[lags], axis=0, weights=counts))
        lost: Doubles = np.outer(root, root) * self.uncertainty
        return lost


def fill(task: Task, anomaly: Floats, known: Known, most: int) -> FilledRecord:
    """Return a record (frame, channel, location) with its gaps filled; `most` is the largest lag of its moments."""
    frames, size = len(anomaly), anomaly[0].size
    if known.all():
        nothing = np.zeros((size, size)), np.ones((most + 1, size))
        return FilledRecord(anomaly, known.astype(np.float32), *nothing)
    values = anomaly.reshape(frames, size).astype(np.float64)
    seen = known.reshape(frames, size)
    covariance = _covariance(values, seen, _distances(task))
    information, uncertainty = seen.astype(np.float32), np.zeros_like(covariance)
    channels = np.arange(known.shape[1]) * len(task.locations)
    variables = max(int(np.sqrt(3 * _MAX_OPERATIONS / (frames * size))), 1)
    for group in _groups(_points(task), max(variables // len(channels), 1)):
        _fill_group((channels[:, None] + group).ravel(), values, information, uncertainty, covariance)
    uncertainty /= frames
    persistence = _persistence(values, information, uncertainty, covariance, known.shape[1:], most)
    return FilledRecord(
        values.reshape(anomaly.shape).astype(np.float32),
        information.reshape(anomaly.shape),
        uncertainty,
        persistence,
    )


def _fill_group(
    group: NDArray[np.intp], values: Doubles, information: Floats, uncertainty: Doubles, covariance: Doubles
) -> None:
    """Fill the gaps of some variables from each other, and add up the covariances of the errors, in place."""
    seen = information[:, group] == 1
    patterns, member = np.unique(np.packbits(seen, axis=1), axis=0, return_inverse=True)
    order = np.argsort(member.reshape(-1), kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(member.reshape(-1), minlength=len(patterns)))[:-1]):
        there, gap = group[seen[rows[0]]], group[~seen[rows[0]]]
        if not len(gap):
            continue
        among, between = covariance[np.ix_(gap, gap)], covariance[np.ix_(there, gap)]
        weights = np.linalg.solve(covariance[np.ix_(there, there)], between)
        errors = among - between.T @ weights
        values[np.ix_(rows, gap)] = values[np.ix_(rows, there)] @ weights
        information[np.ix_(rows, gap)] = np.clip(1 - np.diag(errors) / np.diag(among), 0, 1)
        uncertainty[np.ix_(gap, gap)] += len(rows) * errors


def _covariance(values: Doubles, seen: Known, distance: Doubles) -> Doubles:
    """Return the positive definite covariance (variable, variable) of values (frame, variable), 0 where not seen."""
    weight = seen.astype(np.float32)
    sums, counts = values.T @ values, (weight.T @ weight).astype(np.float64)
    mixed = (sums + _PRIOR * _by_distance(sums, counts, distance)) / (counts + _PRIOR)
    scale = np.sqrt(np.maximum(np.diag(mixed), 1e-6))
    roots, axes = np.linalg.eigh(mixed / np.outer(scale, scale))
    covariance: Doubles = (axes * np.maximum(roots, _NOISE)) @ axes.T * np.outer(scale, scale)
    return covariance


def _by_distance(sums: Doubles, counts: Doubles, distance: Doubles) -> Doubles:
    """Return mean products (variable, variable) that depend on the two channels and on the distance alone."""
    locations = len(distance)
    form = (len(sums) // locations, locations) * 2
    product, count, out = sums.reshape(form), counts.reshape(form), np.zeros(form)
    apart = ~np.eye(locations, dtype=bool)
    classes = int(np.clip(apart.sum() // 2 // _FEWEST_PAIRS, 1, _CLASSES))
    edges = np.quantile(distance[apart], np.arange(1, classes) / classes) if apart.any() else np.empty(0)
    label = np.searchsorted(edges, distance)
    members = [apart & (label == number) for number in range(classes)]
    members = [member for member in members if member.any()]
    nodes = np.array([distance[member].mean() for member in members])
    for one, other in np.ndindex(form[0], form[0]):
        total, pairs = product[one, :, other], count[one, :, other]
        if len(nodes):
            heights = [total[member].sum() / (pairs[member].sum() + _PRIOR) for member in members]
            out[one, :, other] = np.interp(distance, nodes, heights)
        own = np.trace(total) / max(np.trace(pairs), 1.0)
        np.fill_diagonal(out[one, :, other], own)
    return out.reshape(sums.shape)


def _persistence(
    values: Doubles,
    information: Floats,
    uncertainty: Doubles,
    covariance: Doubles,
    form: tuple[int, ...],
    most: int,
) -> Doubles:
    """Return the persistence of a `FilledRecord`.

    At a lag, two frames lack as much as the one that is known worse. What is lost is taken to be as persistent as what
    is not, in the mean over the locations of a channel; at lags of which nothing is known, as between other lags.
    """
    frames, size = values.shape
    variance, share = np.diag(covariance), 1.0 - information
    lags = np.arange(most + 1)
    loss, kept, product = np.ones((most + 1, size)), np.zeros((most + 1, form[0])), np.zeros((most + 1, form[0]))
    step = max(1, values.size // _MAX_VALUES)
    for lag in lags[: frames - 1]:
        early = np.arange(0, frames - lag, step)
        loss[lag] = np.maximum(share[early], share[early + lag]).mean(0)
        kept[lag] = (1 - loss[lag]).reshape(form).mean(-1)
        product[lag] = ((values[early] * values[early + lag]).mean(0) / variance).reshape(form).mean(-1)
    persistence = loss * variance / np.maximum(np.diag(uncertainty), 1e-12)
    for channel in range(form[0]):
        told = kept[:, channel] >= _FEWEST_KNOWN
        told[0] = True
        correlation = np.where(told, product[:, channel] / np.maximum(kept[:, channel], _FEWEST_KNOWN), 0.0)
        correlation[0] = 1.0
        between = np.clip(np.interp(lags, lags[told], correlation[told]), 0, 1)
        of_channel = slice(channel * form[1], (channel + 1) * form[1])
        persistence[:, of_channel] = np.clip(persistence[:, of_channel], 0, _LARGEST_LOSS) * between[:, None]
    persistence[0] = 1.0
    return persistence


def _points(task: Task) -> Doubles:
    """Return the locations as points on the unit sphere, (location, 3)."""
    east, north = np.radians(task.longitude), np.radians(task.latitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def _distances(task: Task) -> Doubles:
    """Return the chords between locations, in radii of the Earth, (location, location)."""
    points = _points(task)
    distance: Doubles = np.sqrt(np.maximum(2 - 2 * points @ points.T, 0))
    return distance


def _groups(points: Doubles, most: int) -> list[NDArray[np.intp]]:
    """Return groups of at most `most` locations, by halves of the wider extent."""
    waiting, groups = [np.arange(len(points))], []
    while waiting:
        group = waiting.pop()
        if len(group) <= most:
            groups.append(group)
            continue
        axis = int(np.ptp(points[group], axis=0).argmax())
        order = group[np.argsort(points[group, axis], kind="stable")]
        waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return groups
