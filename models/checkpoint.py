"""Models on disk: weights as safetensors beside a JSON card; nothing that could run code."""

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
from models.task import Task

FORMAT = 2
WEIGHTS = "model.safetensors"
CARD = "card.json"
_KEYS = {"format", "name", "task", "options", "parameters", "torch", "weights_sha256"}


def save(model: Model, folder: Path) -> str:
    """Write the model into `folder` as a whole or not at all; return its digest.

    The digest is the SHA-256 of the card, which holds the SHA-256 of the weights: it names the model. An
    older model in the folder is replaced.

    Raises:
        NotFittedError: there is nothing to save.
        OSError: the disk refuses.
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
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(fresh / WEIGHTS, weights)
        _write(fresh / CARD, card)
        _replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return hashlib.sha256(card).hexdigest()


def load(folder: Path, *, digest: str | None = None) -> Model:
    """The model in `folder`, bit for bit as saved; weights are parsed only after their digest fits.

    Raises:
        CheckpointError: a file is missing, damaged, of another format, or not the model of `digest`.
    """
    card = read_card(folder, digest=digest)
    path = folder / WEIGHTS
    weights = _read(path)
    found = hashlib.sha256(weights).hexdigest()
    if found != card["weights_sha256"]:
        raise CheckpointError(path, f"damaged: sha256 is {found}, the card says {card['weights_sha256']}")
    try:
        model = build(card["name"], Task.from_json(card["task"]), **card["options"])
        model.load_state(parse(weights))
    except (ModelError, SafetensorError, TypeError) as error:
        raise CheckpointError(folder, str(error)) from error
    return model


def read_card(folder: Path, *, digest: str | None = None) -> dict[str, Any]:
    """The card of the model in `folder`, without touching its weights.

    Raises:
        CheckpointError: it is missing, unreadable, of another format, or not the card of `digest`.
    """
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
        raise CheckpointError(path, f"want the keys {sorted(_KEYS)}")
    if card["format"] != FORMAT:
        raise CheckpointError(path, f"format {card['format']!r}, this version reads {FORMAT}")
    return card


def _canonical(card: dict[str, Any]) -> bytes:
    return json.dumps(card, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(fresh: Path, folder: Path) -> None:
    """Rename `fresh` to `folder`; a folder that is in the way steps aside first and is then removed."""
    if not folder.exists():
        fresh.rename(folder)
    else:
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        folder.rename(old)
        fresh.rename(folder)
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
