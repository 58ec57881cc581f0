"""Record a backtest as an MLflow run with the numbers and the page."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.registry.tracking import Registry
from pipeline.training.backtest.results import BacktestScores


def record_backtest(
    registry: Registry,
    scores: BacktestScores,
    *,
    name: str,
    key: str,
    parameters: dict[str, str],
    files: dict[str, str],
) -> str:
    """Return the id of the MLflow run of a backtest; a run with the same key is not repeated.

    Args:
        registry: The runs of the product.
        scores: The numbers.
        name: Name of the run.
        key: Equal for equal results.
        parameters: What was compared.
        files: Artifacts, text by name.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    found = registry.find_run(key)
    if found is not None:
        return found
    series = dict(_series(scores))
    with registry.run(name, key) as run:
        run.log_parameters(parameters)
        run.log_metrics(series)
        for path, text in files.items():
            run.log_text(text, path)
    return run.run_id


def _series(scores: BacktestScores) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Yield the metrics: overall scores at step 0, by lead at the lead."""
    variables = {one.variable for one in scores.scores}
    for one in scores.scores:
        if one.by != "overall":
            continue
        where = f"{one.model}/backtest_{{}}" + (f"/{one.variable}" if len(variables) > 1 else "")
        own = [it for it in scores.scores if (it.model, it.variable, it.by) == (one.model, one.variable, "lead")]
        for score in ("crps", "mae", "rmse", "bias"):
            points = [(0, getattr(one, score)), *((int(it.group), getattr(it, score)) for it in own)]
            yield where.format(score), points
            yield where.format(f"{score}_mean"), points[:1]  # where MLflow shows the newest step alone
        if one.coverage:
            points = [(0, one.coverage[0]), *((int(it.group), it.coverage[0]) for it in own)]
            yield where.format("coverage"), points
    for skill in scores.skill:
        if skill.lead is None:
            where = f"/{skill.variable}" if len(variables) > 1 else ""
            yield f"{skill.model}/backtest_skill_against_{skill.reference}{where}", [(0, skill.skill)]
