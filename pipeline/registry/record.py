"""Record a retrain: the MLflow run, the registry version, the gate's verdict, the aliases and the ledger row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict

from pipeline.config import Product
from pipeline.features.snapshot import Snapshot
from pipeline.registry.bundle import Bundle, write_bundle
from pipeline.registry.ledger import Ledger
from pipeline.registry.plots import plot_skill
from pipeline.registry.run import Run
from pipeline.registry.tracking import Registry
from pipeline.times import stamp
from pipeline.training.comparison import Champion, prepare_comparison
from pipeline.training.evaluate import Evaluation
from pipeline.training.folds import Folds
from pipeline.training.gate import decide
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
class RecordedRetrain:
    """Where a retrain is recorded, and the verdict."""

    version: int
    digest: str
    run_id: str
    champion: int | None
    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()
    """Empty if an earlier release recorded the retrain."""


def record(
    snapshot: Snapshot,
    folds: Folds,
    outcome: TrainingOutcome,
    champion: Champion | None,
    *,
    registry: Registry,
    ledger: Ledger,
    bundles: Path,
    observations: str,
    at: datetime,
    key: str,
) -> RecordedRetrain:
    """Record a retrain and ask the gate. The alias `champion` moves only if the challenger is promoted.

    Args:
        snapshot: The training data.
        folds: The issue times of each fold.
        outcome: The fitted models and their scores.
        champion: The champion to compare with, if any.
        registry: Where the run and the version are registered.
        ledger: Where the decision is recorded.
        bundles: Folder of the product's bundles.
        observations: Path or URI of the observations table, for lineage.
        at: Time of the retrain.
        key: Key of the retrain, from `training_key`.

    Raises:
        TrackingError: MLflow cannot be reached; the champion stays.
    """
    product = snapshot.product
    bundle = _bundle(snapshot, folds, outcome, bundles, at)
    verdict = decide(prepare_comparison(snapshot, folds, outcome, champion), product.gate)
    candidates = _candidates(product, outcome)
    with registry.run(f"retrain {stamp(at)}", key) as run:
        _describe(run, snapshot, folds, outcome, at, observations)
        tags = {
            "trained_until": folds.trained_until.isoformat(),
            "snapshot": snapshot.digest,
            "table_version": str(snapshot.table_version),
            "crps": json.dumps(verdict.crps),
            "verdict": "promoted" if verdict.promoted else "refused",
            "reason": verdict.reason,
        }
        run.log_text(verdict.model_dump_json(indent=1), "gate.json")
        version = run.register(bundle, _example(snapshot), tags)
        registry.set_alias("challenger", version)
        registry.set_alias("fallback", version)
        previous = champion.version if champion else None
        # The ledger comes first: an alias without a row could not be rolled back. `recall` sets a missing alias.
        ledger.write(
            "promoted" if verdict.promoted else "refused",
            at=at,
            version=version,
            previous=previous,
            who="gate",
            why=verdict.reason,
            numbers=json.dumps(
                {
                    "verdict": verdict.model_dump(mode="json"),
                    "digest": bundle.digest,
                    "run": run.run_id,
                    "candidates": [one.model_dump(mode="json") for one in candidates],
                }
            ),
            key=key,
        )
        if verdict.promoted:
            registry.set_alias("champion", version)
    serving = version if verdict.promoted else previous
    return RecordedRetrain(version, bundle.digest, run.run_id, serving, verdict, candidates)


def recall(ledger: Ledger, registry: Registry, key: str) -> RecordedRetrain | None:
    """Return the record of an earlier retrain with the same key, with the current champion, or None.

    If that retrain was killed between the ledger row and the alias, its promotion is completed.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    rows = ledger.read()
    row = next((row for row in rows if row.key == key), None)
    if row is None:
        return None
    numbers = json.loads(row.numbers)
    verdict = Verdict.model_validate_json(json.dumps(numbers["verdict"]))
    current = registry.by_alias("champion")
    serving = current.version if current else None
    last = next((one for one in rows if one.action != "refused"), None)
    if row == last and serving == row.previous != row.version:
        registry.set_alias("champion", row.version)
        serving = row.version
    candidates = tuple(Candidate.model_validate(one) for one in numbers.get("candidates", ()))
    return RecordedRetrain(row.version, numbers["digest"], numbers["run"], serving, verdict, candidates)


