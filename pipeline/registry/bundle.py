"""A bundle: a model with the baselines of the same snapshot, in a folder named after its digest.

It holds two fits of each: the judged one, which the gate scored on data that it had not seen, and the refit on all
data, which serves. Both are corrected in the same way, learnt from the held-out forecasts of the judged fit. Serving
needs nothing else: the models to fall back on were trained on the same data.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise

from models import checkpoint
from models.base import Model, prefixed, scoped
from models.errors import CheckpointError
from models.statistics.conformal import Recalibration
from pipeline.errors import StoreError

if TYPE_CHECKING:
    from pipeline.training.decision import FittedModels

CARD = "bundle.json"
CHALLENGER = "challenger"
JUDGED = "judged"
RECALIBRATION = "recalibration.safetensors"
"""Corrections of the quantiles of each model; bundles of earlier releases have none."""


@dataclass(frozen=True)
class Fit:
    """One fit of every model of a bundle. A model is loaded on request, after its digest is verified."""

    folder: Path
    digests: Mapping[str, str]
    trained_until: datetime
    """Last issue time used in training."""
    data_until: datetime
    """Time by which all training data were known. The fit must not forecast an earlier issue time."""
    recalibrations: Mapping[str, Recalibration] = field(default_factory=dict, compare=False)
    """Correction of the quantiles of each model, by the name of its folder; of an earlier release, none."""

    def recalibration(self, name: str = CHALLENGER) -> Recalibration | None:
        """Return the correction of a baseline, or by default of the challenger."""
        return self.recalibrations.get(name)

    def challenger(self) -> Model:
        """Return the model that the bundle was made for.

        Raises:
            CheckpointError: its files do not match their digest.
        """
        return self._load(CHALLENGER)

    def baseline(self, name: str) -> Model:
        """Return a baseline.

        Raises:
            CheckpointError: the fit has none of this name, or its files do not match their digest.
        """
        return self._load(name)

    def _load(self, name: str) -> Model:
        if name not in self.digests:
            raise CheckpointError(self.folder / name, "the bundle was made without this model")
        return checkpoint.load(self.folder / name, digest=self.digests[name])


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk."""

    folder: Path
    digest: str
    card: dict[str, Any]

    @property
    def model_name(self) -> str:
        """Name of the model that the bundle was made for."""
        return str(self.card["model"])

    @property
    def serving(self) -> Fit:
        """The fit on all data; of a bundle without one, the judged fit."""
        digests = {name: digest for name, digest in self.card["digests"].items() if "/" not in name}
        return Fit(self.folder, digests, *self._times(self.card), self.recalibrations)

    @property
    def judged(self) -> Fit:
        """The fit that the gate scored."""
        if JUDGED not in self.card:
            return self.serving
        digests = self.card["digests"].items()
        own = {name.removeprefix(f"{JUDGED}/"): digest for name, digest in digests if "/" in name}
        return Fit(self.folder / JUDGED, own, *self._times(self.card[JUDGED]), self.recalibrations)

    @cached_property
    def recalibrations(self) -> Mapping[str, Recalibration]:
        """Correction of the quantiles of each model, for both fits.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        if RECALIBRATION not in self.card:
            return {}
        path = self.folder / RECALIBRATION
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != self.card[RECALIBRATION]:
            raise CheckpointError(path, "damaged: the digest differs from the one in the card of the bundle")
        state = parse(content)
        names = dict.fromkeys(key.rpartition(".")[0] for key in state)
        return {name: Recalibration.from_state(scoped(name, state)) for name in names}

    def fit_at(self, issue_time: datetime) -> Fit | None:
        """Return the newest fit that has not seen data later than an issue time, or None.

        It has no corrections where these were learnt from later data.
        """
        fit = next((fit for fit in (self.serving, self.judged) if fit.data_until <= issue_time), None)
        learnt = self.card.get("recalibrated_until")
        if fit is None or learnt is None or datetime.fromisoformat(learnt) <= issue_time:
            return fit
        return replace(fit, recalibrations={})

    @property
    def warm_starts(self) -> int:
        """Number of refreshes in a row that continued from the fit before, up to this one."""
        return int(self.card.get("warm_starts", 0))

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines, best on the held-out issue times first."""
        return tuple(self.card["baselines"])

    def verify(self) -> Bundle:
        """Return the bundle after verifying the digest of every file.

        Raises:
            CheckpointError: a file is missing or damaged.
        """
        for name, digest in self.card["digests"].items():
            _check_files(self.folder / name, digest)
        _ = self.recalibrations
        return self

    @staticmethod
    def _times(facts: Mapping[str, str]) -> tuple[datetime, datetime]:
        return datetime.fromisoformat(facts["trained_until"]), datetime.fromisoformat(facts["data_until"])


def write_bundle(store: Path, serving: FittedModels, judged: FittedModels | None, facts: dict[str, Any]) -> Bundle:
    """Write a bundle below `store` atomically. An equal bundle is left as it is.

    Args:
        store: Folder of the product's bundles.
        serving: The fit that serves.
        judged: The fit that the gate scored; None where that one serves.
        facts: Further fields of the card as JSON data: snapshot, product.
    """
    store.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".bundle-", dir=store))
    try:
        digests = _save(serving, fresh, "")
        card = {**facts, **_card_times(serving), "model": serving.model.name, "baselines": [*serving.baselines]}
        if judged is not None:
            digests |= _save(judged, fresh, f"{JUDGED}/")
            card[JUDGED] = _card_times(judged)
        if corrections := _recalibration_state(serving):
            content = serialise(corrections)
            _write(fresh / RECALIBRATION, content)
            card[RECALIBRATION] = hashlib.sha256(content).hexdigest()
            card["recalibrated_until"] = (serving.recalibrated_until or serving.data_until).isoformat()
        content = _canonical({**card, "digests": digests})
        _write(fresh / CARD, content)
        digest = hashlib.sha256(content).hexdigest()
        _move_into_place(fresh, store / digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return Bundle(store / digest, digest, json.loads(content))


def _save(fit: FittedModels, folder: Path, prefix: str) -> dict[str, str]:
    models = {CHALLENGER: fit.model, **fit.baselines}
    return {f"{prefix}{name}": checkpoint.save(model, folder / f"{prefix}{name}") for name, model in models.items()}


def _recalibration_state(fit: FittedModels) -> dict[str, NDArray[Any]]:
    corrections = {CHALLENGER: fit.recalibration, **fit.baseline_recalibrations}
    return {
        key: np.ascontiguousarray(array)
        for name, one in corrections.items()
        if one is not None
        for key, array in prefixed(name, one.state()).items()
    }


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _card_times(fit: FittedModels) -> dict[str, str]:
    return {"trained_until": fit.trained_until.isoformat(), "data_until": fit.data_until.isoformat()}


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
