"""Recording a retrain: the MLflow run, the registry version, the gate's verdict, the aliases, the ledger row."""

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
from pipeline.registry.challenge import Champion, prepare_trial
from pipeline.registry.ledger import Ledger
from pipeline.registry.plots import skill_picture
from pipeline.registry.run import Run
from pipeline.registry.tracking import Registry
from pipeline.times import stamp
from pipeline.training.evaluate import Evaluation
from pipeline.training.folds import Folds
from pipeline.training.gate import Verdict, judge
from pipeline.training.holdout import Trained
from pipeline.version import code_version


class Candidate(BaseModel):
    """What became of one candidate of a retrain."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    validation_crps: float | None
    """On the validation issue times, where the lowest becomes the challenger; None where it could not be trained."""
    remarks: tuple[str, ...] = ()
    """What the fitted model says a person should know of it."""
    problem: str = ""
    """Why it could not be trained."""


@dataclass(frozen=True)
class Recorded:
    """Where a retrain is recorded and what the gate said."""

    version: int
    digest: str
    run_id: str
    champion: int | None
    verdict: Verdict
    candidates: tuple[Candidate, ...] = ()
    """Empty where an older release recorded it."""


def record(
    snapshot: Snapshot,
    folds: Folds,
    trained: Trained,
    incumbent: Champion | None,
    *,
    registry: Registry,
    ledger: Ledger,
    bundles: Path,
    observations: str,
    at: datetime,
    key: str,
) -> Recorded:
    """Record a retrain and let the gate decide; only a verdict in favour moves the alias `champion`.

    Args:
        snapshot: What training saw.
        folds: Which issue times trained, chose and judged.
        trained: What was fitted and how it scored.
        incumbent: The champion, scored beside the challenger; None where there is none.
        registry: Where the run and the version are registered.
        ledger: Where the decision is recorded.
        bundles: Folder of the product's bundles.
        observations: Path or address of the observations table, for lineage.
        at: Instant of the retrain.
        key: Identity of the retrain.

    Raises:
        TrackingError: MLflow cannot be reached; the champion is untouched.
    """
    product = snapshot.product
    bundle = _bundle(snapshot, folds, trained, bundles, at)
    verdict = judge(prepare_trial(snapshot, folds, trained, incumbent), product.gate)
    candidates = _candidates(product, trained)
    with registry.run(f"retrain {stamp(at)}", key) as run:
        _describe(run, snapshot, folds, trained, at, observations)
        tags = {
            "trained_until": folds.trained_until.isoformat(),
            "snapshot": snapshot.digest,
            "table_version": str(snapshot.table_version),
            "crps": json.dumps(verdict.crps),
            "verdict": ("promoted: " if verdict.promoted else "refused: ") + verdict.reason,
        }
        run.log_text(verdict.model_dump_json(indent=1), "gate.json")
        version = run.register(bundle, _example(snapshot), tags)
        registry.set_alias("challenger", version)
        registry.set_alias("fallback", version)
        previous = incumbent.version if incumbent else None
        # The ledger comes first: an alias without a row could not be rolled back. `recall` makes up for a kill between.
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
    return Recorded(version, bundle.digest, run.run_id, serving, verdict, candidates)


def recall(ledger: Ledger, registry: Registry, key: str) -> Recorded | None:
    """Return what an equal retrain recorded before, with the champion of now, or None.

    A promotion that the ledger tells of and a kill kept from the alias is completed.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    rows = ledger.read()
    row = next((row for row in rows if row.key == key), None)
    if row is None:
        return None
    numbers = json.loads(row.numbers)
    verdict = Verdict.model_validate_json(json.dumps(numbers["verdict"]))
    present = registry.by_alias("champion")
    serving = present.version if present else None
    last = next((one for one in rows if one.action != "refused"), None)
    if row == last and serving == row.previous != row.version:
        registry.set_alias("champion", row.version)
        serving = row.version
    candidates = tuple(Candidate.model_validate(one) for one in numbers.get("candidates", ()))
    return Recorded(row.version, numbers["digest"], numbers["run"], serving, verdict, candidates)


