"""Data files that say what they hold: the SHA-256 of the content is in the name, and the name is in the Delta log."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, ObjectStore

_NAMED = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{8}\.parquet")
_CHUNK = 1 << 20
_verified: dict[tuple[str, str], tuple[int, str]] = {}


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some content, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def name_for(content: bytes) -> str:
    """Return a name for a data file: its digest, and a part that makes the same rows added twice two files."""
    return f"{sha256(content)}.{uuid4().hex[:8]}.parquet"


def digest_in(name: str) -> str | None:
    """Return the digest that a name promises; None for a file that another program wrote."""
    match = _NAMED.fullmatch(name)
    return match[1] if match else None


def check_files(place: ObjectStore, files: Iterable[tuple[str, int]]) -> None:
    """Let pass only files that have the named size and digest. Each is read once a process, while it stays as it is.

    Raises:
        StoreError: a file is missing, torn or altered.
    """
    todo = list(files)
    if len(todo) < 2:
        for name, size in todo:
            check_file(place, name, size)
        return
    with ThreadPoolExecutor(4) as pool:  # hashing lets other threads run
        for done in [pool.submit(check_file, place, name, size) for name, size in todo]:
            done.result()


def check_file(place: ObjectStore, name: str, size: int) -> None:
    """Let pass a file that has the named size and digest.

    Raises:
        StoreError: it is missing, torn or altered.
    """
    entry = place.look(name)
    if entry is None:
        raise StoreError(f"{place}/{name}: data file is missing")
    if entry.size != size:
        raise StoreError(f"{place}/{name}: data file has {entry.size} bytes instead of {size}")
    wanted = digest_in(name)
    if wanted is None or _verified.get((place.uri, name)) == (size, entry.tag):
        return
    if _digest(place, name) != wanted:
        raise StoreError(f"{place}/{name}: data file is altered, its content has another digest than its name")
    _verified[place.uri, name] = (size, entry.tag)


def checked(place: ObjectStore, name: str, size: int) -> bytes:
    """Return the content of a data file, after its size and digest were found right.

    Raises:
        StoreError: it is missing, torn or altered.
    """
    content = place.find(name)
    if content is None:
        raise StoreError(f"{place}/{name}: data file is missing")
    if len(content) != size:
        raise StoreError(f"{place}/{name}: data file has {len(content)} bytes instead of {size}")
    if sha256(content) != (digest_in(name) or sha256(content)):
        raise StoreError(f"{place}/{name}: data file is altered, its content has another digest than its name")
    return content


def forget_checks() -> None:
    """Forget which files were found to be sound, so that each is read again."""
    _verified.clear()


def _digest(place: ObjectStore, name: str) -> str:
    if not isinstance(place, LocalStore):
        return sha256(place.read(name))
    digest = hashlib.sha256()
    try:
        with (place.path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise StoreError(f"{place}/{name}: cannot read, {error.strerror}") from error
    return digest.hexdigest()
