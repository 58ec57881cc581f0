"""Names of earlier versions: options that product files may still use, stored tasks, and checkpoints of format 2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RENAMED_OPTIONS = {"average": "ema_decay", "outage": "input_dropout", "taken": "correction"}
"""Options of network models, from the old name to the new one."""

_ENTRIES = (
    (r"\bverdict\.share$", "correction.weight"),
    (r"\bverdict\.spread$", "correction.spread"),
    (r"\bunsaid\.share$", "without_covariates.weight"),
    (r"\bunsaid\.spread$", "without_covariates.spread"),
    (r"\bcore\.ever$", "core.observed"),
    (r"\bcore\.fade$", "core.residual_correlation"),
    (r"\bcore\.left$", "core.residual_deviation"),
    (r"\bcore\.memory$", "core.persistence"),
    (r"\bnetwork\.trunk\.past\b", "network.trunk.encoder"),
    (r"\bnetwork\.trunk\.back\b", "network.trunk.decoder"),
    (r"\bnetwork\.trunk\.clock\b", "network.trunk.calendar"),
    (r"\bnetwork\.trunk\.covariates\b", "network.trunk.covariate_encoder"),
    (r"\bnetwork\.trunk\.ahead\.clock\b", "network.trunk.lead_encoder.calendar"),
    (r"\bnetwork\.trunk\.ahead\b", "network.trunk.lead_encoder"),
)
"""Entries of a state, as regular expressions."""

_MODULES = {
    "again": "recurrent",
    "attend": "attention",
    "both": "lstm",
    "decide": "affine",
    "enter": "project_in",
    "feed": "feed_forward",
    "leave": "project_out",
    "library": "torch_lstm",
    "look": "localisation",
    "other": "memory_norm",
    "own": "node_embedding",
}
"""Parts of a network, at any depth below `network.trunk.core`."""


def upgrade_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a stored model under their current names; those of a blend's members have a prefix."""
    upgraded = {}
    for key, value in options.items():
        member, dot, name = key.rpartition(".")
        upgraded[f"{member}{dot}{RENAMED_OPTIONS.get(name, name)}"] = value
    return upgraded


def upgrade_task(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored task under the current names of its fields."""
    return {"quantile_levels" if name == "quantiles" else name: value for name, value in document.items()}


def upgrade_state(state: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Return a state of format 2 under the current names."""
    return {_upgrade_key(key): array for key, array in state.items()}


def _upgrade_key(key: str) -> str:
    for pattern, name in _ENTRIES:
        key = re.sub(pattern, name, key)
    outer, core, inner = key.partition("network.trunk.core.")
    return outer + core + ".".join(_MODULES.get(part, part) for part in inner.split("."))
