"""Which bundle serves: the alias in the registry, or, when the registry cannot be reached, the last one it named."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Literal

from models.errors import CheckpointError
from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.registry.bundle import Bundle, adopt, read_bundle
from pipeline.registry.tracking import Registry, TrackingError

Role = Literal["champion", "fallback"]
POINTER = "serving.json"


class BundleStore:
    """The bundles of one product on this machine, and which of them is in which role."""

    def __init__(self, root: Path, registry: Registry) -> None:
        self.root, self.registry = root, registry
        self.notes: list[str] = []

    def find(self, role: Role, *, known_by: datetime | None = None) -> tuple[Bundle, int] | None:
        """Return the bundle in a role and its version, checked by digest, or None; `notes` tells why.

        With `known_by`, a bundle that learnt from later data is not returned: a replayed past must not see the future.
        """
        named = self._named(role)
        if named is None:
            self.notes.append(f"no {role}")
            return None
        version, digest = named
        try:
            bundle = self.open(version, digest)
        except (CheckpointError, TrackingError, StoreError, OSError) as error:
            self.notes.append(f"{role} unusable: {error}")
            return None
        if known_by is not None and bundle.data_until > known_by:
            self.notes.append(f"{role} version {version} learnt from data after this issue time")
            return None
        return bundle, version

    def _named(self, role: Role) -> tuple[int, str] | None:
        pointer = self.root / POINTER
        known = _pointed(pointer)
        try:
            found = self.registry.by_alias(role)
        except (TrackingError, OSError) as error:
            self.notes.append(f"registry not reached, using the last {role} known here: {error}")
            return (int(known[role][0]), str(known[role][1])) if role in known else None
        if found is None:
            return None
        if known.get(role) != [found.version, found.digest]:
            content = json.dumps({**known, role: [found.version, found.digest]})
            atomic.write_file(pointer, content.encode())
        return found.version, found.digest

    def open(self, version: int, digest: str) -> Bundle:
        """Return a version's bundle with every file checked, fetched from the registry if it is not here or damaged.

        Raises:
            CheckpointError: it is not the bundle that `digest` names.
            TrackingError: the registry cannot be reached.
        """
        folder = self.root / digest
        damage: CheckpointError | None = None
        if digest and folder.is_dir():
            try:
                return read_bundle(folder, digest=digest).verify()
            except CheckpointError as error:
                damage = error
        with tempfile.TemporaryDirectory() as scratch:
            try:
                fetched = self.registry.download(version, Path(scratch))
                return adopt(self.root, fetched, digest=digest)
            except (TrackingError, CheckpointError) as error:
                raise damage or error from None


def _pointed(pointer: Path) -> dict[str, list[int | str]]:
    """What the registry named last, by role; nothing when it never did or the file is damaged."""
    try:
        known = json.loads(pointer.read_bytes())
    except (OSError, ValueError):
        return {}
    return {
        role: named
        for role, named in (known.items() if isinstance(known, dict) else ())
        if isinstance(named, list) and list(map(type, named)) == [int, str]
    }
