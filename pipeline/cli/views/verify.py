"""The scores of matured forecasts."""

from __future__ import annotations

from pipeline.cli.console import minute, out, table
from pipeline.jobs.verify import VerifyResult


def show(result: VerifyResult) -> None:
    """Print the mean scores, a row for each variable, lead and model."""
    out.print(
        f"{result.product}: {result.forecasts} forecasts due by {minute(result.at)}, {result.scored:,} values scored"
    )
    if not result.scores:
        return
    shown = table("variable", ">lead", "model", ">CRPS", ">MAE", ">RMSE", ">bias", ">coverage", ">n")
    for row in result.scores:
        cells = (f"{value:.3f}" for value in (row.crps, row.mae, row.rmse, row.bias))
        style = "bold" if row.model == "published" else None
        shown.add_row(
            row.variable, str(row.lead), row.model, *cells, f"{row.coverage:.0%}", str(row.count), style=style
        )
    out.print(shown)
    for variable, skill in result.refit_skill.items():
        out.print(
            f"{variable}: CRPS skill of the serving models, fitted on all data, over their judged fits: {skill:+.1%}"
        )
