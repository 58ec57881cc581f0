"""The observation contract as a Great Expectations suite, built in code and run in memory.

Nothing is read from or written to a folder, no server is asked and no progress is shown. The library takes
seconds to import, so that happens in the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from expectations.observations import LOCATION, OFF_GRID, TIME, Check, ObservationContract, off_grid

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.expectations.expectation import Expectation


def build_suite(contract: ObservationContract) -> ExpectationSuite:
    """Return the suite of a contract; each expectation's meta has its place in the checks and its reason."""
    from great_expectations import ExpectationSuite

    suite = ExpectationSuite(name="observations")
    for place, check in enumerate(contract.checks()):
        suite.add_expectation(_expectation(check, contract, {"check": place, "reason": check.template}))
    return suite


def validate(frame: pd.DataFrame, contract: ObservationContract) -> ExpectationSuiteValidationResult:
    """Return the complete result of a batch, with the index of every row that breaks an expectation.

    `frame` has columns valid_time (UTC), location and the variables, and any unique index.
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
    times = frame[TIME].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(np.dtype("datetime64[us]"))
    derived = frame.assign(**{OFF_GRID: off_grid(times, contract.step, contract.phase)})
    batches = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
    batch = batches.add_batch_definition_whole_dataframe("batch").get_batch({"dataframe": derived})
    return batch.validate(build_suite(contract), result_format={"result_format": "COMPLETE"})


def _expectation(check: Check, contract: ObservationContract, meta: dict[str, object]) -> Expectation:
    from great_expectations.expectations.core.expect_column_values_to_be_between import (
        ExpectColumnValuesToBeBetween,
    )
    from great_expectations.expectations.core.expect_column_values_to_be_in_set import (
        ExpectColumnValuesToBeInSet,
    )
    from great_expectations.expectations.core.expect_column_values_to_not_be_null import (
        ExpectColumnValuesToNotBeNull,
    )
    from great_expectations.expectations.core.expect_compound_columns_to_be_unique import (
        ExpectCompoundColumnsToBeUnique,
    )
    from great_expectations.expectations.core.expect_table_row_count_to_be_between import (
        ExpectTableRowCountToBeBetween,
    )

    match check.kind:
        case "rows":
            return ExpectTableRowCountToBeBetween(min_value=1, meta=meta)
        case "present":
            return ExpectColumnValuesToNotBeNull(column=check.column, meta=meta)
        case "known":
            return ExpectColumnValuesToBeInSet(column=check.column, value_set=list(contract.stations), meta=meta)
        case "unique":
            return ExpectCompoundColumnsToBeUnique(column_list=[TIME, LOCATION], meta=meta)
        case "grid" | "future" | "limits":
            return ExpectColumnValuesToBeBetween(
                column=check.column, min_value=check.low, max_value=check.high, meta=meta
            )
