"""The time step of a feed in a product file."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.steps import CalendarStep
from pipeline.config import FilesSource, Product
from pipeline.config.feed import Feed
from pipeline.config.steps import format_step, parse_step
from pipeline.errors import ConfigError, InvalidValueError
from tests.world import make_product


def _make(folder: Path, step: str, **time: Any) -> Product:
    stamps = {"columns": ["time"], **time}
    return make_product(folder, days=20, feed={"step": step, "source": {"time": stamps}})


def _stamps(product: Product) -> tuple[str, str]:
    source = product.feed.source
    assert isinstance(source, FilesSource)
    return source.time.label, source.time.zone


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("1h", timedelta(hours=1)),
        ("1d", timedelta(days=1)),
        ("1w", timedelta(days=7)),
        ("week", CalendarStep("week")),
        ("month", CalendarStep("month")),
        ("quarter in Europe/Dublin", CalendarStep("quarter", "Europe/Dublin")),
        ("day in Europe/Dublin", CalendarStep("day", "Europe/Dublin")),
    ],
)
def test_text_and_back(text: str, step: timedelta | CalendarStep) -> None:
    assert parse_step(text) == step
    assert parse_step(format_step(step)) == step
    assert format_step(step) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("monthly", "'monthly' is not a duration or a calendar step; write e.g. 10min, 1h, 1d, week, month, quarter"),
        ("1month", "'1month' is not a duration or a calendar step"),
        ("day", "a day in UTC is a fixed step; write 1d, or name a zone: day in Europe/Dublin"),
        ("day in UTC", "a day in UTC is a fixed step"),
        ("month in Dublin", "'Dublin' is not a time zone; use an IANA name"),
        ("31d", None),
        ("1.5d", "does not divide a day into equal steps"),
    ],
)
def test_other_steps_are_refused(text: str, problem: str | None) -> None:
    if problem is None:
        assert parse_step(text) == timedelta(days=31)
        return
    with pytest.raises(InvalidValueError, match=problem.replace(".", r"\.")):
        parse_step(text)


@pytest.mark.parametrize("step", ["month", "week", "day in Europe/Dublin"])
def test_a_product_survives_yaml_and_json(tmp_path: Path, step: str) -> None:
    product = _make(tmp_path, step)
    assert yaml.safe_load((tmp_path / "product.yaml").read_text())["feed"]["step"] == step
    dumped = product.model_dump(mode="json")
    assert dumped["feed"]["step"] == step
    again = Product.model_validate_json(json.dumps(dumped))
    assert again.within(product.folder) == product
    assert Feed.model_validate_json(product.feed.model_dump_json()).step == product.feed.step


@pytest.mark.parametrize(
    ("step", "time", "label", "zone"),
    [
        ("1d", {}, "end", "UTC"),
        ("month", {}, "start", "UTC"),
        ("month", {"label": "end"}, "end", "UTC"),
        ("month", {"resample": "3d"}, "end", "UTC"),
        ("day in Europe/Dublin", {}, "start", "Europe/Dublin"),
        ("day in Europe/Dublin", {"zone": "UTC"}, "start", "UTC"),
        ("month in Europe/Dublin", {"zone": "Asia/Tokyo", "label": "end"}, "end", "Asia/Tokyo"),
    ],
)
def test_a_calendar_step_gives_time_stamps_their_defaults(
    tmp_path: Path, step: str, time: dict[str, Any], label: str, zone: str
) -> None:
    product = _make(tmp_path, step, **time)
    assert _stamps(product) == (label, zone)
    assert _stamps(Product.model_validate_json(product.model_dump_json())) == (label, zone)


def test_the_json_schema_describes_steps() -> None:
    step = Product.model_json_schema()["$defs"]["Feed"]["properties"]["step"]
    accepted = [text for text in (*step["examples"], "1.5h", "month in UTC") if re.search(step["pattern"], text)]
    assert accepted == [*step["examples"], "1.5h", "month in UTC"]
    assert not [text for text in ("monthly", "1 month", "in month") if re.search(step["pattern"], text)]


def test_months_in_utc_of_local_time_stamps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"feed\.step: 'month' is counted in UTC, .* write month in Europe/Dublin"):
        _make(tmp_path, "month", zone="Europe/Dublin")


@pytest.mark.parametrize("step", ["month", "quarter"])
def test_a_format_without_a_day_needs_months(tmp_path: Path, step: str) -> None:
    assert isinstance(_make(tmp_path, step, format="%m/%Y").feed.step, CalendarStep)
    with pytest.raises(ConfigError, match=r"time\.format: '%m/%Y' is not a strptime format with a date; .*step: month"):
        _make(tmp_path, "week", format="%m/%Y")
