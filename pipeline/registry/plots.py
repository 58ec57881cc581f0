"""Plots of a retrain for its MLflow run."""

from __future__ import annotations

from pipeline.features.snapshot import Snapshot
from pipeline.report import LeadSkill, basis_svg, skill_svg
from pipeline.report.typography import lead_name
from pipeline.steps import mean_length
from pipeline.training.explanation.facts import Explanation
from pipeline.training.explanation.report import report_losses
from pipeline.training.fit import FittedModel
from pipeline.training.holdout import TrainingOutcome
from pipeline.training.metrics import nominal_coverage


def plot_skill(snapshot: Snapshot, outcome: TrainingOutcome, challenger: FittedModel) -> str:
    """Return the held-out skill of the challenger by lead as SVG."""
    product = snapshot.product
    ours = outcome.holdout[challenger.name]
    coverage, targets = ours.coverage_by_lead, product.forecast.targets
    counts = ours.intervals
    inner = list(zip(counts.nominal, counts.by_lead, strict=True))[1:] if counts else []  # the first is the widest
    entries = [
        LeadSkill(
            lead=(lead + 1) * mean_length(product.feed.step),
            name=lead_name(lead + 1, product.feed.step),
            crps=crps,
            baseline_crps=tuple(
                (name, scores.crps_by_lead[lead]) for name, scores in outcome.holdout.items() if name != challenger.name
            ),
            coverage=coverage[lead],
            count=ours.crps[:, lead].size,
            inner=tuple((nominal, by_lead[lead]) for nominal, by_lead in inner),
        )
        for lead, crps in enumerate(ours.crps_by_lead)
    ]
    title = f"{product.title or product.name}: {challenger.name} on held-out issue times"
    if len(targets) > 1:
        title += ", mean of variables relative to climatology"
    units = product.feed.variable(targets[0])[0] if len(targets) == 1 else ""
    return skill_svg(title, entries, units=units, nominal_coverage=nominal_coverage(snapshot.task.quantile_levels))


def plot_explanation(snapshot: Snapshot, explanation: Explanation) -> str:
    """Return the loss of accuracy without each group of inputs as SVG."""
    product = snapshot.product
    title = f"{product.title or product.name}: what {explanation.model} rests on"
    note = f"rise of the mean CRPS on {explanation.issues} issue times when a group of inputs is withheld"
    return basis_svg(title, report_losses(explanation), note=note)
