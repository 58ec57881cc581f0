"""Comparison of a Delta log with the manifest, which shows commits that are lost, torn or altered.

A record is written after its commit, so a killed writer leaves a newest commit without a record. That commit counts if
its checksum is right and its data files are there. Any other difference is a fault: it is reported, and readers get the
version before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.store.delta.commits import LOG, LogFiles, commit_name, group_log_files, parse_commit
from pipeline.store.delta.digests import FileChecker, sha256
from pipeline.store.delta.records import Records
from pipeline.store.objects import ObjectInfo, ObjectStore

_FOREIGN = "was written by another program"


@dataclass(frozen=True, slots=True)
class LogState:
    """The versions that log and manifest show, and what is wrong with them."""

    version: int
    """The newest version that is intact together with all earlier ones; -1 if there is no table."""
    newest: int
    """The newest version that log or manifest mention, intact or not."""
    recorded: bool
    """Whether `version` has an intact record."""
    digests: Mapping[int, str]
    """SHA-256 of the commits since the last recorded checkpoint, up to `version`."""
    checkpoint: tuple[int, str] = (-1, "")
    """The last recorded checkpoint, and the tag of its record."""
    fault: str | None = None
    """What is wrong, in one line."""
    torn: bool = False
    """Whether the commit after `version` is the newest, half-written and not recorded: its writer was killed."""
    blocked: bool = False
    """Whether no version can be read."""
    bad_checkpoint: int | None = None
    """The damaged checkpoint that blocks reading."""

    def fingerprint(self, version: int) -> str:
        """Return a value that differs between versions of the same number in different tables; empty if unknown."""
        return self.digests.get(version, "") or (self.checkpoint[1] if version == self.checkpoint[0] else "")

    @property
    def intact(self) -> bool:
        """Whether the newest version is intact."""
        return self.version == self.newest and not self.blocked


class Manifest:
    """The manifest of one table.

    Reading the state costs three listings, plus one read of each commit since the last checkpoint that is new.
    """

    def __init__(self, store: ObjectStore, checker: FileChecker) -> None:
        self.store = store
        self.records = Records(store)
        self._checker = checker
        self._digests: dict[str, tuple[str, str]] = {}
        """Tag and SHA-256 of log files that were read before, by name."""

    def state(self, *, trust_cache: bool = True) -> LogState:
        """Compare the log with the records; without `trust_cache`, read unchanged files again."""
        if not trust_cache:
            self._digests.clear()
            self.records.clear_cache()
        checkpoints = self.records.list_checkpoints()
        base = max(checkpoints, default=-1)
        # Records are listed before the log: a commit exists before its record, so a concurrent writer is not mistaken
        # for a loss.
        records = self.records.list_commits(base)
        log = self.log(base)
        adopted = base < 0 and not records  # written by delta-rs alone
        if adopted:
            base = max(log.checkpoints, default=-1)
        newest = max((*log.commits, *records, base))
        if newest < 0:
            return LogState(-1, -1, True, {})
        if not adopted and base >= 0 and (problem := self._checkpoint_problem(base, log)):
            fault = f"checkpoint {base} {problem}"
            return LogState(-1, newest, True, {}, fault=fault, blocked=True, bad_checkpoint=base)
        return self._compare(records, log, base, newest, checkpoints.get(base))

    def log(self, since: int = -1) -> LogFiles:
        """Return the files of the log from a version on."""
        return group_log_files(self.store.list_files(LOG, after=f"{LOG}/{max(since, 0):020}"))

    def ensure_recorded(self, state: LogState) -> None:
        """Record the newest commit of an intact state unless it is recorded: a commit may only follow a recorded one.

        Raises:
            StoreError: the record cannot be written, or a data file of the commit is missing or damaged.
        """
        if state.recorded or state.version < 0:
            return
        content = self.store.read(commit_name(state.version))
        commit = parse_commit(content)
        if commit:
            self._checker.check_all(commit.adds.items())
        self.records.write_commit(state.version, content, state.digests)

    def _compare(
        self,
        records: Mapping[int, ObjectInfo],
        log: LogFiles,
        base: int,
        newest: int,
        checkpoint_record: ObjectInfo | None,
    ) -> LogState:
        """Compare the commits after version `base` with their records."""
        adopted = checkpoint_record is None and not records
        known, intact_records, fault = self._recorded_digests(records, base, newest)
        checkpoint = (base, checkpoint_record.tag) if checkpoint_record else (-1, "")
        digests: dict[int, str] = {}
        for version in range(base + 1, newest + 1):
            file = log.commits.get(version)
            problem = self._commit_problem(file, known.get(version), adopted=adopted)
            if problem:
                torn = file is not None and version == newest and version not in records and problem != _FOREIGN
                return LogState(
                    version - 1,
                    newest,
                    version - 1 in intact_records or version - 1 == base,
                    digests,
                    checkpoint,
                    f"commit {version} {problem}; version {version - 1} is served",
                    torn,
                    blocked=version == 0 and not torn,
                )
            digests[version] = known[version] if version in known else self._digest(log.commits[version])
        unrecorded = [version for version in log.checkpoints if version > base]
        if unrecorded and not fault:
            fault = f"checkpoint {max(unrecorded)} has no record"
        recorded = newest in intact_records or (newest == base and not adopted)
        return LogState(newest, newest, recorded, digests, checkpoint, fault)

    def _checkpoint_problem(self, version: int, log: LogFiles) -> str | None:
        digests = self.records.read_checkpoint(version)
        if digests is None:
            return "has a torn or altered record"
        present = {file.name: file for file in log.checkpoints.get(version, [])}
        for name, digest in digests.items():
            if name not in present or self._digest(present[name]) != digest:
                return "is missing, torn or altered"
        return None

    def _recorded_digests(
        self, records: Mapping[int, ObjectInfo], base: int, newest: int
    ) -> tuple[dict[int, str], set[int], str | None]:
        """Return the recorded digests after a version, the versions whose own record was read, and any fault."""
        known: dict[int, str] = {}
        intact: set[int] = set()
        fault = None
        for version in range(newest, base, -1):
            if version in records and version not in known:
                record = self.records.read_commit(records[version])
                if record is None:
                    fault = f"the record of commit {version} is torn or altered"
                else:
                    intact.add(version)
                    known = {int(number): digest for number, digest in record["digests"].items()} | known
        return known, intact, fault

    def _commit_problem(self, file: ObjectInfo | None, digest: str | None, *, adopted: bool) -> str | None:
        if file is None:
            return "is missing"
        if digest is not None:
            return None if self._digest(file) == digest else "is torn or altered"
        commit = parse_commit(self.store.get(file.name) or b"")
        if commit is None or not commit.valid:
            return "is torn or altered"
        if commit.checksum is None:
            return None if adopted else _FOREIGN
        for name, size in commit.adds.items():
            info = self.store.stat(name)
            if info is None or info.size != size:
                return f"refers to {name}, which is missing or incomplete"
        return None

    def _digest(self, file: ObjectInfo) -> str:
        cached = self._digests.get(file.name)
        if cached is None or cached[0] != file.tag:
            cached = (file.tag, sha256(self.store.get(file.name) or b""))
            self._digests[file.name] = cached
        return cached[1]
