"""Models on disk: weights as safetensors beside a JSON card, with no pickle and no executable code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialise

from models.base import Model
from models.catalogue import build
from models.errors import CheckpointError, ModelError
from models.legacy import upgrade_options, upgrade_state
from models.task import Task

FORMAT = 3
"""Format that `save` writes; `load` reads 2 as well, whose options and arrays had other names."""
WEIGHTS = "model.safetensors"
CARD = "card.json"
_KEYS = {"format", "name", "task", "options", "parameters", "torch", "weights_sha256"}


def save(model: Model, folder: Path) -> str:
    """Write the model to `folder` atomically, replacing an older one, and return its digest.

    The digest is the SHA-256 of the card, which contains the SHA-256 of the weights, so it identifies the model.

    Raises:
        NotFittedError: the model is not fitted.
        OSError: writing failed.
    """
    state = {name: np.asarray(array, order="C") for name, array in model.state().items()}
    weights = serialise(state)
    card = _canonical(
        {
            "format": FORMAT,
            "name": model.name,
            "task": model.task.to_json(),
            "options": model.options(),
            "parameters": model.parameters,
            "torch": _torch_version(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(temporary / WEIGHTS, weights)
        _write(temporary / CARD, card)
        _replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return hashlib.sha256(card).hexdigest()


def load(folder: Path, *, digest: str | None = None) -> Model:
    """Return the model in `folder`, bit-equal to the saved one. Weights are parsed only after their digest matches.

    Raises:
        CheckpointError: a file is missing, damaged or of an unknown format, or the digest does not match.
    """
    card = _read_card(folder, digest)
    path = folder / WEIGHTS
    weights = _read(path)
    found = hashlib.sha256(weights).hexdigest()
    if found != card["weights_sha256"]:
        raise CheckpointError(path, f"damaged: sha256 is {found}, expected {card['weights_sha256']}")
    old = card["format"] < FORMAT
    try:
        options = upgrade_options(card["options"]) if old else card["options"]
        model = build(card["name"], Task.from_json(card["task"]), **options)
        state = parse(weights)
        model.load_state(upgrade_state(state) if old else state)
    except (ModelError, SafetensorError, TypeError) as error:
        raise CheckpointError(folder, str(error)) from error
    return model


def read_card(folder: Path, *, digest: str | None = None) -> dict[str, Any]:
    """Return the card of the model in `folder`, without reading its weights; options have their current names.

    Raises:
        CheckpointError: it is missing, unreadable or of an unknown format, or the digest does not match.
    """
    card = _read_card(folder, digest)
    if card["format"] < FORMAT and isinstance(card["options"], dict):
        card["options"] = upgrade_options(card["options"])
    return card


def _read_card(folder: Path, digest: str | None) -> dict[str, Any]:
    path = folder / CARD
    raw = _read(path)
    found = hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise CheckpointError(path, f"digest is {found}, expected {digest}")
    try:
        card = json.loads(raw)
    except ValueError as error:
        raise CheckpointError(path, f"not JSON: {error}") from error
    if not isinstance(card, dict) or set(card) != _KEYS:
        raise CheckpointError(path, f"the keys must be {sorted(_KEYS)}")
    if card["format"] not in (2, FORMAT):
        raise CheckpointError(path, f"format {card['format']!r} is unknown; this version reads formats 2 and {FORMAT}")
    return card


def _canonical(card: dict[str, Any]) -> bytes:
    return json.dumps(card, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, f"cannot read the file: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(temporary: Path, folder: Path) -> None:
    """Rename `temporary` to `folder`; an existing folder is moved away first and then removed."""
    if not folder.exists():
        temporary.rename(folder)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old)
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
