"""A bundle as an MLflow model from code: without pickle, and with the same forecasts as serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class NightcastModel(PythonModel):
    """Forecasts quantiles from a tidy table of observations.

    Input columns: valid_time, location, a column per variable, and optionally known_at. The parameter `issue_time`
    (ISO 8601) is the time of the forecast; by default the time at which the newest row became known.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the bundle."""
        from pipeline.registry.standalone import Forecaster

        self.forecaster = Forecaster(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row per valid time, location and variable, with a column per quantile level, e.g. q0.05."""
        return self.forecaster.forecast(model_input, issue_time=(params or {}).get("issue_time") or None)


set_model(NightcastModel())
