"""A digest of revisions that does not depend on how they are split into tables or how values are encoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_tables(tables: Iterable[pa.Table], variables: tuple[str, ...]) -> str:
    """Return the SHA-256 of consecutive tables with valid_time, location, known_at and the variables.

    Null and NaN are equal, as are 0 and -0. The order of the variables does not matter.
    """
    names = ["valid_time", "known_at", *sorted(variables)]
    columns = {name: hashlib.sha256() for name in names}
    lengths, texts = hashlib.sha256(), hashlib.sha256()
    for rows in tables:
        for name in names[:2]:
            columns[name].update(rows[name].cast(pa.int64()).to_numpy().astype("<i8", copy=False))
        for name in names[2:]:
            values = rows[name].to_numpy() + 0.0
            values[np.isnan(values)] = np.nan
            columns[name].update(values.astype("<f8", copy=False))
        locations = rows["location"].cast(pa.large_binary())
        lengths.update(pc.binary_length(locations).to_numpy().astype("<i8", copy=False))
        for chunk in locations.chunks:
            edges = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            if len(chunk):
                texts.update(memoryview(chunk.buffers()[2])[edges[0] : edges[-1]])
    digests = {name: digest.hexdigest() for name, digest in columns.items()}
    digests["location"] = f"{lengths.hexdigest()} {texts.hexdigest()}"
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
