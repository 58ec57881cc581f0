"""Receipts: for each payload that was taken in, what its checks found. Written last, so none is half-done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import atomic
from pipeline.errors import StoreError


class Receipts:
    """The payloads of one feed that need not be read again. `digest in receipts` is one look at the disk.

    `judged_by` names what a payload was judged by: once the feed is described otherwise, what was refused by mistake is
    read again.
    """

    def __init__(self, root: Path, judged_by: str = "") -> None:
        self.root, self.judged_by = root, judged_by

    def __contains__(self, digest: object) -> bool:
        return self._path(str(digest)).is_file()

    def write(self, digest: str, receipt: dict[str, Any]) -> None:
        """Keep the receipt of a payload, as JSON."""
        atomic.write_file(self._path(digest), json.dumps(receipt, indent=1).encode())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every receipt, in no order that means anything.

        Raises:
            StoreError: a receipt cannot be read.
        """
        for path in sorted(self.root.glob("*/*.json")):
            try:
                yield json.loads(path.read_bytes())
            except ValueError as error:
                raise StoreError(f"{path}: not a receipt, {error}; remove it, and its payload is read again") from error

    def _path(self, digest: str) -> Path:
        name = hashlib.sha256(f"{digest} {self.judged_by}".encode()).hexdigest()
        return self.root / name[:2] / f"{name}.json"