def _candidates(product: Product, trained: Trained) -> tuple[Candidate, ...]:
    fitted = {one.name: one for one in trained.candidates}
    return tuple(
        Candidate(name=name, validation_crps=one.validation.mean_crps, remarks=one.model.remarks())
        if (one := fitted.get(name))
        else Candidate(name=name, validation_crps=None, problem=trained.failed.get(name, ""))
        for name in product.training.candidates
    )


def _bundle(snapshot: Snapshot, folds: Folds, trained: Trained, bundles: Path, at: datetime) -> Bundle:
    facts = {
        "product": snapshot.product.model_dump(mode="json"),
        "snapshot": snapshot.digest,
        "trained_at": at.isoformat(),
        "trained_until": folds.trained_until.isoformat(),
        "data_until": folds.holdout[0].isoformat(),
        "code_version": code_version(),
    }
    baselines = {one.name: one.model for one in trained.baselines}
    return write_bundle(bundles, trained.challenger.model, baselines, facts)


def _describe(run: Run, snapshot: Snapshot, folds: Folds, trained: Trained, at: datetime, observations: str) -> None:
    product = snapshot.product
    models = {one.name: one.model for one in (*trained.candidates, *trained.baselines)}
    options = {name: model.options() for name, model in models.items()}
    remarks = {name: "; ".join(told) for name, model in models.items() if (told := model.remarks())}
    run.log_parameters(
        {
            "product": product.name,
            "at": at.isoformat(),
            "challenger": trained.challenger.name,
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
            **{f"remarks.{name}": told for name, told in remarks.items()},
            **{f"failed.{name}": reason for name, reason in trained.failed.items()},
        }
    )
    run.log_text(json.dumps(options, indent=1), "options.json")  # parameters are cut where they are long
    series: dict[str, list[tuple[int, float]]] = {}
    for one in (*trained.candidates, *trained.baselines):
        series[f"{one.name}/validation_crps"] = [(0, one.validation.mean_crps)]
        series[f"{one.name}/seconds"] = [(0, one.seconds)]
        series[f"{one.name}/train_loss"] = [(epoch.epoch, epoch.train_loss) for epoch in one.epochs]
        series[f"{one.name}/validation_loss"] = [(epoch.epoch, epoch.validation_loss) for epoch in one.epochs]
        series |= _by_lead(one.name, trained.holdout[one.name], product.forecast.targets)
    run.log_metrics(series)
    run.log_text(skill_picture(snapshot, trained), "plots/holdout_skill.svg")
    run.log_lineage(
        _example(snapshot),
        table=observations,
        version=snapshot.table_version,
        digest=snapshot.digest,
        name=f"{product.name}-observations",
    )


def _by_lead(name: str, scores: Evaluation, targets: Sequence[str]) -> Mapping[str, list[tuple[int, float]]]:
    """Return the held-out scores by lead; of several variables those of each in its own unit beside the mean."""
    if len(targets) == 1:
        by_lead = {"crps": scores.crps_by_lead, **scores.by_lead()}
    else:
        by_lead = {"crps": scores.crps_by_lead, "coverage": scores.coverage_by_lead}
        for place, target in enumerate(targets):
            own = scores.of_target(place)
            told = {"crps": own.crps_by_lead, **own.by_lead()}
            by_lead |= {f"{score}/{target}": values for score, values in told.items()}
    return {f"{name}/holdout_{score}": list(enumerate(values, 1)) for score, values in by_lead.items()}


def _example(snapshot: Snapshot) -> pd.DataFrame:
    """A few of the newest rows, as the logged model takes them."""
    frames = snapshot.frames
    rows = []
    for place, location in enumerate(snapshot.locations.ids):
        row: dict[str, object] = {
            "valid_time": frames.times[-1],
            "location": location,
            "known_at": frames.times[-1],
        }
        for channel, name in enumerate(snapshot.task.channels):
            known = frames.mask[-1, channel, place]
            row[name] = float(frames.first[-1, channel, place]) if known else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)
