"""Small JSON files that contain their own SHA-256, so that a torn or altered one is never trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.store.delta.digests import sha256


def dumps(facts: Mapping[str, Any]) -> bytes:
    """Return a JSON document with some facts and their SHA-256."""
    return json.dumps({"sha256": sha256(to_canonical_json(facts)), "facts": facts}, indent=1).encode()


def loads(content: bytes | None) -> dict[str, Any] | None:
    """Return the facts in a document, or None if there is no document or its SHA-256 does not match."""
    try:
        document = json.loads(content or b"")
        facts: dict[str, Any] = document["facts"]
        return facts if isinstance(facts, dict) and document["sha256"] == sha256(to_canonical_json(facts)) else None
    except (ValueError, LookupError, TypeError):
        return None


def to_canonical_json(facts: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys and no white space, so that equal facts give equal bytes."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
