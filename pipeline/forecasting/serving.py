"""Which bundle serves: the one that the registry names, or the last one that it named while it is unreachable."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from models.errors import CheckpointError
from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.forecasting.notes import Note
from pipeline.registry.bundle import Bundle, Fit, import_bundle, read_bundle
from pipeline.registry.tracking import Registry, TrackingError

log = logging.getLogger(__name__)

Role = Literal["champion", "fallback"]
POINTER = "serving.json"


@dataclass(frozen=True)
class RegisteredBundle:
    """A bundle in a role, with its registry version and the fit that may forecast."""

    bundle: Bundle
    version: int
    fit: Fit

    @property
    def judged(self) -> Fit:
        """The fit that the gate scored, corrected as far as `fit` is."""
        return replace(self.bundle.judged, recalibrations=self.fit.recalibrations)


class BundleStore:
    """The bundles of one product on this machine, and which of them is in which role."""

    def __init__(self, root: Path, registry: Registry) -> None:
        self.root, self.registry = root, registry

    def find(self, role: Role, *, known_by: datetime | None = None) -> tuple[RegisteredBundle | None, tuple[Note, ...]]:
        """Return the bundle in a role, every file checked by digest, or None; and notes on what went wrong.

        With `known_by`, the fit is the newest one that saw no later data, and without such a fit there is no bundle: a
        replayed past must not see the future.
        """
        named, notes = self._named(role)
        if named is None:
            return None, (*notes, Note("no_bundle", (role,)))
        version, digest = named
        try:
            bundle = self.open(version, digest)
        except (CheckpointError, TrackingError, StoreError, OSError) as error:
            return None, (*notes, Note("bundle_unusable", (role,), version, str(error)))
        fit = bundle.serving if known_by is None else bundle.fit_at(known_by)
        if fit is None:
            return None, (*notes, Note("trained_on_later_data", (role,), version))
        return RegisteredBundle(bundle, version, fit), notes

    def _named(self, role: Role) -> tuple[tuple[int, str] | None, tuple[Note, ...]]:
        """Return the version and digest that the registry, or else the last pointer, names for a role."""
        pointer = self.root / POINTER
        known = _read_pointer(pointer)
        try:
            found = self.registry.by_alias(role)
        except (TrackingError, OSError) as error:
            named = (int(known[role][0]), str(known[role][1])) if role in known else None
            return named, (Note("registry_unreachable", (role,), error=str(error)),)
        if found is None:
            return None, ()
        if known.get(role) != [found.version, found.digest]:
            content = json.dumps({**known, role: [found.version, found.digest]})
            atomic.write_file(pointer, content.encode())
        return (found.version, found.digest), ()

    def baselines(self, version: int, digest: str) -> tuple[str, ...]:
        """Return the baselines of a bundle, best on the held-out issue times first; none if it cannot be read."""
        try:
            return read_bundle(self.root / digest, digest=digest).baselines  # its card: the weights do not matter here
        except CheckpointError:
            pass
        try:
            return self.open(version, digest).baselines
        except (CheckpointError, TrackingError, StoreError, OSError) as error:
            log.warning("the baselines of version %d are not known: %s", version, error)
            return ()

    def open(self, version: int, digest: str) -> Bundle:
        """Return the bundle of a version, every file checked; a missing or damaged one is fetched from the registry.

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
                return import_bundle(self.root, fetched, digest=digest)
            except (TrackingError, CheckpointError) as error:
                raise damage or error from None


def _read_pointer(pointer: Path) -> dict[str, list[int | str]]:
    """Return the version and digest that the registry named last, by role; empty if the file is absent or damaged."""
    try:
        known = json.loads(pointer.read_bytes())
    except (OSError, ValueError):
        return {}
    return {
        role: named
        for role, named in (known.items() if isinstance(known, dict) else ())
        if isinstance(named, list) and list(map(type, named)) == [int, str]
    }
