"""Explanations of registered models: in the card of their bundle, or in a file beside it where made later."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from pipeline import atomic
from pipeline.registry.bundle import Bundle
from pipeline.store import checksummed_json
from pipeline.training.explanation.facts import Explanation

FIELD = "explanation"
"""Field of a bundle's card, which the digest of the bundle covers."""


def read_explanation(bundle: Bundle) -> Explanation | None:
    """Return the explanation of a bundle; None if it has none, or one that cannot be read."""
    return _parse(bundle.card.get(FIELD)) or _parse(_stored(_beside(bundle)))


def save_explanation(bundle: Bundle, explanation: Explanation) -> None:
    """Keep an explanation beside a bundle that has none; a home that cannot be written keeps none."""
    with suppress(OSError):
        atomic.write_file(_beside(bundle), checksummed_json.dumps(explanation.model_dump(mode="json")))


def _beside(bundle: Bundle) -> Path:
    return bundle.folder.with_name(f"{bundle.digest}.{FIELD}.json")


def _stored(path: Path) -> object:
    try:
        return checksummed_json.loads(path.read_bytes())
    except OSError:
        return None


def _parse(facts: object) -> Explanation | None:
    try:
        return Explanation.model_validate_json(json.dumps(facts))
    except ValidationError:  # none, or one of another release
        return None
