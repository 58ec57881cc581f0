"""Renamed fields of product files. Old names stay valid in files, in registered bundles and in the keys of receipts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.legacy import RENAMED_OPTIONS

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Renamed:
    """A field that was renamed, and its values that were."""

    parent: tuple[str, ...]
    """Path of the section that contains the field; `feed` stands for every covariate too, `training.options` for the
    options of every model."""
    old: str
    new: str
    """The new name; empty if the field was removed because nothing used it."""
    values: Mapping[str, str] = field(default_factory=dict)
    """New values by the old ones."""


RENAMED = (
    Renamed(("feed",), "clock", "mode", {"wall": "live", "record": "archive"}),
    Renamed(("feed", "source", "time"), "gather", "resample"),
    Renamed(("feed", "quality"), "memory", "reference_period"),
    Renamed(("feed", "quality", "checks"), "grid", "time_step"),
    Renamed(("feed", "quality", "checks"), "known", "known_at"),
    Renamed(("feed", "quality", "checks"), "stuck", "persistence"),
    Renamed(("feed", "quality", "checks"), "jump", "step"),
    Renamed(("gate",), "metric", ""),
    *(Renamed(("training", "options"), old, new) for old, new in RENAMED_OPTIONS.items()),
)


def upgrade(product: Any) -> tuple[Any, dict[Location, tuple[Location, str]]]:
    """Return a product, as read from YAML or JSON, with current field names, and what was renamed.

    The second value holds, for each old location, the new one and a sentence that asks to rename it. A field that is
    present under both names is left as it is: validation rejects the old one.
    """
    renamed: dict[Location, tuple[Location, str]] = {}
    for one in RENAMED:
        for parent in _parents(product, one.parent):
            section = _section(product, parent)
            if not isinstance(section, dict) or one.old not in section or one.new in section:
                continue
            value = section[one.old]
            changed = one.values.get(value, value) if isinstance(value, str) else value
            items = [(one.new, changed) if name == one.old else (name, kept) for name, kept in section.items()]
            product = _replaced(product, parent, {name: kept for name, kept in items if name})
            old, new = (".".join(map(str, (*parent, name))) for name in (one.old, one.new))
            notice = f"{old} is now {new}{f': {changed}' if one.values else ''}; please rename it"
            if not one.new:
                notice = f"{old} is no longer used; please remove it"
            renamed[(*parent, one.old)] = ((*parent, one.new) if one.new else parent, notice)
    return product, renamed


def with_old_names(feed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dumped feed with the names and values that its fields had first, in the same order.

    Keys of receipts are hashes of it, so a new name must not change them.
    """
    document: Any = {"feed": feed}
    for one in RENAMED:
        section = _section(document, one.parent)
        if one.new and isinstance(section, dict) and one.new in section:
            old_values = {new: old for old, new in one.values.items()}
            items = [
                (one.old, old_values.get(value, value) if one.values else value) if name == one.new else (name, value)
                for name, value in section.items()
            ]
            document = _replaced(document, one.parent, dict(items))
    result: dict[str, Any] = document["feed"]
    return result


def _parents(product: Any, parent: tuple[str, ...]) -> list[Location]:
    """Return the locations of a section: those of all feeds, or of all models, where it belongs to one."""
    if parent == ("training", "options"):
        options = _section(product, parent)
        return [(*parent, model) for model in options] if isinstance(options, dict) else []
    covariates = product.get("covariates") if isinstance(product, dict) and parent[0] == "feed" else None
    names = covariates if isinstance(covariates, dict) else ()
    return [parent, *(("covariates", name, *parent[1:]) for name in names)]


def _section(document: Any, location: Location) -> Any:
    for part in location:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _replaced(document: Any, location: Location, section: dict[str, Any]) -> Any:
    """Return a document in which the section at a location is another one; the given document stays unchanged."""
    if not location:
        return section
    first, *rest = location
    return {**document, first: _replaced(document[first], tuple(rest), section)}
