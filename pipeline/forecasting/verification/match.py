"""Pairs of forecasts and observations."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.store.observations import TIME


def match_observations(forecasts: pa.Table, observations: pa.Table, *, known_by: datetime) -> pd.DataFrame:
    """Return the forecast rows that have an observation, with its value in a column `observed`.

    Args:
        forecasts: Rows of the forecasts table.
        observations: Bitemporal rows (valid_time, location, known_at, variables), in any order.
        known_by: Revisions that became known later are not used.
    """
    known = observations.filter(pc.field("known_at") <= pa.scalar(known_by, TIME)).to_pandas()
    newest = known.sort_values("known_at", kind="stable").drop_duplicates(["valid_time", "location"], keep="last")
    variables = [name for name in newest.columns if newest[name].dtype == np.float64]
    observed = newest.melt(["valid_time", "location"], variables, "variable", "observed").dropna(subset="observed")
    pairs: pd.DataFrame = forecasts.to_pandas().merge(observed, on=["valid_time", "location", "variable"], how="inner")
    return pairs
