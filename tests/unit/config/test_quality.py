import json
from datetime import date, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pipeline.config.quality import Quality


def quality(**fields: Any) -> Quality:
    return Quality.model_validate_json(json.dumps(fields))


def test_defaults() -> None:
    default = quality()
    assert default.oldest == date(1850, 1, 1)
    assert default.reference_period == timedelta(days=28)
    severity = {name: getattr(default.checks, name).severity for name in type(default.checks).model_fields}
    assert {name for name, each in severity.items() if each == "batch"} == {"unit_change"}
    assert {name for name, each in severity.items() if each == "row"} == {
        "limits",
        "location",
        "time_step",
        "past",
        "future",
        "known_at",
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
def test_short_forms_of_a_check(written: object, severity: str) -> None:
    assert quality(checks={"drift": written}).checks.drift.severity == severity


def test_the_limits_of_a_step_test_may_be_written_beside_its_severity() -> None:
    step = quality(checks={"step": {"wind_speed": 20, "severity": "row"}}).checks.step
    assert (step.at_most, step.severity) == ({"wind_speed": 20.0}, "row")
    assert quality(checks={"step": {"at_most": {"wind_speed": 20}}}).checks.step.at_most == {"wind_speed": 20.0}


def test_values_excepted_from_the_persistence_test() -> None:
    test = quality(checks={"persistence": {"after": "24h", "except": [0, 100.5]}}).checks.persistence
    assert (test.after, test.natural) == (timedelta(hours=24), (0.0, 100.5))
    assert quality(checks={"persistence": {"except": []}}).checks.persistence.natural == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"checks": {"stuk": False}}, "Extra inputs"),
        ({"checks": {"persistence": {"aftr": "1h"}}}, "Extra inputs"),
        ({"checks": {"persistence": {"after": 24}}}, "24 is not a duration"),
        ({"checks": {"limits": False}}, "this check cannot be switched off; write row or batch"),
        ({"checks": {"limits": "warn"}}, "'row' or 'batch'"),
        ({"checks": {"drift": "row"}}, "'batch', 'warn' or 'off'"),
        ({"checks": {"step": {"wind_speed": "fast"}}}, "Extra inputs"),
        ({"checks": {"step": {"wind_speed": 0}}}, "greater than 0"),
        ({"checks": {"buddy": {"neighbours": 2}}}, "greater than or equal to 3"),
        ({"checks": {"completeness": {"at_least": 80}}}, "less than or equal to 1"),
        ({"oldest": "19000101"}, "date"),
        ({"expectations": [{"type": "mean"}]}, "'mean' is not the name of an expectation"),
        ({"expectations": [{"type": "expect_a_b", "kwargs": {"row_condition": "1"}}]}, "would run code"),
        ({"expectations": [{"type": "expect_a_b", "kwargs": {"severity": "info"}}]}, "is set by Nightcast"),
        ({"expectations": [{"type": "expect_a_b", "severity": "off"}]}, "'row', 'batch' or 'warn'"),
    ],
)
def test_mistakes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        quality(**fields)
    assert message in caught.value.errors()[0]["msg"] or message in str(caught.value)


def test_the_columns_of_an_expectation() -> None:
    checked = quality(
        expectations=[
            {"type": "expect_a_b_c", "kwargs": {"column": "x", "min_value": 3}},
            {"type": "expect_a_b_c", "kwargs": {"column_A": "x", "column_B": "y"}},
            {"type": "expect_a_b_c", "kwargs": {"column_list": ["x", "y"]}},
            {"type": "expect_a_b_c"},
        ]
    )
    assert [each.columns for each in checked.expectations] == [("x",), ("x", "y"), ("x", "y"), ()]


def test_the_json_schema_accepts_the_short_forms() -> None:
    schema = Draft202012Validator(Quality.model_json_schema())
    for valid in ({"drift": False}, {"drift": "batch"}, {"step": {"wind_speed": 20}}, {"persistence": {"except": [0]}}):
        schema.validate({"checks": valid})
    for wrong in ({"drift": 3}, {"persistence": {"aftr": "1h"}}, {"step": {"wind_speed": "fast"}}):
        assert not schema.is_valid({"checks": wrong})


def test_quality_is_read_back_from_its_json() -> None:
    written = quality(checks={"persistence": {"except": [0]}, "drift": False, "step": {"x": 2}}, oldest="1900-01-01")
    assert Quality.model_validate_json(written.model_dump_json()) == written
