"""Forecasts of a bundle from a table of observations, without stores, product file or server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import Product
from pipeline.config.renamed import upgrade
from pipeline.errors import NoDataError
from pipeline.features.frames import build_frames
from pipeline.features.windows import IssueWindows
from pipeline.registry.bundle import CARD, CHALLENGER, Bundle
from pipeline.times import Cadence, parse_instant
from pipeline.training.evaluate import predict_issue, recalibrate_issue


class Forecaster:
    """Forecasts quantiles from observations with the challenger of a bundle.

    Logged MLflow models of earlier releases import this class from here.
    """

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / CARD).read_bytes())
        bundle = Bundle(folder, "", card)
        self.product = Product.model_validate_json(json.dumps(upgrade(card["product"])[0]))
        fit = bundle.serving
        self.model, self.recalibration = fit.challenger(), fit.recalibration()
        self.name = card["digests"][CHALLENGER]

    def forecast(self, observations: pd.DataFrame, *, issue_time: str | None = None) -> pd.DataFrame:
        """Return a row per valid time, location and variable, with a column per quantile level, e.g. q0.05.

        Args:
            observations: Columns valid_time, location and the variables; optionally known_at.
            issue_time: ISO 8601; by default the time at which the newest row became known.

        Raises:
            NoDataError: there are no rows.
        """
        product, task = self.product, self.model.task
        cadence = Cadence.of(product)
        rows = observations.assign(valid_time=pd.to_datetime(observations["valid_time"], utc=True).dt.as_unit("us"))
        if rows.empty:
            raise NoDataError("the table of observations is empty")
        if "known_at" not in rows:
            rows["known_at"] = rows["valid_time"] + product.feed.delay
        rows["known_at"] = pd.to_datetime(rows["known_at"], utc=True).dt.as_unit("us")
        issue = parse_instant(issue_time) if issue_time else rows["known_at"].max().to_pydatetime()
        columns = ["valid_time", "location", "known_at", *product.feed.variables]
        frames = build_frames(
            pa.Table.from_pandas(rows[columns], preserve_index=False),
            locations=task.locations,
            variables=tuple(product.feed.variables),
            step=product.feed.step,
        )
        windows = IssueWindows(task, cadence, frames, [issue], truth_at=issue)
        quantiles = recalibrate_issue(predict_issue(self.model, windows), self.recalibration, windows)
        leads, targets, locations, _ = quantiles.shape
        table = pd.DataFrame(
            {
                "valid_time": np.repeat(np.array(cadence.lead_times(issue), object), targets * locations),
                "location": np.tile(task.locations, leads * targets),
                "variable": np.tile(np.repeat(task.targets, locations), leads),
            }
        )
        flat = quantiles.reshape(-1, quantiles.shape[-1]).astype(np.float64)
        for position, level in enumerate(task.quantile_levels):
            table[f"q{level:g}"] = flat[:, position]
        return table
