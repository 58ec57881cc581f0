"""Maintenance of a table: fewer and sorted files, no unused files, a short log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from pipeline.store.delta.commits import LAST_CHECKPOINT, LOG, commit_name, parse_commit
from pipeline.store.delta.encode import encode
from pipeline.store.delta.records import ASIDE, FOLDER
from pipeline.store.delta.retry import retry_on_conflict
from pipeline.store.delta.versions import Versions
from pipeline.store.objects import ObjectInfo

log = logging.getLogger(__name__)
ATTEMPTS = 10


def compact(versions: Versions, order: tuple[str, ...], more_than: int) -> int:
    """Merge the files of each partition that has more than `more_than` into one sorted file.

    Returns:
        How many fewer files the table has.
    """
    snapshot = versions.newest_writable()
    partitions = {file.partition for file in snapshot.scan.files} if snapshot else set()
    return sum(_compact_partition(versions, partition, order, more_than) for partition in sorted(partitions, key=str))


def _compact_partition(versions: Versions, partition: str | None, order: tuple[str, ...], more_than: int) -> int:
    fewer = 0

    def attempt() -> bool:
        nonlocal fewer
        snapshot = versions.newest_writable()
        files = [file for file in snapshot.scan.files if file.partition == partition] if snapshot else []
        if snapshot is None or len(files) <= more_than:
            fewer = 0
            return True
        schema = snapshot.scan.schema
        rows = snapshot.scan.read_files(files, None, schema.names, schema)
        rows = rows.sort_by([(name, "ascending") for name in order])
        fewer = len(files) - 1
        return versions.commit(snapshot, list(encode(rows, versions.partition, change=False)), files, change=False)

    give_up = f"{versions.store}: cannot compact {partition}, other writers committed first {ATTEMPTS} times"
    retry_on_conflict(attempt, attempts=ATTEMPTS, give_up=give_up)
    return fewer


def checkpoint(versions: Versions) -> None:
    """Write a checkpoint of the log so far, and record its digest."""
    snapshot = versions.newest_writable()
    if snapshot is None:
        return
    versions.manifest.ensure_recorded(snapshot.state)
    recorded = versions.manifest.records.list_checkpoints()
    if snapshot.version in recorded:
        return
    for version, files in versions.manifest.log().checkpoints.items():
        if version not in recorded:  # left by a killed process or another program: not to be trusted
            for name in (LAST_CHECKPOINT, *(file.name for file in files)):
                versions.store.delete(name)
    versions.open_at(snapshot.version).create_checkpoint()
    names = [file.name for file in versions.manifest.log().checkpoints[snapshot.version]]
    versions.manifest.records.write_checkpoint(snapshot.version, names)


def vacuum(versions: Versions, keep_versions: Sequence[int], horizon: datetime) -> list[str]:
    """Delete files that are older than the horizon and that no kept version needs; return their names.

    A version to keep that is newer than the newest is logged: the table was created anew since it was noted.
    """
    snapshot = versions.newest_writable()
    if snapshot is None:
        return []
    unknown = sorted({version for version in keep_versions if version > snapshot.version})
    if unknown:
        log.warning(
            "%s: cannot keep version %s, the newest is %d; the table was created anew since",
            versions.store,
            ", ".join(map(str, unknown)),
            snapshot.version,
        )
    store, commits = versions.store, versions.manifest.log().commits
    young = [version for version, file in commits.items() if file.modified >= horizon]
    needed = {file.name for file in snapshot.scan.files}
    for version in young:  # files that a young commit removed belonged to the newest version until then
        commit = parse_commit(store.read(commit_name(version)))
        needed.update(commit.removes if commit else ())
    kept = sorted({version for version in keep_versions if version <= snapshot.version})
    for version in kept:
        needed.update(file.name for file in versions.at(version).scan.files)
    oldest = min([snapshot.version, *kept, *(version - 1 for version in young)])
    unused = [file for file in store.list_files() if file.modified < horizon and _is_unused(file, needed)]
    unused += _old_log_files(versions, oldest, horizon)
    for file in unused:
        store.delete(file.name)
    return [file.name for file in unused]


def _is_unused(file: ObjectInfo, needed: set[str]) -> bool:
    folder, _, name = file.name.rpartition("/")
    if folder.startswith((LOG, FOLDER)):
        return folder != ASIDE and (name.startswith(".") or name.endswith(".tmp") or "#" in name)
    return file.name not in needed and (name.endswith(".parquet") or name.startswith("."))


def _old_log_files(versions: Versions, oldest: int, horizon: datetime) -> list[ObjectInfo]:
    """Return log and record files from before the last checkpoint but one that opens every kept version."""
    records = versions.manifest.records
    usable = sorted(version for version in records.list_checkpoints() if version <= oldest)
    if len(usable) < 2:
        return []
    start, log_files = usable[-2], versions.manifest.log()
    old = [file for version, files in log_files.checkpoints.items() if version < start for file in files]
    by_version = (log_files.commits, records.list_commits(), records.list_checkpoints())
    old += [file for files in by_version for version, file in files.items() if version < start]
    return [file for file in old if file.modified < horizon]
