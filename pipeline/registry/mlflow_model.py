"""The MLflow form of a bundle, as models-from-code: no pickle, and the forecast is made by the serving path itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class NightcastModel(PythonModel):
    """Forecasts quantiles from a tidy table of observations.

    Input columns: valid_time, location, and one a variable; known_at too where the rows are bitemporal. The parameter
    `issue_time` (ISO 8601) says when the forecast is made; without it, right after the newest row became known.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the bundle."""
        from pipeline.registry.standalone import Forecaster

        self.forecaster = Forecaster(Path(context.artifacts["bundle"]))

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row a valid time, location and variable, with a column a quantile, e.g. q0.05."""
        return self.forecaster.forecast(model_input, issue_time=(params or {}).get("issue_time") or None)


set_model(NightcastModel())
