"""Notes on a forecast: why better fallback levels were not used, and what was missing. Stored as data, worded here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from pipeline.registry.standing import LiveVerdict, describe_live_verdict

NoteKind = Literal[
    "no_bundle",
    "bundle_unusable",
    "trained_on_later_data",
    "registry_unreachable",
    "model_unusable",
    "model_failed",
    "broke_contract",
    "baseline_left_out",
    "judged_left_out",
    "champion_left_out",
    "correction_left_out",
    "live_verdict",
    "ledger_unreadable",
    "missing_covariates",
    "covariate_unreadable",
    "text",
]


@dataclass(frozen=True)
class Note:
    """One thing worth knowing about how a forecast was made. Which fields are set depends on the kind."""

    kind: NoteKind
    names: tuple[str, ...] = ()
    """What the note is about: a role (champion or fallback), a model, or covariates."""
    version: int | None = None
    """Registry version of the model."""
    error: str = ""
    """Text of the error; of the kind `text`, the whole note."""
    verdict: LiveVerdict | None = None
    """Of the kind `live_verdict`: why not the champion, or not its refit, made the forecast."""


_FALLBACK_REASONS: tuple[NoteKind, ...] = (
    "no_bundle",
    "bundle_unusable",
    "trained_on_later_data",
    "model_unusable",
    "model_failed",
    "broke_contract",
    "live_verdict",
)
_NOTES = TypeAdapter(tuple[Note, ...])


def encode_notes(notes: Iterable[Note]) -> str:
    """Return notes as the JSON array that the forecasts table holds."""
    return _NOTES.dump_json(tuple(notes), exclude_defaults=True).decode()


def decode_notes(stored: str) -> tuple[Note, ...]:
    """Return the notes of a row of the forecasts table; the prose of an older row is one note of the kind `text`."""
    if not stored:
        return ()
    try:
        return _NOTES.validate_json(stored)
    except ValidationError:
        return (Note("text", error=stored),)


def missing_covariates(notes: Iterable[Note]) -> tuple[str, ...]:
    """Return the covariates without a value at any lead time, as the notes have them."""
    return tuple(name for note in notes if note.kind == "missing_covariates" for name in note.names)


def fallback_reason(notes: Iterable[Note]) -> str:
    """Return why better fallback levels were not used, as a sentence without a full stop; empty if nothing says so."""
    return "; ".join(describe_note(note) for note in notes if note.kind in _FALLBACK_REASONS)


def describe_note(note: Note) -> str:
    """Return a note as a sentence."""
    subject = ", ".join(note.names)
    match note.kind:
        case "no_bundle":
            return f"no {subject}"
        case "bundle_unusable" | "model_unusable":
            return f"{subject} unusable: {note.error}"
        case "trained_on_later_data":
            return f"{subject} version {note.version} was trained on data from after this issue time"
        case "registry_unreachable":
            return f"registry unreachable, using the last known {subject}: {note.error}"
        case "model_failed":
            return f"{subject} failed: {note.error}"
        case "broke_contract":
            return f"{subject} failed the output checks: {note.error}"
        case "baseline_left_out":
            return f"baseline {subject} left out: {note.error}"
        case "judged_left_out":
            return f"the judged fit made no forecast to compare with: {note.error}"
        case "champion_left_out":
            return f"the champion made no forecast to compare with: {note.error}"
        case "correction_left_out":
            return (
                f"{subject} is not corrected for its coverage: the horizon or the delay has changed since the retrain"
            )
        case "live_verdict":
            return (
                describe_live_verdict(note.verdict)
                if note.verdict
                else f"a live verdict on {subject}, without its numbers"
            )
        case "ledger_unreadable":
            return f"live verdicts unknown, the champion serves: {note.error}"
        case "missing_covariates":
            return f"no future values of {subject}"
        case "covariate_unreadable":
            return f"covariate {subject} cannot be read: {note.error}"
        case "text":
            return note.error
