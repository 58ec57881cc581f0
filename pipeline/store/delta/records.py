"""The files of a table's manifest: a record of each commit and of each checkpoint.

    <table>/_manifest/commits/<version>.json        the text of a commit, and the SHA-256 of it and of earlier commits
    <table>/_manifest/checkpoints/<version>.json    the SHA-256 of a checkpoint's files
    <table>/_manifest/aside/                        damaged or half-written files that were moved out of the way

The folder names and the keys "version", "digests", "entry" and "files" are in existing tables: never change them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from pipeline.errors import StoreError
from pipeline.store import checksummed_json
from pipeline.store.delta.commits import LAST_CHECKPOINT, commit_name
from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectInfo, ObjectStore

FOLDER = "_manifest"
COMMITS = f"{FOLDER}/commits"
CHECKPOINTS = f"{FOLDER}/checkpoints"
ASIDE = f"{FOLDER}/aside"
_BLOCK = 256
"""A record has the digests of the commits since the last multiple of this: few records tell all digests."""
_NUMBERED = re.compile(r".*/(\d{20})\.json")


class Records:
    """The records of one table."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._cached: tuple[ObjectInfo, dict[str, Any] | None] | None = None

    def list_commits(self, since: int = -1) -> dict[int, ObjectInfo]:
        """Return the record files of commits by version, from a version on."""
        return _by_version(self._store.list_files(COMMITS, after=f"{COMMITS}/{max(since, 0):020}"))

    def list_checkpoints(self) -> dict[int, ObjectInfo]:
        """Return the record files of checkpoints by version."""
        return _by_version(self._store.list_files(CHECKPOINTS))

    def read_commit(self, file: ObjectInfo) -> dict[str, Any] | None:
        """Return the record in a file, or None if it is damaged. The last one is cached: readers ask for the newest."""
        if self._cached is None or (self._cached[0].name, self._cached[0].tag) != (file.name, file.tag):
            self._cached = (file, checksummed_json.loads(self._store.get(file.name)))
        return self._cached[1]

    def read_checkpoint(self, version: int) -> dict[str, str] | None:
        """Return the recorded digests of a checkpoint's files by name, or None if the record is damaged."""
        record = checksummed_json.loads(self._store.get(checkpoint_record_name(version)))
        return record["files"] if record else None

    def clear_cache(self) -> None:
        """Read the newest record again when it is next asked for."""
        self._cached = None

    def commit_text(self, version: int) -> bytes | None:
        """Return the recorded text of a commit, or None if it has no intact record."""
        record = checksummed_json.loads(self._store.get(commit_record_name(version)))
        return record["entry"].encode() if record else None

    def write_commit(self, version: int, content: bytes, earlier: Mapping[int, str]) -> None:
        """Record a commit's text, its digest and those of earlier commits.

        Raises:
            StoreError: the record cannot be written, or another commit of this version was recorded.
        """
        self._store.fsync(commit_name(version))
        start = version - version % _BLOCK
        digests = {str(number): digest for number, digest in earlier.items() if start <= number < version}
        digests[str(version)] = sha256(content)
        record = checksummed_json.dumps({"version": version, "digests": digests, "entry": content.decode()})
        if not self._store.create(commit_record_name(version), record):
            existing = checksummed_json.loads(self._store.get(commit_record_name(version)))
            if existing is None:
                self._store.put(commit_record_name(version), record)
            elif existing["digests"][str(version)] != digests[str(version)]:
                raise StoreError(f"{self._store}: commit {version} differs from its record")

    def write_checkpoint(self, version: int, names: Iterable[str]) -> None:
        """Record the files of a checkpoint that was just written."""
        files = list(names)
        for name in (*files, LAST_CHECKPOINT):
            self._store.fsync(name)
        digests = {name: sha256(self._store.read(name)) for name in files}
        self._store.put(checkpoint_record_name(version), checksummed_json.dumps({"version": version, "files": digests}))

    def find_damage(self) -> list[str]:
        """Read every record and return one line per damaged one."""
        names = [file.name for file in (*self.list_commits().values(), *self.list_checkpoints().values())]
        return [f"{name} is torn or altered" for name in names if checksummed_json.loads(self._store.get(name)) is None]

    def set_aside(self, name: str, expected: bytes | None = None) -> str | None:
        """Move a file of the table to the folder `aside` and return its new name, or None if nothing was moved.

        With `expected`, a file whose content has changed since stays where it is.
        """
        content = self._store.get(name)
        if content is None or (expected is not None and content != expected):
            return None
        moved = f"{ASIDE}/{name.rpartition('/')[2]}.{uuid4().hex[:8]}"
        self._store.put(moved, content)
        self._store.delete(name)
        return moved


def commit_record_name(version: int) -> str:
    """Return the name of a commit's record within the table."""
    return f"{COMMITS}/{version:020}.json"


def checkpoint_record_name(version: int) -> str:
    """Return the name of a checkpoint's record within the table."""
    return f"{CHECKPOINTS}/{version:020}.json"


def _by_version(files: Iterable[ObjectInfo]) -> dict[int, ObjectInfo]:
    return {int(match[1]): file for file in files if (match := _NUMBERED.fullmatch(file.name))}
