"""Forecasts set against what came true, once that is known."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.observations import TIME

KEY = ["issue_time", "valid_time", "location", "variable"]


def match(forecasts: pa.Table, observations: pa.Table, *, known_by: datetime) -> pd.DataFrame:
    """Return the matured forecast rows with the truth as known by an instant, in a column `truth`.

    A forecast value is matured when its truth is known. Values without truth are left out.

    Args:
        forecasts: Rows of the forecasts store.
        observations: Bitemporal rows (valid_time, location, known_at, variables), in any order.
        known_by: Only revisions known by then count as truth.
    """
    known = observations.filter(pc.field("known_at") <= pa.scalar(known_by, TIME)).to_pandas()
    newest = known.sort_values("known_at", kind="stable").drop_duplicates(["valid_time", "location"], keep="last")
    variables = [name for name in newest.columns if newest[name].dtype == np.float64]
    truth = newest.melt(["valid_time", "location"], variables, "variable", "truth").dropna(subset="truth")
    matched: pd.DataFrame = forecasts.to_pandas().merge(truth, on=["valid_time", "location", "variable"], how="inner")
    return matched
