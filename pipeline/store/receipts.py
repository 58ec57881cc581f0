"""Receipts: for each ingested payload, the results of its checks. A receipt is written last, so it is never partial.

<receipts>/<xx>/<name>.json          the receipt; its existence shows that the payload was ingested
<receipts>/days/<day of at>/<name>   an empty file, so that the payloads of a day are found without reading all receipts
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import StoreError
from pipeline.store import checksummed_json
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectStore

_RECEIPT = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{62})\.json")
_DAYS = "days"
_READERS = 8


class Receipts:
    """Receipts of one feed's payloads. `digest in receipts` takes one request to the store.

    A receipt holds for the description under which its payload was ingested: after a correction of the feed's settings,
    payloads that were refused by mistake are ingested again.
    """

    def __init__(self, store: ObjectStore, description: str = "") -> None:
        self.store, self.description = store, description

    def __contains__(self, digest: object) -> bool:
        return self.store.exists(_file_name(self._name(str(digest))))

    def write(self, digest: str, receipt: dict[str, Any]) -> None:
        """Write the receipt of a payload as JSON. Its `at`, in ISO 8601, is when the payload was ingested.

        Raises:
            StoreError: the store cannot be written.
        """
        name = self._name(digest)
        self.store.put(f"{_DAYS}/{_day(receipt)}/{name}", b"")
        self.store.put(_file_name(name), checksummed_json.dumps(receipt))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every receipt, in no particular order.

        Raises:
            StoreError: a receipt cannot be read.
        """
        names = (match[2] for file in self.store.list_files() if (match := _RECEIPT.fullmatch(file.name)))
        return (receipt for _, receipt in self._read(names))

    def recent(self, since: datetime) -> Iterator[dict[str, Any]]:
        """Yield the receipts of payloads ingested at an instant or later, by `at`, without reading older days.

        Raises:
            StoreError: a receipt cannot be read.
        """
        first = f"{since.astimezone(UTC):%Y-%m-%d}" if since.year > 1 else ""
        days = [day for day in (self.store / _DAYS).list_folders() if day >= first]
        found: dict[str, dict[str, Any]] = {}
        for day in days:
            names = [file.name.rpartition("/")[2] for file in (self.store / _DAYS / day).list_files()]
            # A payload that was ingested twice has one receipt, on its last day.
            found |= {name: receipt for name, receipt in self._read(names) if _day(receipt) == day}
        recent = [receipt for receipt in found.values() if _at(receipt) >= since]
        yield from sorted(recent, key=_at)

    def _read(self, names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        with ThreadPoolExecutor(_READERS) as pool:
            for name, content in pool.map(lambda name: (name, self.store.get(_file_name(name))), names):
                if content is None:  # deleted, or its writer was killed after marking the day
                    continue
                receipt = checksummed_json.loads(content)
                if receipt is None:
                    path = f"{self.store}/{_file_name(name)}"
                    raise StoreError(f"{path}: receipt is torn or altered; delete it to ingest its payload again")
                yield name, receipt

    def _name(self, digest: str) -> str:
        return sha256(f"{digest} {self.description}".encode())


def _file_name(name: str) -> str:
    return f"{name[:2]}/{name}.json"


def _at(receipt: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(receipt["at"])


def _day(receipt: dict[str, Any]) -> str:
    return f"{_at(receipt).astimezone(UTC):%Y-%m-%d}"
