"""The versions of one Delta table: the newest sound one, and the step to the next, which only one writer can make.

A step writes its data files, then commits them on top of exactly the version it was computed from, then records the
commit in the manifest. Whatever stops it in between, the table has the old version or the new one.
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

from pipeline.errors import StoreError
from pipeline.store.delta.commits import SEAL, commit_name, parse_commit, seal_of
from pipeline.store.delta.encode import DataFile
from pipeline.store.delta.manifest import Manifest, State
from pipeline.store.delta.scan import Held, Scan
from pipeline.store.objects import ObjectStore

log = logging.getLogger("nightcast.store")
_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_PREFIX = "nightcast."
REMEDY = "run `nightcast maintain --repair`"
_told: set[tuple[str, str]] = set()


@dataclass(frozen=True, slots=True)
class View:
    """One version of a table, as it was found. It does not change, so threads may share it."""

    version: int
    state: State
    scan: Scan
    properties: Mapping[str, str]


class Versions:
    """The log of one table. Only the newest version is kept open."""

    def __init__(self, place: ObjectStore, partition: str | None) -> None:
        self.place, self.partition = place, partition
        self.manifest = Manifest(place)
        self._lock = RLock()
        self._last: View | None = None
        self._handle: DeltaTable | None = None  # moves on in place: used under the lock only

    def state(self) -> State:
        """Return what log and manifest say; a fault is told once a process.

        Raises:
            StoreError: there is data, but the log that tells which of it counts is gone.
        """
        state = self.manifest.state()
        if state.newest < 0 and any(entry.name.endswith(".parquet") for entry in self.place.entries()):
            state = self.manifest.state()  # unless another process has created it just now
            if state.newest < 0:
                raise StoreError(f"{self.place}: there is data without its _delta_log; restore it from a backup")
        if state.fault and (self.place.uri, state.fault) not in _told:
            _told.add((self.place.uri, state.fault))
            log.warning("%s: %s", self.place, state.fault)
        return state

    def newest(self) -> View | None:
        """Return the newest sound version, or None when there is no table.

        Raises:
            StoreError: no version can be read.
        """
        return self._view(self.state())

    def writable(self) -> View | None:
        """Return the newest version to build on, or None when there is no table.

        A half-written commit that nobody was told of is moved out of the way.

        Raises:
            StoreError: something that was acknowledged is damaged or lost.
        """
        state = self.state()
        if state.torn:
            name = commit_name(state.newest)
            content = self.place.find(name)
            kept = self.manifest.set_aside(name, content) if content is not None else None
            if kept:
                log.warning("%s: half-written commit %d was moved to %s", self.place, state.newest, kept)
            state = self.state()
        if not state.whole:
            raise StoreError(f"{self.place}: cannot be written, {state.fault}; {REMEDY}")
        return self._view(state)

    def create(self, schema: pa.Schema, properties: dict[str, str]) -> View:
        """Create the table unless it exists, and return it; of several at once one wins, and its properties hold.

        Raises:
            StoreError: the table cannot be written.
        """
        present = self.writable()
        if present is not None:
            return present
        self.place.check_writable()
        try:
            DeltaTable.create(
                self.place.uri,
                schema=schema,
                partition_by=[self.partition] if self.partition else None,
                mode="ignore",
                configuration={_PREFIX + name: value for name, value in properties.items()},
                raise_if_key_not_exists=False,
                storage_options=self.place.storage_options,
                commit_properties=_properties([]),
                post_commithook_properties=_HOOKS,
            )
        except (DeltaError, OSError) as error:
            if not self.place.exists(commit_name(0)):  # else another process created it, with the same intent
                raise StoreError(f"{self.place}: cannot create the table, {_line(error)}") from error
        made = self.writable()
        if made is None:
            raise StoreError(f"{self.place}: the table was removed while it was created")
        self.manifest.acknowledge(made.state)
        return made

    def widen(self, view: View, schema: pa.Schema) -> View:
        """Add the columns of `schema` that the table lacks; rows from before have no value there.

        Raises:
            StoreError: a column is kept with another type.
        """
        present = view.scan.schema
        for field in schema:
            kept = present.field(field.name) if field.name in present.names else field
            if kept.type != field.type:
                raise StoreError(f"{self.place}: column {field.name!r} is kept as {kept.type}, not as {field.type}")
        missing = [field.with_nullable(True) for field in schema if field.name not in present.names]
        if not missing:
            return view
        self.manifest.acknowledge(view.state)
        fields = list(Schema.from_arrow(pa.schema(missing)).fields)
        with self._lock:
            handle = self._step(view)
            try:
                if handle is not None:
                    handle.alter.add_columns(
                        fields, commit_properties=_properties([]), post_commithook_properties=_HOOKS
                    )
            except (DeltaError, OSError) as error:
                if not self.place.exists(commit_name(view.version + 1)):
                    raise StoreError(f"{self.place}: cannot add columns, {_line(error)}") from error
        self.place.settle(commit_name(view.version + 1))
        newer = self.writable()
        if newer is None or newer.version == view.version:
            raise StoreError(f"{self.place}: cannot add columns, the commit is gone")
        self.manifest.acknowledge(newer.state)
        return self.widen(newer, schema)  # another writer's commit may have come first

    def commit(
        self, view: View, files: Sequence[DataFile], removed: Sequence[Held] = (), *, change: bool = True
    ) -> bool:
        """Put the next version on top of a view; return False when another writer came first, and nothing happened.

        Raises:
            StoreError: the table cannot be written. The version may be there or not; reading tells.
        """
        following = view.version + 1
        self.place.add((file.name, file.content) for file in files)
        self.manifest.acknowledge(view.state)
        actions: list[AddAction | RemoveAction] = [
            RemoveAction(file.name, change, int(time() * 1000), file.size, _values(self.partition, file.partition))
            for file in removed
        ]
        actions += [file.action for file in files]
        try:
            with self._lock:
                handle = self._step(view)
                if handle is None:
                    return self._withdraw(files)
                handle.create_write_transaction(
                    actions,
                    mode="append",
                    schema=view.scan.schema,
                    partition_by=[self.partition] if self.partition else None,
                    commit_properties=_properties(actions),
                    post_commithook_properties=_HOOKS,
                )
        except (DeltaError, OSError) as error:
            # The answer may be lost and the commit be there all the same: what stands in the log decides.
            if not self._committed(following, seal_of(actions)):
                if not self.place.exists(commit_name(following)):
                    raise StoreError(f"{self.place}: cannot commit version {following}, {_line(error)}") from error
                return self._withdraw(files)
        self.manifest.record(following, self.place.read(commit_name(following)), view.state.digests)
        return True

    def at(self, version: int) -> View:
        """Return an older version.

        Raises:
            StoreError: it cannot be read any more.
        """
        return self._as_view(self.manifest.state(), self.open_at(version))

    def _view(self, state: State) -> View | None:
        """Return the version that was found sound, from the handle that is open if that is at the same table."""
        if state.blocked:
            raise StoreError(f"{self.place}: {state.fault}; {REMEDY}")
        if state.version < 0:
            return None
        with self._lock:
            last = self._last
            same = last is not None and last.state.stamp(last.version) == state.stamp(last.version) != ""
            if last is not None and same and last.version == state.version:
                self._last = replace(last, state=state)
                return self._last
            self._handle = self._advanced(state) if same and self._handle is not None else self.open_at(state.version)
            self._last = self._as_view(state, self._handle)
            return self._last

    def _advanced(self, state: State) -> DeltaTable:
        """Read on from the open version, which is much cheaper than to open anew; newer than asked for is no good."""
        if self._handle is not None and state.whole:
            try:
                self._handle.update_incremental()
            except DeltaError:
                return self.open_at(state.version)
            if self._handle.version() == state.version:
                return self._handle
        return self.open_at(state.version)

    def _as_view(self, state: State, handle: DeltaTable) -> View:
        found = handle.metadata().configuration
        properties = {name.removeprefix(_PREFIX): found[name] for name in found if name.startswith(_PREFIX)}
        return View(handle.version(), state, Scan(self.place, handle, self.partition), properties)

    def open_at(self, version: int) -> DeltaTable:
        """Return a handle of its own on one version.

        Raises:
            StoreError: it cannot be opened.
        """
        try:
            return DeltaTable(self.place.uri, version=version, storage_options=self.place.storage_options)
        except (DeltaError, OSError) as error:
            raise StoreError(f"{self.place}: cannot open version {version}, {_line(error)}") from error

    def _step(self, view: View) -> DeltaTable | None:
        """Return the handle that stands at a view, or None when another thread went on."""
        return self._handle if self._handle is not None and self._handle.version() == view.version else None

    def _committed(self, version: int, seal: str) -> bool:
        content = self.place.find(commit_name(version))
        commit = parse_commit(content) if content else None
        return commit is not None and commit.seal == seal

    def _withdraw(self, files: Sequence[DataFile]) -> bool:
        for file in files:
            self.place.remove(file.name)
        return False


def _properties(actions: Sequence[AddAction | RemoveAction]) -> CommitProperties:
    return CommitProperties(max_commit_retries=0, custom_metadata={SEAL: seal_of(actions)})


def _values(partition: str | None, value: str | None) -> dict[str, str | None]:
    return {partition: value} if partition else {}


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