def _candidates(product: Product, outcome: TrainingOutcome) -> tuple[Candidate, ...]:
    fitted = {one.name: one for one in outcome.candidates}
    return tuple(
        Candidate(name=name, validation_crps=one.validation.mean_crps, remarks=one.model.remarks())
        if (one := fitted.get(name))
        else Candidate(name=name, validation_crps=None, problem=outcome.failed.get(name, ""))
        for name in product.training.candidates
    )


def _bundle(snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, bundles: Path, at: datetime) -> Bundle:
    facts = {
        "product": snapshot.product.model_dump(mode="json"),
        "snapshot": snapshot.digest,
        "trained_at": at.isoformat(),
        "trained_until": folds.trained_until.isoformat(),
        "data_until": folds.holdout[0].isoformat(),
        "code_version": code_version(),
    }
    baselines = {one.name: one.model for one in outcome.baselines}
    return write_bundle(bundles, outcome.challenger.model, baselines, facts)


def _describe(
    run: Run, snapshot: Snapshot, folds: Folds, outcome: TrainingOutcome, at: datetime, observations: str
) -> None:
    product = snapshot.product
    models = {one.name: one.model for one in (*outcome.candidates, *outcome.baselines)}
    options = {name: model.options() for name, model in models.items()}
    remarks = {name: "; ".join(lines) for name, model in models.items() if (lines := model.remarks())}
    run.log_parameters(
        {
            "product": product.name,
            "at": at.isoformat(),
            "challenger": outcome.challenger.name,
            "code_version": code_version(),
            "snapshot": snapshot.digest,
            "table_version": snapshot.table_version,
            "train_issues": len(folds.train),
            "train_since": folds.train[0].isoformat(),
            "validation_issues": len(folds.validation),
            "validation_since": folds.validation[0].isoformat(),
            "holdout_issues": len(folds.holdout),
            "holdout_since": folds.holdout[0].isoformat(),
            **{f"training.{name}": value for name, value in product.training.model_dump(mode="json").items()},
            **{f"forecast.{name}": value for name, value in product.forecast.model_dump(mode="json").items()},
            **{f"options.{name}": json.dumps(chosen) for name, chosen in options.items()},
            **{f"remarks.{name}": text for name, text in remarks.items()},
            **{f"failed.{name}": reason for name, reason in outcome.failed.items()},
        }
    )
    run.log_text(json.dumps(options, indent=1), "options.json")  # parameters are cut where they are long
    series: dict[str, list[tuple[int, float]]] = {}
    for one in (*outcome.candidates, *outcome.baselines):
        series[f"{one.name}/validation_crps"] = [(0, one.validation.mean_crps)]
        series[f"{one.name}/seconds"] = [(0, one.seconds)]
        series[f"{one.name}/train_loss"] = [(epoch.epoch, epoch.train_loss) for epoch in one.epochs]
        series[f"{one.name}/validation_loss"] = [(epoch.epoch, epoch.validation_loss) for epoch in one.epochs]
        series |= _by_lead(one.name, outcome.holdout[one.name], product.forecast.targets)
    run.log_metrics(series)
    run.log_text(plot_skill(snapshot, outcome), "plots/holdout_skill.svg")
    run.log_lineage(
        _example(snapshot),
        table=observations,
        version=snapshot.table_version,
        digest=snapshot.digest,
        name=f"{product.name}-observations",
    )


def _by_lead(name: str, scores: Evaluation, targets: Sequence[str]) -> Mapping[str, list[tuple[int, float]]]:
    """Return the held-out scores by lead; of several variables the mean, and those of each in its own unit."""
    if len(targets) == 1:
        by_lead = {"crps": scores.crps_by_lead, **scores.by_lead()}
    else:
        by_lead = {"crps": scores.crps_by_lead, "coverage": scores.coverage_by_lead}
        for index, target in enumerate(targets):
            own = scores.of_target(index)
            own_by_lead = {"crps": own.crps_by_lead, **own.by_lead()}
            by_lead |= {f"{score}/{target}": values for score, values in own_by_lead.items()}
    return {f"{name}/holdout_{score}": list(enumerate(values, 1)) for score, values in by_lead.items()}


def _example(snapshot: Snapshot) -> pd.DataFrame:
    """Return the newest frame as rows in the form that the logged model expects."""
    frames = snapshot.frames
    rows = []
    for index, location in enumerate(snapshot.locations.ids):
        row: dict[str, object] = {
            "valid_time": frames.times[-1],
            "location": location,
            "known_at": frames.times[-1],
        }
        for channel, name in enumerate(snapshot.task.channels):
            known = frames.mask[-1, channel, index]
            row[name] = float(frames.first[-1, channel, index]) if known else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)
