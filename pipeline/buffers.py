"""Bytes where Arrow's own threads may let go of them."""

from __future__ import annotations

import pyarrow as pa


def owned(content: bytes) -> pa.Buffer:
    """Return a copy that Arrow owns.

    A buffer on Python's bytes is given back through the interpreter. Where a thread of Arrow does so while the
    interpreter ends, the process is aborted.
    """
    stream = pa.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()
