"""What a run leaves to look at in Prefect: one Markdown artifact a job and product, under a key that stays.

Names and reasons come from outside, so every text is made inert: it shows as it is, and is neither markup nor
script.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from prefect.variables import Variable

from pipeline.jobs.backfill import BackfillResult
from pipeline.jobs.forecast import ForecastResult
from pipeline.jobs.ingest import FeedResult, IngestResult
from pipeline.jobs.maintain import MaintainResult
from pipeline.jobs.retrain import RetrainResult
from pipeline.jobs.verify import VerifyResult

PAGES_VARIABLE = "nightcast_pages"
"""Prefect variable with the address of the report pages, where somebody serves them."""
MAX_PICTURE_BYTES = 200_000

Described = tuple[str, str]
"""Markdown, and one line that describes it."""


def publish(product: str, kind: str, markdown: str, about: str) -> None:
    """Leave an artifact. A failure to do so is logged: the job itself is done."""
    try:
        create_markdown_artifact(key=f"{product}-{kind}".replace("_", "-"), markdown=markdown, description=about)
    except Exception as error:
        get_run_logger().warning("The artifact of %s could not be left: %s", kind, error)


def of_ingest(result: IngestResult) -> Described:
    """Describe what was taken in, and what was refused and why."""
    counts = [
        ("payloads not seen before", result.payloads),
        ("rows with a new key", result.accepted),
        ("rows that revise a known value", result.revised),
        ("rows known already", result.unchanged),
        ("rows in quarantine", result.refused),
    ]
    parts = [
        f"Ingest at {minute(result.at)}; newest valid time {minute(result.newest)}; table version {result.version}.",
        table(("", "count"), [(name, f"{count:,}") for name, count in counts]),
    ]
    parts += _told(result)
    for name, one in result.covariates.items():
        parts += [f"## {inert(name)}", f"{one.accepted:,} new rows, newest {minute(one.newest)}", *_told(one)]
    about = f"{result.accepted:,} new, {result.revised:,} revised, {result.refused:,} refused rows"
    return "\n\n".join(parts), about


def of_backfill(result: BackfillResult) -> Described:
    """Describe what was taken in of a range of the past."""
    counts = [
        ("pieces of this part", result.pieces),
        ("pieces finished before", result.repeated),
        ("rows with a new key", result.accepted),
        ("rows that revise a known value", result.revised),
        ("rows known already", result.unchanged),
        ("rows in quarantine", result.refused),
    ]
    span = f"{minute(result.since)} to {minute(result.until)}, part {result.part[0]} of {result.part[1]}"
    parts = [span, table(("", "count"), [(name, f"{count:,}") for name, count in counts]), *_told(result)]
    return "\n\n".join(parts), f"{result.accepted:,} new rows of {span}"


def of_maintain(result: MaintainResult) -> Described:
    """Describe what maintenance found and did."""
    rows = [
        (one.table, str(one.version), str(one.compacted), str(one.removed), str(len(one.damage)))
        for one in result.tables
    ]
    parts = [
        f"Maintenance at {minute(result.at)}; {result.payloads:,} raw payloads checked.",
        table(("table", "version", "files merged", "files removed", "damaged"), rows),
    ]
    if result.damage:
        parts += ["### Damage", table(("what does not match its digest",), [(line,) for line in result.damage])]
    about = f"{len(result.damage)} damaged" if result.damage else "every digest matches"
    return "\n\n".join(parts), about


def _told(result: FeedResult) -> list[str]:
    """What was refused, what was odd, and what could not be had, as far as there is any."""
    parts = []
    if result.reasons:
        ordered = sorted(result.reasons.items(), key=lambda item: -item[1])
        parts += ["### Refused", table(("reason", "rows"), [(reason, f"{count:,}") for reason, count in ordered])]
    if result.warnings:
        parts += ["### Odd, and kept", table(("warning",), [(line,) for line in result.warnings])]
    if result.faults:
        parts += ["### Could not be had or used", table(("payload",), [(line,) for line in result.faults])]
    return parts


def of_retrain(result: RetrainResult) -> Described:
    """Describe the gate's verdict, and the numbers behind it."""
    verdict = result.verdict
    rivals = [
        (it.rival, f"{it.crps:.4g}", f"{it.skill:+.1%}", f"{it.p_value:.3g}", "yes" if it.beaten else "no")
        for it in verdict.rivals
    ]
    leads = range(1, len(verdict.crps_by_lead) + 1)
    by_lead = [
        ("**challenger**", verdict.crps_by_lead),
        *((inert(it.rival), it.crps_by_lead) for it in verdict.rivals),
    ]
    parts = [
        f"## {'Promoted' if verdict.promoted else 'Champion kept'}\n\n{inert(verdict.reason)}",
        f"Challenger: {inert(verdict.challenger)}, version {result.version}. "
        f"{verdict.issues:,} held-out issue times from {minute(verdict.since)} to {minute(verdict.until)}. "
        f"CRPS {verdict.crps:.4g}; with a quarter of the stations silent {verdict.outage_crps:.4g}. "
        f"The widest interval held {verdict.coverage:.1%} of the truths, "
        f"nominally {verdict.nominal_coverage:.1%}.",
        table(("rival", "CRPS", "skill of the challenger", "p", "beaten"), rivals),
        "### CRPS by lead",
        table(
            ("model", *map(str, leads)),
            [(name, *(f"{it:.4g}" for it in row)) for name, row in by_lead],
            ready=1,
        ),
        f"Version in service: {result.champion or 'none'}. Snapshot {inert(result.snapshot[:16])}, "
        f"checkpoint {inert(result.digest[:16])}, MLflow run {inert(result.run_id)}.",
    ]
    return "\n\n".join(parts), inert(verdict.reason)


