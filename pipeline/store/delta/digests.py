"""Data files named by the SHA-256 of their content, and the check of a file against its name.

The Delta log contains the names, so it vouches for the data as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, ObjectStore

_DATA_FILE = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{8}\.parquet")
_CHUNK = 1 << 20


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some content as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def data_file_name(content: bytes) -> str:
    """Return a name for a data file: its SHA-256, and a random part so that equal rows can be added twice."""
    return f"{sha256(content)}.{uuid4().hex[:8]}.parquet"


def digest_in_name(name: str) -> str | None:
    """Return the SHA-256 in a data file's name, or None for a file that another program wrote."""
    match = _DATA_FILE.fullmatch(name)
    return match[1] if match else None


class FileChecker:
    """Checks the data files of one table for size and SHA-256, and remembers which unchanged files have passed."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._passed: dict[str, tuple[int, str]] = {}
        """Size and tag by name."""

    def check_all(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Check several files, given as (name, size).

        Raises:
            StoreError: a file is missing, torn or altered.
        """
        files = list(sizes)
        if len(files) < 2:
            for name, size in files:
                self.check(name, size)
            return
        with ThreadPoolExecutor(4) as pool:  # hashing releases the interpreter lock
            for done in [pool.submit(self.check, name, size) for name, size in files]:
                done.result()

    def check(self, name: str, size: int, *, again: bool = False) -> None:
        """Check one file; with `again`, also one that passed before.

        Raises:
            StoreError: the file is missing, torn or altered.
        """
        info = self._store.stat(name)
        if info is None:
            raise StoreError(f"{self._store}/{name}: data file is missing")
        if info.size != size:
            raise StoreError(f"{self._store}/{name}: data file has {info.size} bytes instead of {size}")
        expected = digest_in_name(name)
        if expected is None or (not again and self._passed.get(name) == (size, info.tag)):
            return
        if _hash_file(self._store, name) != expected:
            raise StoreError(f"{self._store}/{name}: data file is altered, its SHA-256 does not match its name")
        self._passed[name] = (size, info.tag)

    def read(self, name: str, size: int) -> bytes:
        """Return the content of a file, checked.

        Raises:
            StoreError: the file is missing, torn or altered.
        """
        content = self._store.get(name)
        if content is None:
            raise StoreError(f"{self._store}/{name}: data file is missing")
        if len(content) != size:
            raise StoreError(f"{self._store}/{name}: data file has {len(content)} bytes instead of {size}")
        if digest_in_name(name) not in (None, sha256(content)):
            raise StoreError(f"{self._store}/{name}: data file is altered, its SHA-256 does not match its name")
        return content


def _hash_file(store: ObjectStore, name: str) -> str:
    if not isinstance(store, LocalStore):
        return sha256(store.read(name))
    digest = hashlib.sha256()
    try:
        with (store.path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise StoreError(f"{store}/{name}: cannot read, {error.strerror}") from error
    return digest.hexdigest()
