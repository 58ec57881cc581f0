"""Checks as a Great Expectations suite, built in code and run in memory.

Nothing is read from or written to a folder, no server is asked and no progress is shown. The library takes seconds to
import, so that happens in the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from expectations.observations import Check

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation


def build_suite(checks: Sequence[Check]) -> ExpectationSuite:
    """Return the suite of some checks; each expectation's meta has its place among them and its reason."""
    from great_expectations import ExpectationSuite

    wanted = [_expectation(check, {"check": place, "reason": check.template}) for place, check in enumerate(checks)]
    return ExpectationSuite(name="observations", expectations=wanted)


def validate(frame: pd.DataFrame, checks: Sequence[Check]) -> ExpectationSuiteValidationResult:
    """Return the complete result of a batch, with the index of every row that breaks a check of rows.

    `frame` has the columns that the checks read, and any unique index.
    """
    from great_expectations import get_context
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    context = get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(),
        ),
    )
    batches = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
    batch = batches.add_batch_definition_whole_dataframe("batch").get_batch({"dataframe": frame})
    return batch.validate(build_suite(checks), result_format={"result_format": "COMPLETE"})


def place_of(outcome: ExpectationValidationResult) -> int:
    """Return the place of an outcome among the checks that the suite was built from."""
    config = outcome.expectation_config
    if config is None or config.meta is None:
        raise ValueError("an expectation came back without its name")
    return int(config.meta["check"])


def fault_of(outcome: ExpectationValidationResult) -> str:
    """Return why an expectation could not be carried out; nothing when it was."""
    told: dict[str, Any] = outcome.exception_info or {}
    for part in (told, *(value for value in told.values() if isinstance(value, dict))):
        if part.get("raised_exception"):
            return str(part.get("exception_message") or "unknown")
    return ""


def explain_expectation(name: str, arguments: dict[str, Any]) -> str:
    """Return what is wrong with an expectation given by type and arguments, in words; nothing when it can be built."""
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import get_expectation_impl
    from pydantic.v1 import ValidationError

    try:
        get_expectation_impl(name)(**arguments)
    except ExpectationNotFoundError:
        return f"Great Expectations has no '{name}'; see the list of expectations in its documentation"
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}; see the documentation of {name}"
    except (TypeError, ValueError) as error:  # what else its validators say
        return f"{str(error).splitlines()[0]}; see the documentation of {name}"
    return ""


def judges_rows(name: str) -> bool:
    """Return whether an expectation tells which rows break it."""
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.registry import get_expectation_impl

    kinds = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    return issubclass(get_expectation_impl(name), kinds)


def _expectation(check: Check, meta: dict[str, object]) -> Expectation:
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import get_expectation_impl

    name, arguments = _described(check)
    severity = FailureSeverity.WARNING if check.severity == "warn" else FailureSeverity.CRITICAL
    return get_expectation_impl(name)(**arguments, meta=meta, severity=severity)


def _described(check: Check) -> tuple[str, Mapping[str, Any]]:
    """The type and the arguments of the expectation that carries out a check."""
    match check.kind:
        case "rows":
            return "expect_table_row_count_to_be_between", {"min_value": 1}
        case "present":
            return "expect_column_values_to_not_be_null", {"column": check.column}
        case "location":
            return "expect_column_values_to_be_in_set", {"column": check.column, "value_set": list(check.values)}
        case "unique":
            return "expect_compound_columns_to_be_unique", {"column_list": list(check.columns)}
        case "custom":
            return check.expectation, check.arguments
        case _:
            limits = {"min_value": check.low, "max_value": check.high}
            return "expect_column_values_to_be_between", {"column": check.column, **limits}
