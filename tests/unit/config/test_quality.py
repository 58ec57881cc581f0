import json
from datetime import date, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pipeline.config.quality import Quality


def quality(**fields: Any) -> Quality:
    return Quality.model_validate_json(json.dumps(fields))


def test_everything_has_a_default() -> None:
    told = quality()
    assert told.oldest == date(1850, 1, 1)
    assert told.memory == timedelta(days=28)
    severity = {name: getattr(told.checks, name).severity for name in type(told.checks).model_fields}
    assert {name for name, each in severity.items() if each == "batch"} == {"unit_change"}
    assert {name for name, each in severity.items() if each == "row"} == {
        "limits",
        "location",
        "grid",
        "past",
        "future",
        "known",
        "unique",
    }
    assert "off" not in severity.values()


@pytest.mark.parametrize(
    ("written", "severity"),
    [
        (False, "off"),
        ("off", "off"),
        (True, "warn"),
        ("batch", "batch"),
        ({}, "warn"),
        ({"severity": "batch"}, "batch"),
    ],
)
def test_a_check_may_be_written_short(written: object, severity: str) -> None:
    assert quality(checks={"drift": written}).checks.drift.severity == severity


def test_limits_of_jumps_stand_beside_the_severity() -> None:
    jump = quality(checks={"jump": {"wind_speed": 20, "severity": "row"}}).checks.jump
    assert (jump.at_most, jump.severity) == ({"wind_speed": 20.0}, "row")
    assert quality(checks={"jump": {"at_most": {"wind_speed": 20}}}).checks.jump.at_most == {"wind_speed": 20.0}


def test_values_that_may_stay_are_called_except() -> None:
    stuck = quality(checks={"stuck": {"after": "24h", "except": [0, 100.5]}}).checks.stuck
    assert (stuck.after, stuck.natural) == (timedelta(hours=24), (0.0, 100.5))
    assert quality(checks={"stuck": {"except": []}}).checks.stuck.natural == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"checks": {"stuk": False}}, "Extra inputs"),
        ({"checks": {"stuck": {"aftr": "1h"}}}, "Extra inputs"),
        ({"checks": {"stuck": {"after": 24}}}, "24 is not a duration"),
        ({"checks": {"limits": False}}, "this check cannot be off; write row or batch"),
        ({"checks": {"limits": "warn"}}, "'row' or 'batch'"),
        ({"checks": {"drift": "row"}}, "'batch', 'warn' or 'off'"),
        ({"checks": {"jump": {"wind_speed": "fast"}}}, "Extra inputs"),
        ({"checks": {"jump": {"wind_speed": 0}}}, "greater than 0"),
        ({"checks": {"buddy": {"neighbours": 2}}}, "greater than or equal to 3"),
        ({"checks": {"completeness": {"at_least": 80}}}, "less than or equal to 1"),
        ({"oldest": "19000101"}, "date"),
        ({"expectations": [{"type": "mean"}]}, "'mean' is no expectation"),
        ({"expectations": [{"type": "expect_a_b", "kwargs": {"row_condition": "1"}}]}, "would run code"),
        ({"expectations": [{"type": "expect_a_b", "kwargs": {"severity": "info"}}]}, "is set by Nightcast"),
        ({"expectations": [{"type": "expect_a_b", "severity": "off"}]}, "'row', 'batch' or 'warn'"),
    ],
)
def test_mistakes_are_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        quality(**fields)
    assert message in caught.value.errors()[0]["msg"] or message in str(caught.value)


def test_the_columns_of_an_expectation_are_those_that_it_names() -> None:
    told = quality(
        expectations=[
            {"type": "expect_a_b_c", "kwargs": {"column": "x", "min_value": 3}},
            {"type": "expect_a_b_c", "kwargs": {"column_A": "x", "column_B": "y"}},
            {"type": "expect_a_b_c", "kwargs": {"column_list": ["x", "y"]}},
            {"type": "expect_a_b_c"},
        ]
    )
    assert [each.columns for each in told.expectations] == [("x",), ("x", "y"), ("x", "y"), ()]


def test_the_schema_for_editors_knows_the_short_forms() -> None:
    schema = Draft202012Validator(Quality.model_json_schema())
    for sound in ({"drift": False}, {"drift": "batch"}, {"jump": {"wind_speed": 20}}, {"stuck": {"except": [0]}}):
        schema.validate({"checks": sound})
    for wrong in ({"drift": 3}, {"stuck": {"aftr": "1h"}}, {"jump": {"wind_speed": "fast"}}):
        assert not schema.is_valid({"checks": wrong})


def test_a_quality_survives_being_written_and_read() -> None:
    told = quality(checks={"stuck": {"except": [0]}, "drift": False, "jump": {"x": 2}}, oldest="1900-01-01")
    assert Quality.model_validate_json(told.model_dump_json()) == told
