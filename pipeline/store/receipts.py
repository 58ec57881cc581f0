"""Receipts: for each payload that was taken in, what its checks found. Written last, so none is half-done.

<receipts>/<xx>/<name>.json          the receipt; one look tells whether there is one
<receipts>/days/<day of at>/<name>   an empty file: what was taken in on a day is found without reading all
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import StoreError
from pipeline.store.checksummed_json import pack, unpack
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore

_RECEIPT = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})\.json")
_DAYS = "days"
_READERS = 8


class Receipts:
    """The payloads of one feed that need not be read again. `digest in receipts` is one look at the disk.

    `judged_by` names what a payload was judged by: once the feed is described otherwise, what was refused by mistake is
    read again.
    """

    def __init__(self, place: ObjectStore, judged_by: str = "") -> None:
        self.place, self.judged_by = place, judged_by

    def __contains__(self, digest: object) -> bool:
        return self.place.exists(_path(self._name(str(digest))))

    def write(self, digest: str, receipt: dict[str, Any]) -> None:
        """Keep the receipt of a payload, as JSON. Its `at`, in ISO 8601, says when the payload was taken in.

        Raises:
            StoreError: the place cannot be written.
        """
        name = self._name(digest)
        self.place.write(f"{_DAYS}/{_day(receipt)}/{name}", b"")
        self.place.write(_path(name), pack(receipt))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every receipt, in no order that means anything.

        Raises:
            StoreError: a receipt cannot be read.
        """
        names = (match[2] for entry in self.place.entries() if (match := _RECEIPT.fullmatch(entry.name)))
        return (receipt for _, receipt in self._read(names))

    def recent(self, since: datetime) -> Iterator[dict[str, Any]]:
        """Yield the receipts of what was taken in at an instant or later, by `at`; older ones are not read.

        Raises:
            StoreError: a receipt cannot be read.
        """
        first = f"{since.astimezone(UTC):%Y-%m-%d}" if since.year > 1 else ""
        days = [day for day in (self.place / _DAYS).folders() if day >= first]
        found: dict[str, dict[str, Any]] = {}
        for day in days:
            names = [entry.name.rpartition("/")[2] for entry in (self.place / _DAYS / day).entries()]
            # A payload that was taken in twice has one receipt, on its last day.
            found |= {name: receipt for name, receipt in self._read(names) if _day(receipt) == day}
        known = [receipt for receipt in found.values() if _at(receipt) >= since]
        yield from sorted(known, key=_at)

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        with ThreadPoolExecutor(_READERS) as pool:
            for name, content in pool.map(lambda name: (name, self.place.find(_path(name))), names):
                if content is None:  # forgotten, or killed before it was written
                    continue
                receipt = unpack(content)
                if receipt is None:
                    where = f"{self.place}/{_path(name)}"
                    raise StoreError(
                        f"{where}: not a receipt, torn or altered; remove it, and its payload is read again"
                    )
                yield name, receipt

    def _name(self, digest: str) -> str:
        return sha256(f"{digest} {self.judged_by}".encode())


def _path(name: str) -> str:
    return f"{name[:2]}/{name}.json"


def _at(receipt: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(receipt["at"])


def _day(receipt: dict[str, Any]) -> str:
    return f"{_at(receipt).astimezone(UTC):%Y-%m-%d}"
