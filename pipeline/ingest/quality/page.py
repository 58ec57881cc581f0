"""The validation report for people: a self-contained HTML page, and a Markdown table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal

from pipeline.markdown import inert

if TYPE_CHECKING:
    from jinja2 import Template

_CONSEQUENCE = {"row": "the row is refused", "batch": "the batch is refused", "warn": "a warning"}


@dataclass(frozen=True)
class _Group:
    """Checks with one outcome, a section of the page."""

    title: str
    text: str
    tone: str
    unit: str
    checks: list[Mapping[str, Any]]
    folds: Literal["", "open", "closed"] = ""


def quality_page(report: Mapping[str, Any]) -> str:
    """Return the report of `check_rows` as HTML, worst first; names and values in it are shown as plain text."""
    words, tone = _verdict(report)
    return _template().render({**report, "groups": _groups(report), "verdict_words": words, "tone": tone})


def quality_markdown(report: Mapping[str, Any]) -> str:
    """Return the report of `check_rows` as Markdown, worst first; names and values in it are shown as plain text."""
    counts = ", ".join(f"{count:,} {name}" for name, count in report["counts"].items())
    lines = [f"# Data quality of {inert(report['product'])}", "", f"**{_verdict(report)[0]}**: {counts} rows."]
    lines += [f"Checked {report['checked_at']} by Great Expectations {report['great_expectations_version']}.", ""]
    for title, sentences in (("Refused as a whole", report["refusals"]), ("Warnings", report["warnings"])):
        if sentences:
            lines += [f"## {title}", "", *(f"- {inert(each)}" for each in sentences), ""]
    lines += ["| outcome | fault | found | examples |", "|---|---|---:|---|"]
    for group in _groups(report):
        for check in group.checks:
            examples = ", ".join(map(_example, check["examples"])) if not check["success"] else ""
            outcome = "not found" if check["success"] else _CONSEQUENCE[check["severity"]]
            lines.append(f"| {outcome} | {inert(check['reason'])} | {check['unexpected']:,} | {inert(examples)} |")
    return "\n".join(lines) + "\n"


@cache
def _template() -> Template:
    from jinja2 import Environment  # only needed once a batch has been checked

    pages = Environment(autoescape=True)
    pages.filters["example"] = _example
    pages.filters["consequence"] = _CONSEQUENCE.__getitem__
    pages.filters["spaced"] = lambda name: str(name).replace("_", " ")
    return pages.from_string(files("pipeline.ingest.quality").joinpath("page.html.j2").read_text(encoding="utf-8"))


def _verdict(report: Mapping[str, Any]) -> tuple[str, str]:
    if report["verdict"] == "refused":
        return "The batch was refused", "bad"
    if report["counts"]["refused"]:
        return "Some rows break an expectation and are refused", "bad"
    if report["warnings"]:
        return "All rows were accepted, with warnings", "warn"
    return "Every expectation holds", "good"


def _groups(report: Mapping[str, Any]) -> list[_Group]:
    checks = report["checks"]

    def of(*severities: str) -> list[Mapping[str, Any]]:
        broken = [each for each in checks if not each["success"] and each["severity"] in severities]
        return sorted(broken, key=lambda each: -each["unexpected"])

    groups = [
        _Group("Found: the batch is refused", "Nothing of it was stored.", "bad", "Found", of("batch")),
        _Group("Found: rows are refused", "They are in quarantine with the reason.", "bad", "Rows", of("row")),
        _Group("Found: a warning", "Described above.", "warn", "Found", of("warn")),
        _Group(
            "Passed",
            "These checks found no fault.",
            "good",
            "Found",
            [each for each in checks if each["success"]],
            folds="open" if all(each["success"] for each in checks) else "closed",
        ),
    ]
    return [group for group in groups if group.checks]


def _example(example: object) -> str:
    if isinstance(example, Mapping):
        return " ".join(map(str, example.values()))
    return example if isinstance(example, str) else json.dumps(example)