def of_forecast(title: str, result: ForecastResult) -> Described:
    """Describe a forecast with its picture, and a link to its page where one is served."""
    version = f", version {result.version}" if result.version else ""
    silent = f" Silent stations: {inert(', '.join(result.missing))}." if result.missing else ""
    page = Variable.get(PAGES_VARIABLE, default=None)
    name = "latest" if not result.folder.name else result.folder.name
    level = f"fallback level {result.fallback_level} ({result.fallback_level.label})"
    parts = [
        f"## {inert(title)}",
        _picture(result.folder / "forecast.svg"),
        f"Issued {minute(result.issue_time)}, {level}. "
        f"Model {inert(result.model)}{version}; input {result.input_age_hours:g} h old.{silent}",
        inert("; ".join(result.notes)),
        f"[Open the report]({page}/{result.product}/{name}/report.html)" if page else "",
    ]
    return "\n\n".join(part for part in parts if part), f"Issued {minute(result.issue_time)}, {level}"


def of_verify(result: VerifyResult) -> Described:
    """Describe the scores by model, variable and lead."""
    rows = [
        (
            it.model,
            it.variable,
            str(it.lead),
            f"{it.count:,}",
            *(f"{value:.4g}" for value in (it.crps, it.mae, it.rmse, it.bias)),
            f"{it.coverage:.1%}",
        )
        for it in result.scores
    ]
    head = ("model", "variable", "lead", "values", "CRPS", "MAE", "RMSE", "bias", "coverage")
    about = f"{result.scored:,} values of {result.forecasts:,} forecasts, scored at {minute(result.at)}"
    return f"{about}.\n\n{table(head, rows)}", about


def minute(instant: datetime | None) -> str:
    """Return an instant as people read it, in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if instant else "never"


def inert(text: str) -> str:
    """Return text that shows as itself in Markdown and HTML: one line, no control or direction characters."""
    kept = (" " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C")
    return "".join(char if char.isalnum() or char in " ,.-" else f"&#{ord(char)};" for char in kept)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, ready: int = 0) -> str:
    """Return a Markdown table of inert cells, of which the first `ready` columns are Markdown already."""
    rule = ["---", *(["---:"] * (len(head) - 1))]
    shown = ([cell if at < ready else inert(cell) for at, cell in enumerate(row)] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *shown))


def _picture(path: Path) -> str:
    """Return the picture as part of the text: it stays with the run, and a browser runs no script in it."""
    if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
        return ""
    return f"![Fan chart of the forecast](data:image/svg+xml;base64,{b64encode(path.read_bytes()).decode()})"
