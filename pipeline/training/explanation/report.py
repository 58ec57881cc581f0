"""An explanation as the facts that pages and plots draw."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report import InputLoss
from pipeline.training.explanation.facts import Explanation


def report_losses(explanation: Explanation) -> tuple[InputLoss, ...]:
    """Return the losses of an explanation, NaN where unknown."""
    return tuple(
        InputLoss(
            kind=group.kind,
            title=group.title,
            loss=_number(group.loss),
            error=_number(group.error),
            is_clear=group.is_clear,
            by_lead=_numbers(group.loss_by_lead),
            error_by_lead=_numbers(group.error_by_lead),
        )
        for group in explanation.groups
    )


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(map(_number, values))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
