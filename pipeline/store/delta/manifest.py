"""The manifest of a table: for each commit a record of its digest, so that a lost, torn or altered one is noticed.

    <table>/_manifest/commits/<version>.json        the commit's entry, and the digests of the entries before it
    <table>/_manifest/checkpoints/<version>.json    the digests of a checkpoint's files
    <table>/_manifest/aside/                        what `repair` and the next writer took out of the way

A record is written after its commit. So the newest commit may have none, when its writer was killed: it counts if its
seal and its data files are right. Any other difference is a fault: what comes before it is served, and it is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pipeline.errors import StoreError
from pipeline.store.checksummed_json import pack, unpack
from pipeline.store.delta.commits import HINT, LOG, Log, commit_name, parse_commit, sort_log
from pipeline.store.delta.digests import check_files, sha256
from pipeline.store.objects import Entry, ObjectStore

FOLDER = "_manifest"
_BLOCK = 256
_FOREIGN = "was written by another program"
COMMITS = f"{FOLDER}/commits"
CHECKPOINTS = f"{FOLDER}/checkpoints"
ASIDE = f"{FOLDER}/aside"
_NUMBERED = re.compile(r".*/(\d{20})\.json")


@dataclass(frozen=True, slots=True)
class State:
    """What the log and the manifest say together."""

    version: int
    """The newest version that is sound with all before it; -1 for no table."""
    newest: int
    """The newest version that was ever seen, sound or not."""
    recorded: bool
    """Whether `version` has a sound record."""
    digests: Mapping[int, str]
    """Digests of the entries since the last recorded checkpoint, up to `version`."""
    base: tuple[int, str] = (-1, "")
    """The last recorded checkpoint, and what tells it from another one."""
    fault: str | None = None
    """What is wrong, in one line."""
    torn: bool = False
    """Whether the commit after `version` is the newest, half-written, and was never acknowledged."""
    blocked: bool = False
    """Whether no version can be read."""
    bad_checkpoint: int | None = None
    """The checkpoint that is why."""

    def stamp(self, version: int) -> str:
        """Return what tells a version from one of the same number in another table; empty when it is not known."""
        return self.digests.get(version, "") or (self.base[1] if version == self.base[0] else "")

    @property
    def whole(self) -> bool:
        """Whether the newest version is the sound one."""
        return self.version == self.newest and not self.blocked


class Manifest:
    """The records of one table. Looking costs three listings, and one read of each entry since the last checkpoint."""

    def __init__(self, place: ObjectStore) -> None:
        self.place = place
        # What was read before, by name, with the tag that it had.
        self._digests: dict[str, tuple[str, str]] = {}
        self._records: dict[str, tuple[str, dict[str, Any] | None]] = {}

    def state(self, *, trust: bool = True) -> State:
        """Compare the log with the records; without `trust`, read again what was read before and did not change."""
        if not trust:
            self._digests.clear()
            self._records.clear()
        checkpoints = self.checkpoints()
        base = max(checkpoints, default=-1)
        # In this order: a commit is there before its record, so another writer in between does not look like a loss.
        records = self.records(base)
        log = self.log(base)
        adopted = base < 0 and not records  # written by delta-rs alone
        if adopted:
            base = max(log.checkpoints, default=-1)
        newest = max((*log.commits, *records, base))
        if newest < 0:
            return State(-1, -1, True, {})
        if not adopted and base >= 0 and (problem := self._checkpoint_problem(base, log)):
            told = f"checkpoint {base} {problem}"
            return State(-1, newest, True, {}, fault=told, blocked=True, bad_checkpoint=base)
        known, sound, fault = self._known(records, base, newest)
        mark = (base, checkpoints[base].tag) if base in checkpoints else (-1, "")
        digests: dict[int, str] = {}
        for version in range(base + 1, newest + 1):
            entry = log.commits.get(version)
            problem = self._problem(entry, known.get(version), adopted=adopted)
            if problem:
                torn = entry is not None and version == newest and version not in records and problem != _FOREIGN
                told = f"commit {version} {problem}; version {version - 1} is served"
                done = version - 1 in sound or version - 1 == base
                return State(version - 1, newest, done, digests, mark, told, torn, blocked=version == 0 and not torn)
            digests[version] = known[version] if version in known else self._digest(log.commits[version])
        unrecorded = [version for version in log.checkpoints if version > base]
        if unrecorded and not fault:
            fault = f"checkpoint {max(unrecorded)} has no record"
        return State(newest, newest, newest in sound or (newest == base and not adopted), digests, mark, fault)

    def log(self, since: int = -1) -> Log:
        """Return the files of the log from a version on."""
        return sort_log(self.place.entries(LOG, after=f"{LOG}/{max(since, 0):020}"))

    def acknowledge(self, state: State) -> None:
        """Record the newest commit of a sound state, unless it is recorded; nothing may be built on one that is not.

        Raises:
            StoreError: it cannot be written, or a data file of the commit is not what it should be.
        """
        if state.recorded or state.version < 0:
            return
        content = self.place.read(commit_name(state.version))
        commit = parse_commit(content)
        if commit:
            check_files(self.place, commit.adds.items())
        self.record(state.version, content, state.digests)

    def record(self, version: int, content: bytes, before: Mapping[int, str]) -> None:
        """Write the record of a commit's entry, beside the digests of those before it.

        Raises:
            StoreError: it cannot be written, or another commit of this version was recorded.
        """
        self.place.settle(commit_name(version))
        start = version - version % _BLOCK
        digests = {str(one): digest for one, digest in before.items() if start <= one < version}
        digests[str(version)] = sha256(content)
        packed = pack({"version": version, "digests": digests, "entry": content.decode()})
        if not self.place.create(record_name(version), packed):
            present = unpack(self.place.find(record_name(version)))
            if present is None:
                self.place.write(record_name(version), packed)
            elif present["digests"][str(version)] != digests[str(version)]:
                raise StoreError(f"{self.place}: commit {version} is not the one that was recorded")

    def entry_of(self, version: int) -> bytes | None:
        """Return a commit's entry as its record keeps it, or None when there is no sound record."""
        record = unpack(self.place.find(record_name(version)))
        return record["entry"].encode() if record else None

    def record_checkpoint(self, version: int) -> None:
        """Record a checkpoint that was just written."""
        names = [entry.name for entry in self.log().checkpoints[version]]
        for name in (*names, HINT):
            self.place.settle(name)
        digests = {name: sha256(self.place.read(name)) for name in names}
        self.place.write(checkpoint_name(version), pack({"version": version, "files": digests}))

    def set_aside(self, name: str, seen: bytes | None = None) -> str | None:
        """Move a file out of the way and return where it is kept; with `seen`, only while it still is that."""
        content = self.place.find(name)
        if content is None or (seen is not None and content != seen):
            return None
        kept = f"{ASIDE}/{name.rpartition('/')[2]}.{uuid4().hex[:8]}"
        self.place.write(kept, content)
        self.place.remove(name)
        return kept

    def records(self, since: int = -1) -> dict[int, Entry]:
        """Return the files of the records by the version of their commit, from a version on."""
        return _numbered(self.place.entries(COMMITS, after=f"{COMMITS}/{max(since, 0):020}"))

    def checkpoints(self) -> dict[int, Entry]:
        """Return the files of the recorded checkpoints' records by version."""
        return _numbered(self.place.entries(CHECKPOINTS))

    def damaged_records(self) -> list[str]:
        """Read every record and return what is wrong, a line each."""
        names = [entry.name for entry in (*self.records().values(), *self.checkpoints().values())]
        return [f"{name} is torn or altered" for name in names if unpack(self.place.find(name)) is None]

    def _checkpoint_problem(self, version: int, log: Log) -> str | None:
        record = unpack(self.place.find(checkpoint_name(version)))
        if record is None:
            return "has a torn or altered record"
        present = {entry.name: entry for entry in log.checkpoints.get(version, [])}
        for name, digest in record["files"].items():
            if name not in present or self._digest(present[name]) != digest:
                return "is torn, altered or gone"
        return None

    def _known(
        self, records: Mapping[int, Entry], base: int, newest: int
    ) -> tuple[dict[int, str], set[int], str | None]:
        """Return the recorded digests since a version, the versions whose own record was read, and what is wrong."""
        known: dict[int, str] = {}
        sound: set[int] = set()
        fault = None
        version = newest
        while version > base:
            if version in records and version not in known:
                record = self._record(records[version])
                if record is None:
                    fault = f"the record of commit {version} is torn or altered"
                else:
                    sound.add(version)
                    known = {int(one): digest for one, digest in record["digests"].items()} | known
            version -= 1
        return known, sound, fault

    def _problem(self, entry: Entry | None, digest: str | None, *, adopted: bool) -> str | None:
        if entry is None:
            return "is missing"
        if digest is not None:
            return None if self._digest(entry) == digest else "is torn or altered"
        commit = parse_commit(self.place.find(entry.name) or b"")
        if commit is None or not commit.sound:
            return "is torn or altered"
        if commit.seal is None:
            return None if adopted else _FOREIGN
        for name, size in commit.adds.items():
            present = self.place.look(name)
            if present is None or present.size != size:
                return f"names {name}, which is not whole"
        return None

    def _record(self, entry: Entry) -> dict[str, Any] | None:
        known = self._records.get(entry.name)
        if known is None or known[0] != entry.tag:
            known = (entry.tag, unpack(self.place.find(entry.name)))
            self._records = {entry.name: known}  # of one version after another, only the newest is asked for again
        return known[1]

    def _digest(self, entry: Entry) -> str:
        known = self._digests.get(entry.name)
        if known is None or known[0] != entry.tag:
            known = (entry.tag, sha256(self.place.find(entry.name) or b""))
            self._digests[entry.name] = known
        return known[1]


def record_name(version: int) -> str:
    """Return the name of a commit's record within the table."""
    return f"{COMMITS}/{version:020}.json"


def checkpoint_name(version: int) -> str:
    """Return the name of a checkpoint's record within the table."""
    return f"{CHECKPOINTS}/{version:020}.json"


def _numbered(entries: Iterable[Entry]) -> dict[int, Entry]:
    return {int(match[1]): entry for entry in entries if (match := _NUMBERED.fullmatch(entry.name))}
