"""Record a search as an MLflow run: its trials as steps of metrics, and what was found."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from pipeline.registry.tracking import Registry
from pipeline.times import stamp
from pipeline.training.search.results import SearchFindings


def record_search(
    registry: Registry, findings: SearchFindings, *, model: str, at: datetime, key: str, parameters: dict[str, str]
) -> str:
    """Return the id of the MLflow run of a search; a run with the same key is not repeated.

    Each finished trial is a step, named by its number in the study, of the metrics `trial/crps`, `trial/skill`,
    `trial/seconds`, and `trial/OPTION` for each number among its options.

    Args:
        registry: The runs of the product.
        findings: What was found.
        model: The model whose options were searched.
        at: Time of the search.
        key: Equal for equal results.
        parameters: What was searched.

    Raises:
        TrackingError: MLflow cannot be reached.
    """
    found = registry.find_run(key)
    if found is not None:
        return found
    best = {f"best/{name}": value for name, value in (findings.best.options if findings.best else {}).items()}
    with registry.run(f"search {model} {stamp(at)}", key) as run:
        run.log_parameters({**parameters, **best})
        run.log_metrics(_series(findings))
        run.log_text(findings.model_dump_json(indent=1), "search.json")
        if findings.snippet:
            run.log_text(findings.snippet, "options.yaml")
    return run.run_id


def _series(findings: SearchFindings) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for trial in findings.trials:
        if trial.crps is None or trial.skill is None:
            continue
        own = {"crps": trial.crps, "skill": trial.skill, "seconds": trial.seconds, **trial.options}
        for name, value in own.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                series[f"trial/{name}"].append((trial.number, float(value)))
    if findings.comparison is not None:
        shown = findings.comparison.model_dump(include={"skill", "standard_error", "p_value"})
        series |= {f"best/{name}": [(0, value)] for name, value in shown.items() if value is not None}
    return dict(series)
