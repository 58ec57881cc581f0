"""Small JSON files that carry their own digest, so that none is believed after it was torn or altered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.store.delta.digests import sha256


def pack(facts: Mapping[str, Any]) -> bytes:
    """Return a JSON document of some facts and of their SHA-256."""
    return json.dumps({"sha256": sha256(canonical(facts)), "facts": facts}, indent=1).encode()


def unpack(content: bytes | None) -> dict[str, Any] | None:
    """Return the facts of a document, or None when there is none or its digest is not theirs."""
    try:
        kept = json.loads(content or b"")
        facts: dict[str, Any] = kept["facts"]
        return facts if isinstance(facts, dict) and kept["sha256"] == sha256(canonical(facts)) else None
    except (ValueError, LookupError, TypeError):
        return None


def canonical(facts: Mapping[str, Any]) -> bytes:
    """Return the one way to write some facts as JSON."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
