"""One digest for equal rows, in whatever pieces they come and however their values are written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def digest_of(pieces: Iterable[pa.Table], variables: tuple[str, ...]) -> str:
    """Return the SHA-256 of the rows of some tables one after the other: valid_time, location, known_at, variables.

    No value, NaN and null, is one value; so are 0 and -0. The order of the variables does not matter.
    """
    names = ["valid_time", "known_at", *sorted(variables)]
    columns = {name: hashlib.sha256() for name in names}
    lengths, texts = hashlib.sha256(), hashlib.sha256()
    for rows in pieces:
        for name in names[:2]:
            columns[name].update(rows[name].cast(pa.int64()).to_numpy().astype("<i8", copy=False))
        for name in names[2:]:
            values = rows[name].to_numpy() + 0.0
            values[np.isnan(values)] = np.nan
            columns[name].update(values.astype("<f8", copy=False))
        places = rows["location"].cast(pa.large_binary())
        lengths.update(pc.binary_length(places).to_numpy().astype("<i8", copy=False))
        for chunk in places.chunks:
            edges = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
            if len(chunk):
                texts.update(memoryview(chunk.buffers()[2])[edges[0] : edges[-1]])
    told = {name: digest.hexdigest() for name, digest in columns.items()}
    told["location"] = f"{lengths.hexdigest()} {texts.hexdigest()}"
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
