"""Reasons counted by kind, and read from rows with and without stored data."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from expectations.reasons import Reason, explain, summarise, to_json
from pipeline.ingest.quality.earlier_reasons import parse_reasons
from pipeline.ingest.quality.reasons import count_reasons, has_reason, is_whole_payload, reasons_of
from pipeline.ingest.sources.base import REFUSED_SCHEMA, RefusedRow, refused_table

WIND = Reason("limits", "wind_speed", 1048.4, "m s-1", low=0.0, high=60.0)
UNKNOWN = Reason("location", value="D")


def refused(*reasons: tuple[Reason, ...]) -> pa.Table:
    rows: list[RefusedRow] = [(np.datetime64("2020-01-01"), "A", "{}", each) for each in reasons]
    return refused_table(rows)


def test_reasons_are_counted_by_kind_most_frequent_first() -> None:
    counts = count_reasons(
        refused(
            (WIND,),
            (Reason("limits", "wind_speed", -1e-05, "m s-1", low=0.0, high=60.0),),
            (Reason("limits", "wind_speed", "inf", "m s-1", low=0.0, high=60.0),),
            (Reason("ragged_line", value=3, measure=2, expected="3"),),
            (Reason("ragged_line", value=14, measure=5, expected="3"),),
            (UNKNOWN, WIND),
            (Reason("future", "valid_time", "2020-01-01 14:00:00+00:00", high="2020-01-01 13:00:00"),),
        )
    )
    assert list(counts.items()) == [
        ("wind_speed … m s-1 is outside 0 to 60", 3),
        ("line … has … columns, not 3", 2),
        ("unknown location …; wind_speed … m s-1 is outside 0 to 60", 1),
        ("valid_time … is in the future, after …", 1),
    ]


def test_rows_with_and_without_stored_data_are_counted_together() -> None:
    rows = [
        {"reason": explain([WIND]), "reasons": to_json([WIND])},
        {"reason": "wind_speed 99 m s-1 is outside 0 to 60", "reasons": None},
        {"reason": "location 'E' is no station of the feed", "reasons": None},
        {"reason": explain([UNKNOWN]), "reasons": to_json([UNKNOWN])},
        {"reason": "something else; of a plugin", "reasons": None},
    ]
    assert count_reasons(pa.Table.from_pylist(rows, schema=pa.schema(list(REFUSED_SCHEMA)[3:]))) == {
        "unknown location …": 2,
        "wind_speed … m s-1 is outside 0 to 60": 2,
        "something else; of a plugin": 1,
    }


def test_no_refused_rows_have_no_reasons() -> None:
    assert count_reasons(refused()) == {}


@pytest.mark.parametrize(
    ("sentence", "reasons"),
    [
        ("line 3 has 2 columns, not 3", [Reason("ragged_line", value=3, measure=2, expected="3")]),
        ("the row is neither an object nor a list", [Reason("malformed_row")]),
        ("time: no time stamp", [Reason("missing_time", "time")]),
        ("time: 'x; y' is no time stamp", None),
        ("time: 'x' is no time stamp as in '%Y'", [Reason("invalid_time", "time", "x", expected="%Y")]),
        (
            "published: no time stamp, so that it is not known when the row became known",
            [Reason("missing_known_at", "published")],
        ),
        (
            "2020-09-27 02:00 does not exist in Pacific/Auckland (clocks went forward)",
            [Reason("nonexistent_time", value="2020-09-27 02:00", expected="Pacific/Auckland")],
        ),
        ("'1066-10-14' is outside the years 1700 to 2261", [Reason("time_out_of_range", value="1066-10-14")]),
        ("name: no variable is named", [Reason("missing_variable", "name")]),
        ('wind_speed: "it\'s" is no number', [Reason("invalid_number", "wind_speed", "it's")]),
        ("valid_time is missing", [Reason("missing", "valid_time")]),
        ("location 'D' is no station of the feed", [UNKNOWN]),
        (
            "valid_time 2020-01-01 00:30:00+00:00 is off the grid of one every 3600 s",
            [Reason("grid", "valid_time", "2020-01-01 00:30:00+00:00", expected="3600 s")],
        ),
        (
            "valid_time 1066-01-01 00:00:00+00:00 is before 1850-01-01 00:00:00",
            [Reason("past", "valid_time", "1066-01-01 00:00:00+00:00", low="1850-01-01 00:00:00")],
        ),
        (
            "valid_time 2020-01-01 14:00:00+00:00 is in the future, after 2020-01-01 13:00:00",
            [Reason("future", "valid_time", "2020-01-01 14:00:00+00:00", high="2020-01-01 13:00:00")],
        ),
        (
            "known_at 2020-01-01 00:00:00+00:00 is before the valid_time",
            [Reason("early", "known_at", "2020-01-01 00:00:00+00:00")],
        ),
        (
            "known_at 1700-01-01 is outside 1850-01-01 00:00:00 to 2020-01-01 13:00:00",
            [Reason("known", "known_at", "1700-01-01", low="1850-01-01 00:00:00", high="2020-01-01 13:00:00")],
        ),
        ("pedestrian_count 3e+05 is above 20000 or not finite", [Reason("limits", "pedestrian_count", 3e5, high=2e4)]),
        ("x -1 mm is below 0 or not finite", [Reason("limits", "x", -1.0, "mm", low=0.0)]),
        (
            "wind_speed 7.5 m s-1 is the same for 20 values, more than 12",
            [Reason("persistence", "wind_speed", 7.5, "m s-1", high=12.0, measure=20.0)],
        ),
        (
            "wind_speed 40 m s-1 is a change by 1.5e+03 a step, more than 20",
            [Reason("step", "wind_speed", 40.0, "m s-1", high=20.0, measure=1500.0)],
        ),
        (
            "wind_speed 40 m s-1 is 16.2 sigmas from what its neighbours let expect, more than 6",
            [Reason("buddy", "wind_speed", 40.0, "m s-1", high=6.0, measure=16.2)],
        ),
        (
            "a, b 1, 2 breaks expect_it (max_value 3)",
            [Reason("custom", "a, b", "1, 2", expected="expect_it (max_value 3)")],
        ),
        ("duplicate key, a later row of the payload differs", [Reason("unique")]),
        (
            "location 'D' is no station of the feed; wind_speed 1048.4 m s-1 is outside 0 to 60",
            [UNKNOWN, WIND],
        ),
        ("the whole payload: a.csv: no rows; look at it", [Reason("payload", value="a.csv: no rows; look at it")]),
    ],
)
def test_the_sentences_of_earlier_releases_are_read(sentence: str, reasons: list[Reason] | None) -> None:
    assert list(parse_reasons(sentence)) == (reasons or [Reason("text", value=sentence)])


def test_a_whole_payload_is_told_from_a_row_without_a_key() -> None:
    line = Reason("ragged_line", value=3, measure=2, expected="3")
    for reason, whole in ((Reason("payload", value="no rows"), True), (line, False)):
        assert is_whole_payload({"reason": "", "reasons": to_json([reason])}) == whole
    assert is_whole_payload({"reason": "the whole payload: a.csv: no rows", "reasons": None})
    assert not is_whole_payload({"reason": "line 3 has 2 columns, not 3"})


def test_a_row_is_found_by_its_own_sentence_or_by_the_listed_one() -> None:
    row = {"reason": "wind_speed: 'calm' is no number", "reasons": None}
    for text in ("is no number", "calm", "wind_speed: … is not a number"):
        assert has_reason(row, text)
    assert not has_reason(row, "outside")
    assert summarise(reasons_of(row)) == "wind_speed: … is not a number"
