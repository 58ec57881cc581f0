import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config import TimeStamps


def make(**fields: Any) -> TimeStamps:
    return TimeStamps.model_validate_json(json.dumps(fields))


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%Y%m%d", "%m/%d/%y", "%Y-%j %H", "%d %b %Y %I %p", "%s", ""])
def test_formats_with_a_date(form: str) -> None:
    assert make(format=form).format == form


@pytest.mark.parametrize("form", ["%H:%M", "%d/%m", "%Y", "dd/mm/yyyy", "%Q", "%Y-%m-%d %", "%d/%m/%Y %s"])
def test_formats_without_a_date(form: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a strptime format with a date; write e.g"):
        make(format=form)


@pytest.mark.parametrize("columns", [["date", "hour"], ["year", "month", "day", "hour"]])
def test_hours_in_a_separate_column(columns: list[str]) -> None:
    assert make(columns=columns, hours="1-24").hours == "1-24"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hours": "1-24"}, "hours: '1-24' needs a separate hour column; name it second, or fourth"),
        ({"hours": "1-24", "columns": ["year", "month", "day"]}, "hours: '1-24' needs a separate hour column"),
        (
            {"hours": "1-24", "columns": ["d", "h"], "format": "%Y-%m-%d %H"},
            "hours: '1-24' needs a separate hour column",
        ),
        (
            {"hours": "1-24", "columns": ["d", "h"], "label": "start"},
            "labels hours by their end; leave out label: start",
        ),
        ({"format": "%s", "columns": ["a", "b"]}, "format: '%s' is a single number; name one column"),
        ({"columns": ["a", "a"]}, "names a column twice"),
    ],
)
def test_mistakes(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    assert words in str(caught.value)
