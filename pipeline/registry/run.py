"""One MLflow run: parameters, metrics, files, lineage, and the bundle as a registered model."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.registry.bundle import Bundle

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.registry.tracking import Registry

MODEL_CODE = Path(__file__).with_name("mlflow_model.py")
_NAME_LENGTH, _VALUE_LENGTH, _PARAMETERS_PER_CALL, _METRICS_PER_CALL = 250, 500, 100, 1000
"""The least that every MLflow server accepts."""


class Run:
    """An open MLflow run. Every method raises TrackingError where MLflow cannot be reached."""

    def __init__(self, registry: Registry, run_id: str) -> None:
        self._registry, self._mlflow, self.run_id = registry, registry.mlflow, run_id

    def log_parameters(self, values: Mapping[str, Any]) -> None:
        """Log parameters; long names and values are cut."""
        pairs = [(name[:_NAME_LENGTH], str(value)[:_VALUE_LENGTH]) for name, value in values.items()]
        with self._registry.catch_errors():
            for start in range(0, len(pairs), _PARAMETERS_PER_CALL):
                self._mlflow.log_params(dict(pairs[start : start + _PARAMETERS_PER_CALL]))

    def log_metrics(self, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Log metrics as (step, value) pairs, leaving out NaN."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, step)
            for name, points in series.items()
            for step, value in points
            if value == value
        ]
        with self._registry.catch_errors():
            for start in range(0, len(metrics), _METRICS_PER_CALL):
                self._registry.client.log_batch(self.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def log_text(self, content: str, path: str) -> None:
        """Log a text file, e.g. an SVG plot or JSON."""
        with self._registry.catch_errors():
            self._mlflow.log_text(content, path)

    def log_lineage(self, sample: pd.DataFrame, *, table: str, version: int, digest: str, name: str) -> None:
        """Log the Delta table version that training read; `sample` only shows the columns."""
        from mlflow.data import from_pandas
        from mlflow.data.delta_dataset_source import DeltaDatasetSource

        source = DeltaDatasetSource(path=table, delta_table_version=version)
        with self._registry.catch_errors():
            self._mlflow.log_input(
                from_pandas(sample, source=source, name=name, digest=digest[:32]), context="training"
            )

    def register(self, bundle: Bundle, example: pd.DataFrame, tags: Mapping[str, str], *, name: str = "model") -> int:
        """Log the bundle as a model without pickle, register it, and return the version."""
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

        columns: list[ColSpec | TensorSpec] = [
            ColSpec(_column_type(example[name]), name, required=name != "known_at") for name in example.columns
        ]
        signature = ModelSignature(
            inputs=Schema(columns), params=ParamSchema([ParamSpec("issue_time", DataType.string, "")])
        )
        with self._registry.catch_errors(), tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder) / "requirements.txt"
            requirements.write_text(f"nightcast=={version('nightcast')}\n")
            logged = self._mlflow.pyfunc.log_model(
                name=name,
                python_model=str(MODEL_CODE),
                artifacts={"bundle": str(bundle.folder)},
                pip_requirements=str(requirements),
                signature=signature,
                metadata={"digest": bundle.digest},
            )
            number = self._registry.add_version(logged.model_uri, self.run_id, logged.model_id)
        self._registry.tag(number, {"digest": bundle.digest, "model": bundle.model_name, **tags})
        with self._registry.catch_errors():
            self._mlflow.set_tag("nightcast.version", str(number))
        return number


def _column_type(column: pd.Series) -> Any:
    from mlflow.types import DataType

    if column.dtype.kind == "M":
        return DataType.datetime
    return DataType.double if column.dtype.kind == "f" else DataType.string
