"""A bundle: a challenger with the baselines of the same snapshot, in a folder named after its digest.

Serving needs nothing else: the models to fall back on were trained on the same data as the champion.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from models import checkpoint
from models.base import Model
from models.errors import CheckpointError
from pipeline.errors import StoreError

CARD = "bundle.json"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk. A model is loaded on request, after its digest is verified."""

    folder: Path
    digest: str
    card: dict[str, Any]

    @property
    def model_name(self) -> str:
        """Name of the challenger's model."""
        return str(self.card["model"])

    @property
    def trained_until(self) -> datetime:
        """Last issue time used in training."""
        return datetime.fromisoformat(self.card["trained_until"])

    @property
    def data_until(self) -> datetime:
        """Time by which all training data were known. The bundle must not forecast an earlier issue time."""
        return datetime.fromisoformat(self.card["data_until"])

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines, best on the held-out issue times first."""
        return tuple(self.card["baselines"])

    def challenger(self) -> Model:
        """Return the challenger.

        Raises:
            CheckpointError: its files do not match their digest.
        """
        return checkpoint.load(self.folder / CHALLENGER, digest=self.card["digests"][CHALLENGER])

    def verify(self) -> Bundle:
        """Return the bundle after verifying the digest of every file.

        Raises:
            CheckpointError: a file is missing or damaged.
        """
        for name, digest in self.card["digests"].items():
            _check_files(self.folder / name, digest)
        return self

    def baseline(self, name: str) -> Model:
        """Return a baseline.

        Raises:
            CheckpointError: its files do not match their digest.
        """
        return checkpoint.load(self.folder / name, digest=self.card["digests"][name])


def write_bundle(store: Path, challenger: Model, baselines: dict[str, Model], facts: dict[str, Any]) -> Bundle:
    """Write a bundle below `store` atomically. An equal bundle is left as it is.

    Args:
        store: Folder of the product's bundles.
        challenger: The challenger.
        baselines: The baselines by name, best first.
        facts: Further fields of the card as JSON data: trained_until, data_until, snapshot, product.
    """
    store.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".bundle-", dir=store))
    try:
        digests = {CHALLENGER: checkpoint.save(challenger, fresh / CHALLENGER)}
        for name, model in baselines.items():
            digests[name] = checkpoint.save(model, fresh / name)
        card = {**facts, "model": challenger.name, "baselines": list(baselines), "digests": digests}
        content = _canonical(card)
        with (fresh / CARD).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        digest = hashlib.sha256(content).hexdigest()
        _move_into_place(fresh, store / digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Bundle(store / digest, digest, card)


def read_bundle(folder: Path, *, digest: str) -> Bundle:
    """Return the bundle in a folder after verifying the digest of its card.

    Raises:
        CheckpointError: the card is missing or has another digest.
    """
    try:
        content = (folder / CARD).read_bytes()
    except OSError as error:
        raise CheckpointError(folder, f"no bundle: {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(folder / CARD, f"the digest is not {digest[:12]}…: the file was changed")
    return Bundle(folder, digest, json.loads(content))


def import_bundle(store: Path, source: Path, *, digest: str) -> Bundle:
    """Copy a bundle from another folder into `store`, replacing a damaged copy.

    Raises:
        CheckpointError: the source is damaged or has another digest.
    """
    read_bundle(source, digest=digest).verify()
    store.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".bundle-", dir=store))
    damaged = fresh.with_name(f"{fresh.name}-damaged")
    try:
        shutil.copytree(source, fresh, dirs_exist_ok=True)
        with suppress(FileNotFoundError):
            if not _is_intact(store / digest, digest):
                (store / digest).rename(damaged)
        _move_into_place(fresh, store / digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(damaged, ignore_errors=True)
    return read_bundle(store / digest, digest=digest)


def _is_intact(folder: Path, digest: str) -> bool:
    try:
        read_bundle(folder, digest=digest).verify()
    except CheckpointError:
        return False
    return True


def _check_files(folder: Path, digest: str) -> None:
    card = checkpoint.read_card(folder, digest=digest)
    path = folder / checkpoint.WEIGHTS
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
    if found != card["weights_sha256"]:
        raise CheckpointError(path, "damaged: the digest differs from the one in its card")


def _move_into_place(fresh: Path, folder: Path) -> None:
    """Rename a new bundle to its folder, unless an equal bundle is there."""
    if (folder / CARD).exists():
        return
    try:
        fresh.rename(folder)
    except OSError as error:
        if not (folder / CARD).exists():  # else another process wrote the same content first
            raise StoreError(f"{folder}: cannot be written: {error}") from error


def _canonical(card: dict[str, Any]) -> bytes:
    return json.dumps(card, sort_keys=True, indent=1, allow_nan=False).encode()
