"""The versions of one Delta table: the newest intact one, and the commit of the next, which only one writer can win.

A writer writes its data files, commits them on top of exactly the version that it read, and records the commit in the
manifest. Wherever it is stopped, the table has either the old or the new version.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import RLock
from time import time

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from pipeline.errors import StoreError, first_line
from pipeline.store.delta.commits import CHECKSUM_KEY, checksum_actions, commit_name, parse_commit
from pipeline.store.delta.digests import FileChecker
from pipeline.store.delta.encode import EncodedFile
from pipeline.store.delta.manifest import LogState, Manifest
from pipeline.store.delta.scan import DataFile, Scan
from pipeline.store.objects import ObjectStore

log = logging.getLogger(__name__)
_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_PREFIX = "nightcast."
REMEDY = "run `nightcast maintain --repair`"
_logged_faults: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """One version of a table. It never changes, so threads may share it."""

    version: int
    state: LogState
    scan: Scan
    properties: Mapping[str, str]


class Versions:
    """The versions of one table. Only the newest one is kept open."""

    def __init__(self, store: ObjectStore, partition: str | None) -> None:
        self.store, self.partition = store, partition
        self.checker = FileChecker(store)
        self.manifest = Manifest(store, self.checker)
        self._lock = RLock()
        self._last: TableSnapshot | None = None
        self._handle: DeltaTable | None = None  # advanced in place, so it is used under the lock only

    def state(self) -> LogState:
        """Return the state of log and manifest. A fault is logged once per process.

        Raises:
            StoreError: there are data files but no log.
        """
        state = self.manifest.state()
        if state.newest < 0 and any(file.name.endswith(".parquet") for file in self.store.list_files()):
            state = self.manifest.state()  # another process may just have created the table
            if state.newest < 0:
                raise StoreError(f"{self.store}: there is data without its _delta_log; restore it from a backup")
        if state.fault and (self.store.uri, state.fault) not in _logged_faults:
            _logged_faults.add((self.store.uri, state.fault))
            log.warning("%s: %s", self.store, state.fault)
        return state

    def newest(self) -> TableSnapshot | None:
        """Return the newest intact version, or None if there is no table.

        Raises:
            StoreError: no version can be read.
        """
        return self._snapshot_at(self.state())

    def newest_writable(self) -> TableSnapshot | None:
        """Return the newest version to build on, or None if there is no table.

        A half-written commit of a killed writer is moved aside.

        Raises:
            StoreError: a recorded commit is damaged or lost.
        """
        state = self.state()
        if state.torn:
            name = commit_name(state.newest)
            content = self.store.get(name)
            moved = self.manifest.records.set_aside(name, content) if content is not None else None
            if moved:
                log.warning("%s: half-written commit %d was moved to %s", self.store, state.newest, moved)
            state = self.state()
        if not state.intact:
            raise StoreError(f"{self.store}: cannot be written, {state.fault}; {REMEDY}")
        return self._snapshot_at(state)

    def create(self, schema: pa.Schema, properties: dict[str, str]) -> TableSnapshot:
        """Create the table unless it exists, and return it. If several processes do, the properties of one hold.

        Raises:
            StoreError: the table cannot be written.
        """
        existing = self.newest_writable()
        if existing is not None:
            return existing
        self.store.check_writable()
        try:
            DeltaTable.create(
                self.store.uri,
                schema=schema,
                partition_by=[self.partition] if self.partition else None,
                mode="ignore",
                configuration={_PREFIX + name: value for name, value in properties.items()},
                raise_if_key_not_exists=False,
                storage_options=self.store.storage_options,
                commit_properties=_commit_properties([]),
                post_commithook_properties=_HOOKS,
            )
        except (DeltaError, OSError) as error:
            if not self.store.exists(commit_name(0)):  # else another process created it
                raise StoreError(f"{self.store}: cannot create the table, {first_line(error)}") from error
        created = self.newest_writable()
        if created is None:
            raise StoreError(f"{self.store}: the table was deleted while it was created")
        self.manifest.ensure_recorded(created.state)
        return created

    def add_missing_columns(self, snapshot: TableSnapshot, schema: pa.Schema) -> TableSnapshot:
        """Add the columns of `schema` that the table lacks; existing rows have nulls there.

        Raises:
            StoreError: the table has a column with another type, or cannot be written.
        """
        existing = snapshot.scan.schema
        for field in schema:
            stored = existing.field(field.name) if field.name in existing.names else field
            if stored.type != field.type:
                raise StoreError(f"{self.store}: column {field.name!r} is stored as {stored.type}, not as {field.type}")
        missing = [field.with_nullable(True) for field in schema if field.name not in existing.names]
        if not missing:
            return snapshot
        self.manifest.ensure_recorded(snapshot.state)
        following = commit_name(snapshot.version + 1)
        with self._lock:
            handle = self._handle_at(snapshot)
            try:
                if handle is not None:
                    handle.alter.add_columns(
                        list(Schema.from_arrow(pa.schema(missing)).fields),
                        commit_properties=_commit_properties([]),
                        post_commithook_properties=_HOOKS,
                    )
            except (DeltaError, OSError) as error:
                if not self.store.exists(following):
                    raise StoreError(f"{self.store}: cannot add columns, {first_line(error)}") from error
        self.store.fsync(following)
        newer = self.newest_writable()
        if newer is None or newer.version == snapshot.version:
            raise StoreError(f"{self.store}: cannot add columns, the commit disappeared")
        self.manifest.ensure_recorded(newer.state)
        return self.add_missing_columns(newer, schema)  # the new commit may be another writer's

    def commit(
        self,
        snapshot: TableSnapshot,
        files: Sequence[EncodedFile],
        removed: Sequence[DataFile] = (),
        *,
        change: bool = True,
    ) -> bool:
        """Commit the next version on top of a snapshot; return False, without effect, if another writer came first.

        Raises:
            StoreError: the table cannot be written. The version may exist or not: reading shows which.
        """
        following = snapshot.version + 1
        self.store.put_new_files((file.name, file.content) for file in files)
        self.manifest.ensure_recorded(snapshot.state)
        actions: list[AddAction | RemoveAction] = [
            RemoveAction(
                file.name, change, int(time() * 1000), file.size, _partition_values(self.partition, file.partition)
            )
            for file in removed
        ]
        actions += [file.action for file in files]
        try:
            with self._lock:
                handle = self._handle_at(snapshot)
                if handle is None:
                    return self._withdraw(files)
                handle.create_write_transaction(
                    actions,
                    mode="append",
                    schema=snapshot.scan.schema,
                    partition_by=[self.partition] if self.partition else None,
                    commit_properties=_commit_properties(actions),
                    post_commithook_properties=_HOOKS,
                )
        except (DeltaError, OSError) as error:
            # The commit may exist although its confirmation was lost: the log decides.
            if not self._is_committed(following, checksum_actions(actions)):
                if not self.store.exists(commit_name(following)):
                    raise StoreError(f"{self.store}: cannot commit version {following}, {first_line(error)}") from error
                return self._withdraw(files)
        self.manifest.records.write_commit(following, self.store.read(commit_name(following)), snapshot.state.digests)
        return True

    def at(self, version: int) -> TableSnapshot:
        """Return an older version.

        Raises:
            StoreError: the version no longer exists or cannot be read.
        """
        return self._snapshot(self.manifest.state(), self.open_at(version))

    def open_at(self, version: int) -> DeltaTable:
        """Return a new delta-rs handle at one version.

        Raises:
            StoreError: the version cannot be opened.
        """
        try:
            return DeltaTable(self.store.uri, version=version, storage_options=self.store.storage_options)
        except (DeltaError, OSError) as error:
            raise StoreError(f"{self.store}: cannot open version {version}, {first_line(error)}") from error

    def _snapshot_at(self, state: LogState) -> TableSnapshot | None:
        """Return the intact version of a state, from the open handle if that belongs to the same table."""
        if state.blocked:
            raise StoreError(f"{self.store}: {state.fault}; {REMEDY}")
        if state.version < 0:
            return None
        with self._lock:
            last = self._last
            same = last is not None and last.state.fingerprint(last.version) == state.fingerprint(last.version) != ""
            if last is not None and same and last.version == state.version:
                self._last = replace(last, state=state)
                return self._last
            self._handle = self._advance(state) if same and self._handle is not None else self.open_at(state.version)
            self._last = self._snapshot(state, self._handle)
            return self._last

    def _advance(self, state: LogState) -> DeltaTable:
        """Update the open handle, which costs much less than a new one, unless that leads past the intact version."""
        if self._handle is not None and state.intact:
            try:
                self._handle.update_incremental()
            except DeltaError:
                return self.open_at(state.version)
            if self._handle.version() == state.version:
                return self._handle
        return self.open_at(state.version)

    def _snapshot(self, state: LogState, handle: DeltaTable) -> TableSnapshot:
        configuration = handle.metadata().configuration
        properties = {
            name.removeprefix(_PREFIX): configuration[name] for name in configuration if name.startswith(_PREFIX)
        }
        return TableSnapshot(
            handle.version(), state, Scan(self.store, self.checker, handle, self.partition), properties
        )

    def _handle_at(self, snapshot: TableSnapshot) -> DeltaTable | None:
        """Return the open handle if it is at a snapshot's version, or None if another thread advanced it."""
        return self._handle if self._handle is not None and self._handle.version() == snapshot.version else None

    def _is_committed(self, version: int, checksum: str) -> bool:
        content = self.store.get(commit_name(version))
        commit = parse_commit(content) if content else None
        return commit is not None and commit.checksum == checksum

    def _withdraw(self, files: Sequence[EncodedFile]) -> bool:
        """Delete the files of a commit that failed, and return False."""
        for file in files:
            self.store.delete(file.name)
        return False


def _commit_properties(actions: Sequence[AddAction | RemoveAction]) -> CommitProperties:
    return CommitProperties(max_commit_retries=0, custom_metadata={CHECKSUM_KEY: checksum_actions(actions)})


def _partition_values(partition: str | None, value: str | None) -> dict[str, str | None]:
    return {partition: value} if partition else {}
