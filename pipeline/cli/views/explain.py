"""What the forecasts of a version rest on."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from pipeline.cli.console import minute, out, table
from pipeline.cli.views.retrain import shown_leads
from pipeline.jobs.explain import ExplainResult
from pipeline.report.basis import REDUNDANCY, attention_note, main_losses, without
from pipeline.report.basis_chart import SHOWN_ERRORS
from pipeline.training.explanation.facts import Explanation
from pipeline.training.explanation.report import report_losses

SHOWN_INFLUENCES = 5


def show(result: ExplainResult) -> None:
    """Print the losses without each group of inputs, what moves the newest forecast, and the attention."""
    explanation = result.explanation
    recorded = "computed now" if result.computed else "recorded when it was trained"
    out.print(f"{result.product}: what {explanation.model}, version {result.version}, rests on ({recorded})")
    out.print(escape(without(main_losses(report_losses(explanation), 0), 0, "at lead 1")))
    out.print(losses_table(explanation))
    span = f"{explanation.since:%Y-%m-%d} to {explanation.until:%Y-%m-%d}"
    out.print(
        f"rise of the mean CRPS ± two standard errors on {explanation.issues:,} issue times, {span}; "
        "[dim]what may be chance is dim[/]"
    )
    out.print(REDUNDANCY)
    for variable, units in result.units.items():
        found = [one for one in result.influences if one.variable == variable][:SHOWN_INFLUENCES]
        if not found:
            continue
        change = f">mean change, {units}" if units != "1" else ">mean change"
        shown = table(f"median of {variable} issued {minute(result.issue_time)}", change, ">largest", "where")
        for one in found:
            where = f"{one.place}, lead {one.lead}"
            numbers = f"{one.mean_change:.3g}", f"{one.largest_change:+.3g}"
            shown.add_row(f"without {escape(one.title)}", *numbers, escape(where))
        out.print(shown)
    if result.note:
        out.print(f"  [yellow]note[/] the newest forecast is not explained: {escape(result.note)}")
    attention = explanation.attention
    if attention:
        weights = ([(one.title, one.weight) for one in part] for part in (attention.frames, attention.locations))
        out.print(escape(attention_note(*weights)))


def losses_table(explanation: Explanation) -> Table:
    """Return a table of the losses, in the order of the groups, by lead."""
    leads = shown_leads(len(explanation.groups[0].loss_by_lead)) if explanation.groups else []
    shown = table("without", ">mean", *(f">lead {lead}" for lead in leads))
    for group in explanation.groups:
        cells = [_cell(group.loss, group.error)]
        cells += [_cell(group.loss_by_lead[lead - 1], group.error_by_lead[lead - 1]) for lead in leads]
        shown.add_row(escape(group.title), *cells, style=None if group.is_clear else "dim")
    return shown


def _cell(loss: float | None, error: float | None) -> str:
    if loss is None:
        return "–"
    shown = f"{round(loss, 3) + 0.0:+.1%}"  # -0.0 becomes 0.0
    return shown if error is None else f"{shown} ± {SHOWN_ERRORS * error:.1%}"
