import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config import TimeStamps


def make(**fields: Any) -> TimeStamps:
    return TimeStamps.model_validate_json(json.dumps(fields))


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%Y%m%d", "%m/%d/%y", "%Y-%j %H", "%d %b %Y %I %p", "%s", ""])
def test_a_format_that_gives_a_day_is_taken(form: str) -> None:
    assert make(format=form).format == form


@pytest.mark.parametrize("form", ["%H:%M", "%d/%m", "%Y", "dd/mm/yyyy", "%Q", "%Y-%m-%d %", "%d/%m/%Y %s"])
def test_a_format_that_gives_none_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match=r"does not give a day in the codes of strptime; write e.g"):
        make(format=form)


@pytest.mark.parametrize("columns", [["date", "hour"], ["year", "month", "day", "hour"]])
def test_hours_may_be_counted_in_a_column_of_their_own(columns: list[str]) -> None:
    assert make(columns=columns, hours="1-24").hours == "1-24"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hours": "1-24"}, "hours: '1-24' counts hours in a column of their own; name it second, or fourth"),
        ({"hours": "1-24", "columns": ["year", "month", "day"]}, "hours: '1-24' counts hours in a column"),
        ({"hours": "1-24", "columns": ["d", "h"], "format": "%Y-%m-%d %H"}, "hours: '1-24' counts hours in a column"),
        (
            {"hours": "1-24", "columns": ["d", "h"], "label": "start"},
            "names hours by their end; leave out label: start",
        ),
        ({"format": "%s", "columns": ["a", "b"]}, "format: '%s' is one number; name one column"),
        ({"columns": ["a", "a"]}, "names a column twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**fields)
    assert words in str(caught.value)
