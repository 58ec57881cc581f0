"""Verification and repair of a damaged table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import StoreError
from pipeline.store.delta.commits import LAST_CHECKPOINT, commit_name
from pipeline.store.delta.records import ASIDE, checkpoint_record_name, commit_record_name
from pipeline.store.delta.retry import retry_on_conflict
from pipeline.store.delta.scan import DataFile
from pipeline.store.delta.versions import TableSnapshot, Versions

ATTEMPTS = 10
_COMMIT_ASIDE = re.compile(rf"{ASIDE}/(\d{{20}})\.json\..*")
Outcome = Literal["restored", "redundant", "unconfirmed", "lost"]
_SENTENCES: dict[Outcome, str] = {
    "restored": "was restored from its record",
    "redundant": "was removed; the commits have the same content",
    "unconfirmed": "was removed; its writer was killed before the commit was confirmed",
    "lost": "is lost",
}


@dataclass(frozen=True, slots=True)
class RepairStep:
    """What a repair did about one damaged part of a table."""

    subject: str
    """The part, such as "commit 3"."""
    outcome: Outcome
    """`lost` if its rows are gone; after every other outcome no row is."""
    moved_to: tuple[str, ...]
    """Where the damaged files are kept."""

    def __str__(self) -> str:
        moved = f"damaged files were moved to {', '.join(self.moved_to)}" if self.moved_to else "no file was left of it"
        return f"{self.subject} {_SENTENCES[self.outcome]}; {moved}"


def verify(versions: Versions) -> list[str]:
    """Read every file, compare its SHA-256, and return one line per problem."""
    state = versions.manifest.state(trust_cache=False)
    problems = [f"{versions.store}: {state.fault}"] if state.fault else []
    problems += [f"{versions.store}: {line}" for line in versions.manifest.records.find_damage()]
    try:
        snapshot = versions.newest()
    except StoreError as error:
        return problems or [str(error)]
    damaged = _find_damaged_files(versions, snapshot) if snapshot else []
    return problems + [str(error) for _, error in damaged]


def repair(versions: Versions, before_loss: Callable[[], None] = lambda: None) -> tuple[RepairStep, ...]:
    """Restore damaged commits from their records, and remove from the table what cannot be restored.

    `before_loss` is called before anything with rows is removed. The next version gets a number that no version had
    before, so a noted version number never refers to other data. A table without any intact version starts anew.
    """
    manifest, store = versions.manifest, versions.store
    steps: list[RepairStep] = []
    state = manifest.state(trust_cache=False)
    while state.bad_checkpoint is not None:
        version = state.bad_checkpoint
        names = [file.name for file in manifest.log().checkpoints.get(version, [])]
        moved = _set_aside(versions, *names, LAST_CHECKPOINT, checkpoint_record_name(version))
        steps.append(RepairStep(f"checkpoint {version}", "redundant", moved))
        state = manifest.state()
    tried: set[int] = set()
    while not state.intact:
        version = state.version + 1
        text = manifest.records.commit_text(version) if version not in tried else None
        tried.add(version)
        if text is not None:
            moved = _set_aside(versions, commit_name(version))
            store.create(commit_name(version), text)
            steps.append(RepairStep(f"commit {version}", "restored", moved))
        elif state.torn:
            moved = _set_aside(versions, commit_name(version))
            steps.append(RepairStep(f"half-written commit {version}", "unconfirmed", moved))
        else:
            before_loss()
            lost = range(version, state.newest + 1)
            moved = _set_aside(versions, *(name(one) for one in lost for name in (commit_name, commit_record_name)))
            subject = f"commit {version}" if len(lost) == 1 else f"every commit from {version} to {state.newest}"
            steps.append(RepairStep(subject, "lost", moved))
        state = manifest.state()
    steps += _remove_damaged_files(versions, before_loss)
    _skip_used_versions(versions)
    manifest.ensure_recorded(manifest.state())
    return tuple(steps)


def _remove_damaged_files(versions: Versions, before_loss: Callable[[], None]) -> list[RepairStep]:
    """Remove damaged data files from the table and move them aside."""
    removed: list[DataFile] = []

    def attempt() -> bool:
        snapshot = versions.newest_writable()
        removed[:] = [file for file, _ in _find_damaged_files(versions, snapshot)] if snapshot else []
        if snapshot is None or not removed:
            return True
        before_loss()
        return versions.commit(snapshot, [], removed)

    give_up = f"{versions.store}: cannot be repaired, other writers committed first {ATTEMPTS} times"
    retry_on_conflict(attempt, attempts=ATTEMPTS, give_up=give_up)
    return [RepairStep(f"data file {file.name}", "lost", _set_aside(versions, file.name)) for file in removed]


def _find_damaged_files(versions: Versions, snapshot: TableSnapshot) -> list[tuple[DataFile, StoreError]]:
    damaged = []
    for file in snapshot.scan.files:
        try:
            versions.checker.check(file.name, file.size, again=True)
        except StoreError as error:
            damaged.append((file, error))
    return damaged


def _skip_used_versions(versions: Versions) -> None:
    """Commit without changes until the version is at least that of every commit that was set aside."""
    # Found on disk, so a repair that was killed and is repeated skips them too.
    files = versions.store.list_files(ASIDE)
    highest = max((int(match[1]) for file in files if (match := _COMMIT_ASIDE.fullmatch(file.name))), default=-1)
    while (snapshot := versions.newest_writable()) is not None and snapshot.version < highest:
        versions.commit(snapshot, [])


def _set_aside(versions: Versions, *names: str) -> tuple[str, ...]:
    """Move files that exist out of the way, and return where they are."""
    return tuple(moved for name in names if (moved := versions.manifest.records.set_aside(name)))
