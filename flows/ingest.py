"""The flow `ingest`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import State
from prefect.states import Completed, Failed

from flows import artifacts
from flows.artifacts import counts, minute, table
from flows.running import make_flow
from pipeline.ingest.quality.page import quality_markdown
from pipeline.jobs.ingest import FeedResult, IngestResult, worst_report
from pipeline.markdown import inert
from pipeline.workspace import Workspace


def describe(result: IngestResult) -> tuple[str, str]:
    """Return Markdown of what was stored and what was refused, and one line about it."""
    parts = [
        f"Ingest at {minute(result.at)}; newest valid time {result.newest_period or minute(result.newest)}; "
        f"table version {result.version}.",
        counts([("new payloads", result.payloads), *row_counts(result)]),
        *problems(result),
    ]
    for name, covariate in result.covariates.items():
        parts.append(f"## {inert(name)}")
        parts.append(f"{covariate.added:,} new rows, newest {covariate.newest_period or minute(covariate.newest)}")
        parts += problems(covariate)
    return "\n\n".join(parts), f"{result.added:,} new, {result.revised:,} revised, {result.refused:,} refused rows"


def row_counts(result: FeedResult) -> list[tuple[str, int]]:
    """Return the numbers of rows of a feed, with their names."""
    return [
        ("rows with a new key", result.added),
        ("rows that revise a known value", result.revised),
        ("rows known already", result.unchanged),
        ("rows in quarantine", result.refused),
    ]


def problems(result: FeedResult) -> list[str]:
    """Return Markdown of the refused rows, the warnings and the faults of a feed; empty if there are none."""
    parts = []
    if result.reasons:
        ordered = sorted(result.reasons.items(), key=lambda item: -item[1])
        parts += ["### Refused", table(("reason", "rows"), [(reason, f"{count:,}") for reason, count in ordered])]
    if result.warnings:
        parts += ["### Warnings", table(("warning",), [(line,) for line in result.warnings])]
    if result.faults:
        parts += ["### Not fetched or not usable", table(("payload",), [(line,) for line in result.faults])]
    return parts


def finish(ws: Workspace, result: IngestResult) -> State[Any]:
    """Publish the counts and the validation report, and return the final state."""
    artifacts.publish(ws.product.name, "ingest", *describe(result))
    publish_quality(ws, result.at)
    faults = [*result.faults, *(fault for one in result.covariates.values() for fault in one.faults)]
    if faults:
        return Failed(message=f"Upstream failure: {faults[0]}; {len(faults)} in all, the other payloads are stored")
    return Completed(
        message=f"{result.added:,} new, {result.revised:,} revised, {result.refused:,} refused rows; "
        f"newest {result.newest_period or minute(result.newest)}"
    )


def publish_quality(ws: Workspace, since: datetime) -> None:
    """Publish the validation report of the worst payload ingested since an instant, if there is one."""
    report = worst_report(ws, since=since)
    if report is not None:
        refused = report["counts"]["refused"]
        artifacts.publish(ws.product.name, "quality", quality_markdown(report), f"{refused:,} rows refused")


ingest = make_flow("ingest", finish, fail=publish_quality)
