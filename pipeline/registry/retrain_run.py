"""What the MLflow run of a retrain shows: the data from its start, each loss as it falls, then the scores."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

import pandas as pd

from models.base import Epoch
from pipeline.features.snapshot import Snapshot
from pipeline.registry.plots import plot_explanation, plot_skill
from pipeline.registry.run import Run
from pipeline.registry.tracking import TrackingError
from pipeline.training.decision import Decision
from pipeline.training.evaluate import Evaluation
from pipeline.training.explanation.facts import Explanation
from pipeline.training.folds import Folds
from pipeline.training.holdout import TrainingOutcome
from pipeline.version import code_version

log = logging.getLogger(__name__)


def log_data(run: Run, snapshot: Snapshot, folds: Folds, *, at: datetime, observations: str) -> None:
    """Log what a retrain learns from, before it begins; `observations` is the path or URI of the table.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    product, newest = snapshot.product, folds.newest
    run.log_parameters(
        {
            "product": product.name,
            "at": at.isoformat(),
            "code_version": code_version(),
            "snapshot": snapshot.digest,
            "table_version": snapshot.table_version,
            "folds": len(folds.folds),
            "train_issues": len(newest.train),
            "train_since": newest.train[0].isoformat(),
            "validation_issues": len(newest.validation),
            "validation_since": newest.validation[0].isoformat(),
            "holdout_issues": len(folds.holdout),
            "holdout_since": folds.holdout[0].isoformat(),
            "independent_cases": folds.cases,
            **{f"training.{name}": value for name, value in product.training.model_dump(mode="json").items()},
            **{f"forecast.{name}": value for name, value in product.forecast.model_dump(mode="json").items()},
        }
    )
    run.log_lineage(
        example_rows(snapshot),
        table=observations,
        version=snapshot.table_version,
        digest=snapshot.digest,
        name=f"{product.name}-observations",
    )


class LossLog:
    """Logs the losses of each epoch as it ends. They are for watching, so a lost server does not stop the training."""

    def __init__(self, run: Run) -> None:
        self._run, self._lost = run, False

    def add(self, label: str, epoch: Epoch) -> None:
        """Log an epoch of the fit with this label, such as `ridge-var, fold 2 of 4`."""
        if self._lost:
            return
        name = label.replace(", ", "/")
        losses = {f"{name}/train_loss": epoch.train_loss, f"{name}/validation_loss": epoch.validation_loss}
        try:
            self._run.log_metrics({metric: [(epoch.epoch, loss)] for metric, loss in losses.items()})
        except TrackingError as error:
            self._lost = True
            log.warning("%s; the losses of this retrain are no longer logged", error)


def log_results(
    run: Run,
    snapshot: Snapshot,
    outcome: TrainingOutcome,
    decisions: Sequence[Decision],
    explanation: Explanation | None,
) -> None:
    """Log the fitted models, their scores, the verdicts of the gate, and what the forecasts rest on.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    models = {one.name: one.model for one in outcome.fitted}
    options = {name: model.options() for name, model in models.items()}
    remarks = {name: "; ".join(lines) for name, model in models.items() if (lines := model.remarks())}
    run.log_parameters(
        {
            "challenger": decisions[0].fitted.name,
            **{f"options.{name}": json.dumps(chosen) for name, chosen in options.items()},
            **{f"remarks.{name}": text for name, text in remarks.items()},
            **{f"failed.{name}": reason for name, reason in outcome.failed.items()},
        }
    )
    run.log_text(json.dumps(options, indent=1), "options.json")  # parameters are cut where they are long
    series: dict[str, list[tuple[int, float]]] = {}
    for one in outcome.fitted:
        series[f"{one.name}/validation_crps"] = [(0, one.validation.mean_crps)]
        series[f"{one.name}/holdout_crps_mean"] = [(0, outcome.holdout[one.name].mean_crps)]
        series[f"{one.name}/seconds"] = [(0, one.cost.fit)]
        series |= _by_lead(one.name, outcome.holdout[one.name], snapshot.product.forecast.targets)
    run.log_metrics(series)
    run.log_text(plot_skill(snapshot, outcome, decisions[0].fitted), "plots/holdout_skill.svg")
    gate = {one.verdict.kind: one.verdict.model_dump(mode="json") for one in decisions}
    run.log_text(json.dumps(gate, indent=1), "gate.json")
    if explanation is not None:
        run.log_text(explanation.model_dump_json(indent=1), "explanation.json")
        run.log_text(plot_explanation(snapshot, explanation), "plots/explanation.svg")


def example_rows(snapshot: Snapshot) -> pd.DataFrame:
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
    if scores.intervals is not None:
        columns = zip(scores.intervals.nominal, scores.intervals.by_lead, strict=True)
        by_lead |= {f"coverage_{100 * nominal:g}": values for nominal, values in columns}
    return {f"{name}/holdout_{score}": list(enumerate(values, 1)) for score, values in by_lead.items()}
