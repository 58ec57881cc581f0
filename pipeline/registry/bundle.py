"""A bundle: one challenger with the baselines of the same snapshot, as one folder that names itself by its digest.

Serving needs nothing else. The fallbacks come from the same data as the champion.
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
    """A bundle on disk. Models are read when asked for, after their digests are checked."""

    folder: Path
    digest: str
    card: dict[str, Any]

    @property
    def model_name(self) -> str:
        """Name of the challenger's model."""
        return str(self.card["model"])

    @property
    def trained_until(self) -> datetime:
        """Last issue time that training could see."""
        return datetime.fromisoformat(self.card["trained_until"])

    @property
    def data_until(self) -> datetime:
        """Instant by which all that training learnt from was known: it must not forecast an earlier issue time."""
        return datetime.fromisoformat(self.card["data_until"])

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines, best on held-out issue times first."""
        return tuple(self.card["baselines"])

    def challenger(self) -> Model:
        """Return the challenger.

        Raises:
            CheckpointError: its files are not the ones the bundle names.
        """
        return checkpoint.load(self.folder / CHALLENGER, digest=self.card["digests"][CHALLENGER])

    def verify(self) -> Bundle:
        """Return the bundle when every file of every model in it is what the card names.

        Raises:
            CheckpointError: one is not.
        """
        for name, digest in self.card["digests"].items():
            _check_files(self.folder / name, digest)
        return self

    def baseline(self, name: str) -> Model:
        """Return a baseline.

        Raises:
            CheckpointError: its files are not the ones the bundle names.
        """
        return checkpoint.load(self.folder / name, digest=self.card["digests"][name])


def write_bundle(store: Path, challenger: Model, baselines: dict[str, Model], facts: dict[str, Any]) -> Bundle:
    """Write a bundle below `store`, as a whole or not at all; an equal one is left as it is.

    Args:
        store: Folder of the product's bundles.
        challenger: The model proposed.
        baselines: The baselines by name, best first.
        facts: What else is to be known, as JSON data: trained_until, data_until, snapshot, product.
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
        _settle(fresh, store / digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Bundle(store / digest, digest, card)


def read_bundle(folder: Path, *, digest: str) -> Bundle:
    """Return the bundle in a folder, after checking that it is the one `digest` names.

    Raises:
        CheckpointError: it is missing or not that bundle.
    """
    try:
        content = (folder / CARD).read_bytes()
    except OSError as error:
        raise CheckpointError(folder, f"no bundle here, {error}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(folder / CARD, f"its digest is not {digest[:12]}…; the file was changed")
    return Bundle(folder, digest, json.loads(content))


def adopt(store: Path, source: Path, *, digest: str) -> Bundle:
    """Copy a bundle fetched from elsewhere into `store`; one that is there already and damaged is replaced.

    Raises:
        CheckpointError: it is not the bundle that `digest` names.
    """
    read_bundle(source, digest=digest).verify()
    store.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".bundle-", dir=store))
    aside = fresh.with_name(f"{fresh.name}-damaged")
    try:
        shutil.copytree(source, fresh, dirs_exist_ok=True)
        with suppress(FileNotFoundError):
            if not _intact(store / digest, digest):
                (store / digest).rename(aside)
        _settle(fresh, store / digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
    return read_bundle(store / digest, digest=digest)


def _intact(folder: Path, digest: str) -> bool:
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
        raise CheckpointError(path, f"cannot be read, {error.strerror}") from error
    if found != card["weights_sha256"]:
        raise CheckpointError(path, "damaged: its digest is not the one that its card names")


def _settle(fresh: Path, folder: Path) -> None:
    if (folder / CARD).exists():
        return
    try:
        fresh.rename(folder)
    except OSError as error:
        if not (folder / CARD).exists():  # else another process wrote the same content first
            raise StoreError(f"{folder}: cannot be written, {error}") from error


def _canonical(card: dict[str, Any]) -> bytes:
    return json.dumps(card, sort_keys=True, indent=1, allow_nan=False).encode()
