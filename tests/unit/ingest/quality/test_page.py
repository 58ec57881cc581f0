from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import Product
from pipeline.errors import BatchError
from pipeline.ingest.quality.checks import check_rows
from pipeline.ingest.quality.page import quality_markdown, quality_page
from pipeline.locations import Locations
from tests.unit.ingest.conftest import MakeRows

SIX = datetime(2020, 1, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags and attributes of a page, and the text of its body."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def report(rows: pa.Table, product: Product, locations: Locations, now: datetime = SIX) -> dict[str, Any]:
    try:
        return check_rows(rows, product.feed, locations, now=now).report
    except BatchError as error:
        return error.report


def with_checks(product: Product, **checks: Any) -> Product:
    quality = product.feed.quality.model_validate({"checks": checks})
    return product.model_copy(update={"feed": product.feed.model_copy(update={"quality": quality})})


def test_the_page_tells_counts_and_reasons(make_rows: MakeRows, product: Product, locations: Locations) -> None:
    told = Page(quality_page(report(make_rows((SIX, "A", 1.0, 1.0), (SIX, "B", 99.0, 1.0)), product, locations)))
    assert "Data quality of test" in told.text
    assert "Some rows break an expectation and are refused" in told.text
    assert "given rows 2 accepted rows 1 refused rows 1 collapsed rows 0 complete 100.0%" in told.text
    assert "wind_speed … m s-1 is outside 0 to 60 e.g. 99.0 1" in told.text
    assert told.text.index("Found: rows are refused") < told.text.index("Passed")
    assert "Not tested Too few values: unit change, drift, order." in told.text
    assert "2 of 3 locations of the feed are present" in told.text


def test_a_sound_batch_says_so(make_rows: MakeRows, product: Product, locations: Locations) -> None:
    told = Page(quality_page(report(make_rows((SIX, "A", 1.0, 1.0)), product, locations)))
    assert "Every expectation holds" in told.text
    assert "Found:" not in told.text
    assert "details" not in told.tags


def test_a_warning_is_told_before_the_table(make_rows: MakeRows, product: Product, locations: Locations) -> None:
    rows = make_rows((SIX - 9 * HOUR, "A", 1.0, 1.0))
    told = Page(quality_page(report(rows, product, locations)))
    assert "All rows were accepted, with warnings" in told.text
    assert "Warnings The rows were stored. the newest value is of 2019-12-31 21:00 UTC, 9 steps late" in told.text
    assert "Found: a warning" in told.text


def test_a_refused_batch_says_why_first(make_rows: MakeRows, product: Product, locations: Locations) -> None:
    strict = with_checks(product, limits="batch")
    told = Page(quality_page(report(make_rows((SIX, "A", 99.0, 1.0)), strict, locations)))
    assert "The batch was refused given rows 1 accepted rows 0 refused rows 1 collapsed rows 0" in told.text
    assert "The rows were stored" not in told.text
    assert told.text.index("Why the batch was refused 1 of 1 rows: wind_speed") < told.text.index("Found: the batch")


def test_completeness_is_a_bar_for_each_of_a_few_locations(
    make_rows: MakeRows, product: Product, locations: Locations
) -> None:
    rows = make_rows((SIX - HOUR, "A", 1.0, 1.0), (SIX, "A", 1.0, 1.0), (SIX, "B", 1.0, 1.0))
    html = quality_page(report(rows, product, locations))
    assert 'style="width: 50.0%"' in html
    assert "B 50.0%" in Page(html).text
    many = report(rows, product, locations)
    del many["completeness"]["by_location"]
    assert "Completeness by location" not in Page(quality_page(many)).text


def test_the_page_needs_nothing_else_and_hostile_names_are_inert(
    make_rows: MakeRows, product: Product, locations: Locations
) -> None:
    told = Page(quality_page(report(make_rows((SIX, HOSTILE, 1.0, 1.0)), product, locations)))
    assert told.links == []
    assert not {"script", "link", "img", "iframe"} & set(told.tags)
    assert HOSTILE in told.text


def test_a_browser_runs_nothing_of_a_hostile_name(
    make_rows: MakeRows, product: Product, locations: Locations, tmp_path: Path
) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    page = tmp_path / "quality.html"
    page.write_text(quality_page(report(make_rows((SIX, HOSTILE, 1.0, 1.0)), product, locations)), encoding="utf-8")
    run = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run([*run, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    assert "<title>Data quality of test</title>" in done.stdout
    assert "owned" in Page(done.stdout).text


def test_the_markdown_has_a_row_for_each_check_worst_first(
    make_rows: MakeRows, product: Product, locations: Locations
) -> None:
    told = report(make_rows((SIX, "A", 1.0, 1.0), (SIX, "B", 99.0, 1.0)), product, locations)
    text = quality_markdown(told)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + len(told["checks"])
    assert lines[1] == "| the row is refused | wind&#95;speed &#8230; m s-1 is outside 0 to 60 | 1 | 99.0 |"
    assert all(line.startswith("| not found |") for line in lines[2:])
    assert (
        "**Some rows break an expectation and are refused**: 2 given, 1 accepted, 1 refused, 0 collapsed rows." in text
    )


def test_hostile_names_are_inert_in_the_markdown(make_rows: MakeRows, product: Product, locations: Locations) -> None:
    hostile = "a|b\n# c <b> [x](javascript:1) `d`"
    text = quality_markdown(report(make_rows((SIX, hostile, 1.0, 1.0)), product, locations))
    assert "a&#124;b &#35; c &#60;b&#62; &#91;x&#93;&#40;javascript&#58;1&#41; &#96;d&#96;" in text
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 1
