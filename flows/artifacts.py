"""Markdown artifacts of a run in Prefect: one per job and product, under a key that does not change.

Names and reasons come from outside, so all text is escaped: it is shown as it is, and is neither markup nor script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from pipeline.markdown import inert


def publish(product: str, kind: str, markdown: str, description: str) -> None:
    """Create or replace an artifact. A failure is logged only, because the job itself is done."""
    key = f"{product}-{kind}".replace("_", "-")
    try:
        create_markdown_artifact(key=key, markdown=markdown, description=description)
    except Exception as error:
        get_run_logger().warning("The artifact %s could not be created: %s", key, error)


def minute(instant: datetime | None) -> str:
    """Return a time to the minute, in UTC; "never" for None."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if instant else "never"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, markdown_columns: int = 0) -> str:
    """Return a Markdown table of escaped cells; the first `markdown_columns` columns are Markdown already."""
    rule = ["---", *(["---:"] * (len(head) - 1))]
    shown = ([cell if at < markdown_columns else inert(cell) for at, cell in enumerate(row)] for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *shown))


def counts(rows: Iterable[tuple[str, int]]) -> str:
    """Return a table of numbers."""
    return table(("", "count"), [(name, f"{count:,}") for name, count in rows])
