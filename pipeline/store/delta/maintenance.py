"""Keeping a table in order: fewer and sorted files, no waste, a short log; and finding and mending damage."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pipeline.errors import StoreError
from pipeline.store.delta.commits import HINT, LOG, commit_name, parse_commit
from pipeline.store.delta.digests import check_file, forget_checks
from pipeline.store.delta.encode import encode
from pipeline.store.delta.manifest import ASIDE, FOLDER, checkpoint_name, record_name
from pipeline.store.delta.scan import Held
from pipeline.store.delta.versions import Versions, View
from pipeline.store.objects import Entry

log = logging.getLogger("nightcast.store")
ATTEMPTS = 10
_SET_ASIDE = re.compile(rf"{ASIDE}/(\d{{20}})\.json\..*")


class Repaired(NamedTuple):
    """What a repair did."""

    lost_since: datetime | None
    """Rows that were taken in at this instant or later are to be taken in again; None when nothing is lost."""
    told: tuple[str, ...]
    """What was done, a line each."""


def compact(versions: Versions, order: tuple[str, ...], more_than: int) -> int:
    """Make one sorted file of each partition that has more files; return how many files went."""
    view = versions.writable()
    partitions = {file.partition for file in view.scan.files} if view else set()
    return sum(_compact_one(versions, partition, order, more_than) for partition in sorted(partitions, key=str))


def _compact_one(versions: Versions, partition: str | None, order: tuple[str, ...], more_than: int) -> int:
    for _ in range(ATTEMPTS):
        view = versions.writable()
        files = [file for file in view.scan.files if file.partition == partition] if view else []
        if view is None or len(files) <= more_than:
            return 0
        schema = view.scan.schema
        rows = view.scan.read_files(files, None, schema.names, schema)
        rows = rows.sort_by([(name, "ascending") for name in order])
        if versions.commit(view, list(encode(rows, versions.partition, change=False)), files, change=False):
            return len(files) - 1
    raise StoreError(f"{versions.place}: cannot compact {partition}, other writers kept coming first")


def checkpoint(versions: Versions) -> None:
    """Sum up the log so far in a checkpoint and record its digest."""
    view = versions.writable()
    if view is None:
        return
    versions.manifest.acknowledge(view.state)
    recorded = versions.manifest.checkpoints()
    if view.version in recorded:
        return
    for version, entries in versions.manifest.log().checkpoints.items():
        if version not in recorded:  # left by a killed one, or by another program: not to be trusted
            for name in (HINT, *(entry.name for entry in entries)):
                versions.place.remove(name)
    versions.open_at(view.version).create_checkpoint()
    versions.manifest.record_checkpoint(view.version)


def vacuum(versions: Versions, keep_versions: Sequence[int], horizon: datetime) -> list[str]:
    """Delete what no kept version needs and was there before the horizon; return the names.

    A version to keep that is newer than the newest is told in the log: the table was made anew since.
    """
    view = versions.writable()
    if view is None:
        return []
    unknown = sorted({version for version in keep_versions if version > view.version})
    if unknown:
        log.warning(
            "%s: cannot keep version %s, the newest is %d; the table was made anew since",
            versions.place,
            ", ".join(map(str, unknown)),
            view.version,
        )
    place, commits = versions.place, versions.manifest.log().commits
    young = [version for version, entry in commits.items() if entry.modified >= horizon]
    kept = {file.name for file in view.scan.files}
    for version in young:  # what a young commit removed was in the newest version until then
        commit = parse_commit(place.read(commit_name(version)))
        kept.update(commit.removes if commit else ())
    keep_versions = sorted({version for version in keep_versions if version <= view.version})
    for version in keep_versions:
        kept.update(file.name for file in versions.at(version).scan.files)
    oldest = min([view.version, *keep_versions, *(version - 1 for version in young)])
    gone = [entry for entry in place.entries() if entry.modified < horizon and _useless(entry, kept)]
    gone += _old_log(versions, oldest, horizon)
    for entry in gone:
        place.remove(entry.name)
    return [entry.name for entry in gone]


def _useless(entry: Entry, kept: set[str]) -> bool:
    folder, _, name = entry.name.rpartition("/")
    if folder.startswith((LOG, FOLDER)):
        return folder != ASIDE and (name.startswith(".") or name.endswith(".tmp") or "#" in name)
    return entry.name not in kept and (name.endswith(".parquet") or name.startswith("."))


def _old_log(versions: Versions, oldest: int, horizon: datetime) -> list[Entry]:
    """Return the log before the last checkpoint but one that every kept version can be opened from."""
    usable = sorted(version for version in versions.manifest.checkpoints() if version <= oldest)
    if len(usable) < 2:
        return []
    start, log, manifest = usable[-2], versions.manifest.log(), versions.manifest
    gone = [entry for version, files in log.checkpoints.items() if version < start for entry in files]
    numbered = (log.commits, manifest.records(), manifest.checkpoints())
    gone += [entry for entries in numbered for version, entry in entries.items() if version < start]
    return [entry for entry in gone if entry.modified < horizon]


def verify(versions: Versions) -> list[str]:
    """Read every file and compare its digest; return what is wrong, a line each."""
    forget_checks()
    state = versions.manifest.state(trust=False)
    wrong = [f"{versions.place}: {state.fault}"] if state.fault else []
    wrong += [f"{versions.place}: {fault}" for fault in versions.manifest.damaged_records()]
    try:
        view = versions.newest()
    except StoreError as error:
        return wrong or [str(error)]
    for file in view.scan.files if view else ():
        try:
            check_file(versions.place, file.name, file.size)
        except StoreError as error:
            wrong.append(str(error))
    return wrong


def repair(versions: Versions, losing: Callable[[], None] = lambda: None) -> Repaired:
    """Bring back damaged commits from their records, and take out of the table what cannot be brought back.

    `losing` is called before the first thing is taken out with which rows go. The next version gets a number that no
    version had before, so that who wrote down a number is never led to other data; a table of which no version is left
    starts anew.
    """
    manifest, place = versions.manifest, versions.place
    told: list[str] = []
    lost = False
    state = manifest.state(trust=False)
    while state.bad_checkpoint is not None:
        names = [entry.name for entry in manifest.log().checkpoints.get(state.bad_checkpoint, [])]
        kept = _moved(versions, *names, HINT, checkpoint_name(state.bad_checkpoint))
        told.append(f"checkpoint {state.bad_checkpoint} was taken out, {kept}; the commits before it tell the same")
        state = manifest.state()
    tried: set[int] = set()
    while not state.whole:
        broken = state.version + 1
        entry = manifest.entry_of(broken) if broken not in tried else None
        tried.add(broken)
        if entry is not None:
            kept = _moved(versions, commit_name(broken))
            place.create(commit_name(broken), entry)
            told.append(f"commit {broken} was brought back from its record, {kept}")
        elif state.torn:
            told.append(
                f"half-written commit {broken}, of which nobody was told, {_moved(versions, commit_name(broken))}"
            )
        else:
            losing()
            names = [name(one) for one in range(broken, state.newest + 1) for name in (commit_name, record_name)]
            kept = _moved(versions, *names)
            told.append(f"commits {broken} to {state.newest} are lost, {kept}")
            lost = True
        state = manifest.state()
    for file, kept in _drop_damaged(versions, losing):
        told.append(f"data file {file} was taken out of the table, {kept}")
        lost = True
    _pass_over(versions)
    manifest.acknowledge(manifest.state())
    # Rows of any age may have been in what is lost.
    return Repaired(datetime.min.replace(tzinfo=UTC) if lost else None, tuple(told))


def _pass_over(versions: Versions) -> None:
    """Use up, by commits that change nothing, the numbers of the versions that were set aside."""
    entries = versions.place.entries(ASIDE)  # on the disk before anything is removed: a kill in between forgets none
    highest = max((int(match[1]) for entry in entries if (match := _SET_ASIDE.fullmatch(entry.name))), default=-1)
    while (view := versions.writable()) is not None and view.version < highest:
        versions.commit(view, [])  # or another writer used one


def _drop_damaged(versions: Versions, losing: Callable[[], None]) -> list[tuple[str, str]]:
    forget_checks()
    for _ in range(ATTEMPTS):
        view = versions.writable()
        damaged = _damaged(versions, view) if view else []
        if view is None or not damaged:
            return []
        losing()
        if versions.commit(view, [], damaged):
            return [(file.name, _moved(versions, file.name)) for file in damaged]
    raise StoreError(f"{versions.place}: cannot be repaired, other writers kept coming first")


def _damaged(versions: Versions, view: View) -> list[Held]:
    damaged = []
    for file in view.scan.files:
        try:
            check_file(versions.place, file.name, file.size)
        except StoreError:
            damaged.append(file)
    return damaged


def _moved(versions: Versions, *names: str) -> str:
    kept = [kept for name in names if (kept := versions.manifest.set_aside(name))]
    return f"what was there is kept as {', '.join(kept)}" if kept else "there was nothing left of it"
