"""Arrow buffers that own their memory."""

from __future__ import annotations

import pyarrow as pa


def copy_to_arrow(content: bytes) -> pa.Buffer:
    """Return a copy of some bytes in memory that Arrow owns.

    A buffer that wraps Python bytes needs the interpreter to free it: when one of Arrow's threads does so during
    interpreter shutdown, the process aborts.
    """
    stream = pa.BufferOutputStream()
    stream.write(content)
    return stream.getvalue()
