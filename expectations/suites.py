"""Checks as a Great Expectations suite, built in code and run in memory.

Nothing is read from or written to a folder, no server is asked and no progress is shown. The library takes seconds to
import, so that happens in the first call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from expectations.observations import Check

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.expectations.expectation import Expectation

_COMPLETE = {"result_format": "COMPLETE", "return_unexpected_index_query": False}
_one_at_a_time = Lock()


def build_suite(checks: Sequence[Check], names: Collection[str] = ()) -> ExpectationSuite:
    """Return the suite of some checks; each expectation's meta has the index of its check and the fault it looks for.

    `names` are the location names of the batch.
    """
    from great_expectations import ExpectationSuite

    wanted = [_expectation(check, {"check": index, "reason": check.fault}, names) for index, check in enumerate(checks)]
    return ExpectationSuite(name="observations", expectations=wanted)


def validate(frame: pd.DataFrame, checks: Sequence[Check]) -> ExpectationSuiteValidationResult:
    """Return the result of a batch; a broken check has the index of every row that breaks it.

    `frame` has the columns that the checks read, and any unique index. Threads take turns.
    """
    named = [check.column for check in checks if check.kind == "location"]
    suite = build_suite(checks, frame[named[0]].astype("category").cat.categories if named else ())
    with _one_at_a_time:
        batches = _batches()
        try:
            batch = batches.get_batch({"dataframe": frame})
            # A plain yes or no takes half the time, and mostly all checks hold.
            result = batch.validate(suite, result_format="BOOLEAN_ONLY")
            again = {index_of(outcome) for outcome in result.results if not outcome.success}
            again |= {index for index, check in enumerate(checks) if check.kind == "custom"}  # `mostly` lets rows fail
            if again:
                rest = type(suite)(name=suite.name, expectations=[suite.expectations[index] for index in again])
                complete = batch.validate(rest, result_format=_COMPLETE)
                kept = [outcome for outcome in result.results if index_of(outcome) not in again]
                result.results = kept + complete.results
            return result
        finally:  # the library would keep the frame until the next one
            manager = batches.data_asset.datasource.get_execution_engine().batch_manager
            manager.reset_batch_cache()
            manager.batch_data_cache.clear()


@cache
def _batches() -> BatchDefinition[Any]:
    """Return the definition that makes batches of frames: slow to set up, and the same for all."""
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
    return (
        context.data_sources.add_pandas("memory")
        .add_dataframe_asset("rows")
        .add_batch_definition_whole_dataframe("batch")
    )


def index_of(outcome: ExpectationValidationResult) -> int:
    """Return the index of the check, among those the suite was built from, that an outcome belongs to."""
    config = outcome.expectation_config
    if config is None or config.meta is None:
        raise ValueError("Great Expectations returned an expectation without its meta")
    return int(config.meta["check"])


def error_of(outcome: ExpectationValidationResult) -> str:
    """Return why an expectation could not be carried out; empty when it was."""
    info: dict[str, Any] = outcome.exception_info or {}
    for part in (info, *(value for value in info.values() if isinstance(value, dict))):
        if part.get("raised_exception"):
            return str(part.get("exception_message") or "unknown")
    return ""


def explain_expectation(name: str, arguments: dict[str, Any]) -> str:
    """Return what is wrong with an expectation given by type and arguments; empty when it can be built."""
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
    except (TypeError, ValueError) as error:  # from its own validators
        return f"{(str(error).strip() or type(error).__name__).splitlines()[0]}; see the documentation of {name}"
    return ""


def is_row_expectation(name: str) -> bool:
    """Return whether an expectation tests each row."""
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.registry import get_expectation_impl

    kinds = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
    return issubclass(get_expectation_impl(name), kinds)


def _expectation(check: Check, meta: dict[str, object], names: Collection[str]) -> Expectation:
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.expectations.registry import get_expectation_impl

    name, arguments = _described(check, names)
    severity = FailureSeverity.WARNING if check.severity == "warn" else FailureSeverity.CRITICAL
    return get_expectation_impl(name)(**arguments, meta=meta, severity=severity)


def _described(check: Check, names: Collection[str]) -> tuple[str, Mapping[str, Any]]:
    """Return the type and the arguments of the expectation that carries out a check."""
    match check.kind:
        case "rows":
            return "expect_table_row_count_to_be_between", {"min_value": 1}
        case "present":
            return "expect_column_values_to_not_be_null", {"column": check.column}
        case "location":
            # The unknown names, which are few: the library copies the set hundreds of times.
            unknown = sorted(set(names) - set(check.values))
            return "expect_column_values_to_not_be_in_set", {"column": check.column, "value_set": unknown}
        case "unique":
            return "expect_compound_columns_to_be_unique", {"column_list": list(check.columns)}
        case "custom":
            return check.expectation, check.arguments
        case _:
            limits = {"min_value": check.low, "max_value": check.high}
            return "expect_column_values_to_be_between", {"column": check.column, **limits}
