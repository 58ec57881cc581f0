"""Forecast models behind one interface. Names are imported on first use, so importing the package is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.base import Epoch, Model, Progress
    from models.catalogue import MODELS, Entry, build
    from models.checkpoint import load, read_card, save
    from models.errors import CheckpointError, DivergedError, ModelError, NotFittedError
    from models.task import Batch, Inputs, Task, Windows

_MODULES = {
    "MODELS": "catalogue",
    "Batch": "task",
    "CheckpointError": "errors",
    "DivergedError": "errors",
    "Entry": "catalogue",
    "Epoch": "base",
    "Inputs": "task",
    "Model": "base",
    "ModelError": "errors",
    "NotFittedError": "errors",
    "Progress": "base",
    "Task": "task",
    "Windows": "task",
    "build": "catalogue",
    "load": "checkpoint",
    "read_card": "checkpoint",
    "save": "checkpoint",
}

__all__ = [
    "MODELS",
    "Batch",
    "CheckpointError",
    "DivergedError",
    "Entry",
    "Epoch",
    "Inputs",
    "Model",
    "ModelError",
    "NotFittedError",
    "Progress",
    "Task",
    "Windows",
    "build",
    "load",
    "read_card",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    return getattr(import_module(f"models.{_MODULES[name]}"), name)
