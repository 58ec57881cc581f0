"""Record a retrain: the registry versions, the aliases and the ledger rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.registry.bundle import Bundle, write_bundle
from pipeline.registry.explanations import FIELD
from pipeline.registry.ledger import Ledger
from pipeline.registry.retrain_run import example_rows, log_results
from pipeline.registry.run import Run
from pipeline.registry.standing import tag_standing
from pipeline.registry.tracking import Registry
from pipeline.training.decision import Decision
from pipeline.training.explanation.facts import Explanation
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.verdict import Verdict
from pipeline.version import code_version


class Candidate(BaseModel):
    """The result of one candidate of a retrain."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    validation_crps: float | None
    """Validation CRPS; the candidate with the lowest becomes the challenger. None if it could not be trained."""
    remarks: tuple[str, ...] = ()
    """Remarks of the fitted model for people."""
    problem: str = ""
    """Why it could not be trained."""


@dataclass(frozen=True)
class RecordedDecision:
    """Where a decision is recorded."""

    version: int
    digest: str
    verdict: Verdict


@dataclass(frozen=True)
class RecordedRetrain:
    """Where a retrain is recorded, and what was decided."""

    decisions: tuple[RecordedDecision, ...]
    """The one on a challenger first; the champion's refresh, if any, last."""
    run_id: str
    champion: int | None
    candidates: tuple[Candidate, ...] = ()
    """Empty if an earlier release recorded the retrain."""


def record(
    snapshot: Snapshot,
    outcome: TrainingOutcome,
    decisions: Sequence[Decision],
    champion: int | None,
    *,
    run: Run,
    registry: Registry,
    ledger: Ledger,
    bundles: Path,
    at: datetime,
    key: str,
    explanation: Explanation | None = None,
) -> RecordedRetrain:
    """Record a retrain. The alias `champion` moves only to a fit that is to serve.

    Args:
        snapshot: The training data.
        outcome: The fitted models and their scores.
        decisions: What the gate decided.
        champion: The version in service before, if any.
        run: The MLflow run of the retrain.
        registry: Where the versions are registered.
        ledger: Where the decisions are recorded.
        bundles: Folder of the product's bundles.
        at: Time of the retrain.
        key: Key of the retrain, from `training_key`.
        explanation: What the forecasts of the fit that is to serve rest on.

    Raises:
        TrackingError: MLflow cannot be reached; the champion stays.
    """
    candidates = _candidates(snapshot.product, outcome)
    recorded, serving = [], champion
    log_results(run, snapshot, outcome, decisions, explanation)
    for number, decision in enumerate(decisions):
        verdict = decision.verdict
        bundle = _write_bundle(snapshot, decision, bundles, at, explanation if decision.serves else None)
        tags = {
            "trained_until": bundle.serving.trained_until.isoformat(),
            "snapshot": snapshot.digest,
            "table_version": str(snapshot.table_version),
            "crps": json.dumps(verdict.crps),
            "verdict": verdict.decision,
            "reason": verdict.reason,
        }
        version = run.register(bundle, example_rows(snapshot), tags, name=("model", "refresh")[number])
        registry.set_alias("fallback", version)
        if verdict.kind == "promotion":
            registry.set_alias("challenger", version)
        # The ledger comes first: an alias without a row could not be rolled back. `recall` sets a missing alias.
        ledger.write(
            verdict.decision,
            at=at,
            version=version,
            previous=champion,
            who="gate",
            why=verdict.reason,
            numbers=json.dumps(
                {
                    "verdict": verdict.model_dump(mode="json"),
                    "digest": bundle.digest,
                    "run": run.run_id,
                    "decisions": len(decisions),
                    "candidates": [one.model_dump(mode="json") for one in candidates],
                }
            ),
            key=_row_key(key, number),
        )
        recorded.append(RecordedDecision(version, bundle.digest, verdict))
        if decision.serves:
            registry.set_alias("champion", version)
            serving = version
    tag_standing(ledger, registry)
    return RecordedRetrain(tuple(recorded), run.run_id, serving, candidates)


def recall(ledger: Ledger, registry: Registry, key: str) -> RecordedRetrain | None:
    """Return the record of an earlier retrain with the same key, with the current champion, or None.

    If that retrain was killed between the ledger row and the alias, its promotion is completed.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    rows = ledger.read()
    mine = [row for number in (0, 1) for row in rows if row.key == _row_key(key, number)]
    if not mine or len(mine) < json.loads(mine[0].numbers).get("decisions", 1):
        return None  # not recorded, or killed between two rows
    current = registry.by_alias("champion")
    serving = current.version if current else None
    last = next((one for one in rows if one.moves_champion), None)
    if last is not None and last in mine and serving == last.previous != last.version:
        registry.set_alias("champion", last.version)
        serving = last.version
    numbers = [json.loads(row.numbers) for row in mine]
    decisions = tuple(
        RecordedDecision(row.version, it["digest"], Verdict.model_validate_json(json.dumps(it["verdict"])))
        for row, it in zip(mine, numbers, strict=True)
    )
    candidates = tuple(Candidate.model_validate(one) for one in numbers[0].get("candidates", ()))
    return RecordedRetrain(decisions, numbers[0]["run"], serving, candidates)


def _row_key(key: str, number: int) -> str:
    """Return the key of a ledger row; a retrain has one for each decision."""
    return key if number == 0 else f"{key} {number + 1}"


def _candidates(product: Product, outcome: TrainingOutcome) -> tuple[Candidate, ...]:
    fitted = {one.name: one for one in outcome.candidates}
    return tuple(
        Candidate(name=name, validation_crps=one.validation.mean_crps, remarks=one.model.remarks())
        if (one := fitted.get(name))
        else Candidate(name=name, validation_crps=None, problem=outcome.failed.get(name, ""))
        for name in product.training.candidates
    )


def _write_bundle(
    snapshot: Snapshot, decision: Decision, bundles: Path, at: datetime, explanation: Explanation | None
) -> Bundle:
    facts = {
        "product": snapshot.product.model_dump(mode="json"),
        "snapshot": snapshot.digest,
        "trained_at": at.isoformat(),
        "code_version": code_version(),
        "warm_starts": decision.warm_starts,
    }
    if explanation is not None:
        facts[FIELD] = explanation.model_dump(mode="json")
    if decision.refit is None:
        return write_bundle(bundles, decision.judged, None, facts)
    return write_bundle(bundles, decision.refit, decision.judged, facts)
