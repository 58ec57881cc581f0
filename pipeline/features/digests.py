"""Digests of what was known at instants of the past, so that work on the past is not repeated without need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.features.arrays import Frames
from pipeline.features.snapshot import Snapshot
from pipeline.steps import identify
from pipeline.times import as_numpy


def digests_known_by(snapshot: Snapshot, instants: Sequence[datetime]) -> list[str]:
    """Return the SHA-256 of everything in a snapshot that was known at each of some ascending instants.

    Equal digests mean equal data: observations, covariates and the times at which they became known. What became known
    after an instant does not change its digest. The history is read once, however many instants there are.
    """
    covariates = [covariate for covariate, _ in snapshot.covariates.parts]
    places = [[one.feed.name, one.locations.ids, one.locations.longitude, one.locations.latitude] for one in covariates]
    parts = [list(_known_by(snapshot.frames, instants))]
    parts += [list(_known_by(one.frames, instants)) if one.frames else [""] * len(instants) for one in covariates]
    return [hashlib.sha256(json.dumps([places, digests]).encode()).hexdigest() for digests in zip(*parts, strict=True)]


def _known_by(frames: Frames, instants: Sequence[datetime]) -> Iterator[str]:
    """Yield the digest of frames as known at each instant.

    Frames that were complete are hashed once, in order of time; of later ones, only the values known at the instant.
    """
    arrays: tuple[NDArray[Any], ...] = (frames.first, frames.mask, frames.known_at)
    complete = [hashlib.sha256() for _ in arrays]
    done = 0
    for instant in instants:
        limit = as_numpy(instant).astype(np.int64)
        end = max(done, int(np.searchsorted(frames.complete_through, limit, side="right")))
        for digest, array in zip(complete, arrays, strict=True):
            digest.update(np.ascontiguousarray(array[done:end]).view(np.uint8).data)
        done = end
        revised = frames.revisions.known_at <= limit
        late, location = np.nonzero(frames.known_at[end:] <= limit)
        rest = (
            late,
            location,
            frames.known_at[end + late, location],
            frames.first[end + late, :, location],
            frames.mask[end + late, :, location],
            frames.revisions.time_index[revised],
            frames.revisions.location_index[revised],
            frames.revisions.known_at[revised],
            frames.revisions.values[revised],
        )
        whole = hashlib.sha256(json.dumps([str(frames.times[0]), identify(frames.step), end]).encode())
        for part in (*(digest.digest() for digest in complete), *(np.ascontiguousarray(one).tobytes() for one in rest)):
            whole.update(hashlib.sha256(part).digest())
        yield whole.hexdigest()
