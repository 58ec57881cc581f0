"""The scores of matured forecasts."""

from __future__ import annotations

from rich.markup import escape

from pipeline.cli.console import minute, out, table
from pipeline.forecasting.verification.scores import PUBLISHED
from pipeline.jobs.verify import LiveStatus, VerifyResult


def show_live(product: str, live: LiveStatus) -> None:
    """Print what serves by a live verdict, and what to do; nothing while the champion has served all along."""
    if live.reason:
        colour = "green" if live.serving == "champion" else "yellow"
        out.print(f"{product}: the [{colour}]{live.serving}[/] serves: {escape(live.reason)}")
    if live.retrain_requested:
        out.print(f"  train again: `nightcast retrain {product}`; `nightcast up` does so by itself")


def show(result: VerifyResult) -> None:
    """Print the mean scores, a row for each variable, lead and model."""
    out.print(
        f"{result.product}: {result.forecasts} forecasts due by {minute(result.at)}, {result.scored:,} values scored"
    )
    show_live(result.product, result.live)
    if not result.scores:
        return
    shown = table("variable", ">lead", "model", ">CRPS", ">MAE", ">RMSE", ">bias", ">coverage", ">n")
    for row in result.scores:
        cells = (f"{value:.3f}" for value in (row.crps, row.mae, row.rmse, row.bias))
        style = "bold" if row.model == PUBLISHED else None
        shown.add_row(
            row.variable, str(row.lead), row.model, *cells, f"{row.coverage:.0%}", str(row.count), style=style
        )
    out.print(shown)
    if all(row.model == PUBLISHED for row in result.scores):
        out.print("  [yellow]note[/] no skill: no baseline forecast the same values")
    for variable, skill in result.refit_skill.items():
        out.print(
            f"{variable}: CRPS skill of the serving models, fitted on all data, over their judged fits: {skill:+.1%}"
        )
