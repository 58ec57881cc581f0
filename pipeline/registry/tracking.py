"""MLflow: where runs are recorded and versions carry their aliases. The only module that talks to the server."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import NightcastError
from pipeline.registry.bundle import CARD, Bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CODE = Path(__file__).with_name("mlflow_model.py")
Alias = str
KEY = "nightcast.key"
_LONGEST_NAME, _LONGEST_VALUE, _MOST_AT_ONCE = 250, 500, 100
"""What every MLflow server takes of parameters."""


class TrackingError(NightcastError):
    """The tracking server cannot be reached or refuses; nothing was promoted."""


@dataclass(frozen=True)
class Registered:
    """A registry version, as far as serving and the command line need it."""

    version: int
    digest: str
    model: str
    trained_until: datetime
    crps: float | None
    verdict: str
    run_id: str
    source: str
    aliases: tuple[str, ...] = ()
    table_version: int | None = None
    """Version of the observations table that it was trained on, where that was recorded."""


class Registry:
    """The runs and versions of one product; experiment and registered model carry its name."""

    def __init__(self, product: str, uri: str, *, artifacts: Path) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # MLflow's own patience is minutes a request; a forecast falls back on the last champion known here.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        import mlflow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)

        self.product, self.uri = product, uri
        self._artifacts = None if uri.startswith("http") else artifacts
        if self._artifacts is not None:
            self._artifacts.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self._mlflow = mlflow

    @property
    def client(self) -> MlflowClient:
        """MLflow's own client on the same store."""
        return self._mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @contextmanager
    def run(self, name: str, key: str) -> Iterator[Run]:
        """Open a run; an exception inside marks it failed and goes on."""
        with self._reaching():
            experiment = self._experiment()
            started = self._mlflow.start_run(experiment_id=experiment, run_name=name, tags={KEY: key})
        try:
            yield Run(self, started.info.run_id)
        except BaseException:
            with suppress(Exception):  # the error at hand tells more than that the server is gone as well
                self._mlflow.end_run("FAILED")
            raise
        with self._reaching():
            self._mlflow.end_run("FINISHED")

    def version(self, number: int) -> Registered:
        """Return a version by number.

        Raises:
            TrackingError: there is none.
        """
        with self._reaching():
            return _registered(self.client.get_model_version(self.product, str(number)), ())

    def versions(self) -> list[Registered]:
        """Return every version with its aliases, newest first."""
        from mlflow.exceptions import MlflowException

        with self._reaching():
            try:
                aliases = self.client.get_registered_model(self.product).aliases
            except MlflowException as error:
                if _absent(error):
                    return []
                raise
            found = self.client.search_model_versions(f"name = '{self.product}'")
            made = [
                _registered(one, [alias for alias, version in aliases.items() if int(version) == int(one.version)])
                for one in found
            ]
            return sorted(made, key=lambda one: -one.version)

    def by_alias(self, alias: Alias) -> Registered | None:
        """Return the version that carries an alias, or None when nothing does."""
        from mlflow.exceptions import MlflowException

        with self._reaching():
            try:
                return _registered(self.client.get_model_version_by_alias(self.product, alias), (alias,))
            except MlflowException as error:
                if _absent(error):
                    return None
                raise

    def set_alias(self, alias: Alias, version: int) -> None:
        """Let an alias point to a version, whatever it pointed to before."""
        with self._reaching():
            self.client.set_registered_model_alias(self.product, alias, str(version))

    def tag(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._reaching():
            for name, value in tags.items():
                self.client.set_model_version_tag(self.product, str(version), f"nightcast.{name}", value)

    def enter(self, model_uri: str, run_id: str, model_id: str) -> int:
        """Make a logged model the next version of the product; return its number."""
        from mlflow.exceptions import MlflowException

        with self._reaching():
            try:
                self.client.create_registered_model(self.product)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = self.client.create_model_version(self.product, model_uri, run_id, model_id=model_id)
            return int(made.version)

    def fetch(self, registered: Registered, folder: Path) -> Path:
        """Download the bundle of a version into `folder`; return where it lies. It is not checked yet."""
        with self._reaching():
            source = f"models:/{self.product}/{registered.version}"
            fetched = Path(self._mlflow.artifacts.download_artifacts(source, dst_path=str(folder)))
        cards = sorted(fetched.rglob(CARD))
        if not cards:
            raise TrackingError(f"MLflow at {self.uri}: {source} holds no bundle")
        return cards[0].parent

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.product)
        if found is not None:
            return str(found.experiment_id)
        place = (self._artifacts / self.product).as_uri() if self._artifacts else None
        return str(self.client.create_experiment(self.product, artifact_location=place))

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingError(f"MLflow at {self.uri}: {str(error).splitlines()[0]}") from error


class Run:
    """An open MLflow run."""

    def __init__(self, registry: Registry, run_id: str) -> None:
        self._registry, self._mlflow, self.run_id = registry, registry._mlflow, run_id

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Record parameters; long ones are cut."""
        told = [(name[:_LONGEST_NAME], str(value)[:_LONGEST_VALUE]) for name, value in values.items()]
        with self._registry._reaching():
            for start in range(0, len(told), _MOST_AT_ONCE):
                self._mlflow.log_params(dict(told[start : start + _MOST_AT_ONCE]))

    def metrics(self, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Record metrics as (step, value) pairs in one call; values that are no numbers are left out."""
        from mlflow.entities import Metric

        now = int(datetime.now().timestamp() * 1000)  # noqa: DTZ005 - a log stamp
        batch = [
            Metric(name, value, now, step)
            for name, points in series.items()
            for step, value in points
            if value == value
        ]
        with self._registry._reaching():
            for start in range(0, len(batch), 1000):
                self._registry.client.log_batch(self.run_id, metrics=batch[start : start + 1000])

    def text(self, content: str, path: str) -> None:
        """Record a file, e.g. a picture as SVG or numbers as JSON."""
        with self._registry._reaching():
            self._mlflow.log_text(content, path)

    def lineage(self, sample: pd.DataFrame, *, table: str, version: int, digest: str, name: str) -> None:
        """Record which table version training saw; `sample` only shows the columns."""
        from mlflow.data import from_pandas
        from mlflow.data.delta_dataset_source import DeltaDatasetSource

        source = DeltaDatasetSource(path=table, delta_table_version=version)
        with self._registry._reaching():
            self._mlflow.log_input(
                from_pandas(sample, source=source, name=name, digest=digest[:32]), context="training"
            )

    def register(self, bundle: Bundle, example: pd.DataFrame, tags: Mapping[str, str]) -> int:
        """Log the bundle as a model without pickle and register it; return the version."""
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

        columns: list[ColSpec | TensorSpec] = [
            ColSpec(_kind(example[name]), name, required=name != "known_at") for name in example.columns
        ]
        signature = ModelSignature(
            inputs=Schema(columns), params=ParamSchema([ParamSpec("issue_time", DataType.string, "")])
        )
        with self._registry._reaching(), tempfile.TemporaryDirectory() as empty:
            logged = self._mlflow.pyfunc.log_model(
                name="model",
                python_model=str(CODE),
                artifacts={"bundle": str(bundle.folder)},
                pip_requirements=str(_requirements(Path(empty))),
                signature=signature,
                metadata={"digest": bundle.digest},
            )
            version = self._registry.enter(logged.model_uri, self.run_id, logged.model_id)
        self._registry.tag(version, {"digest": bundle.digest, "model": bundle.model_name, **tags})
        with self._registry._reaching():
            self._mlflow.set_tag("nightcast.version", str(version))
        return version


def _kind(column: pd.Series) -> Any:
    from mlflow.types import DataType

    if column.dtype.kind == "M":
        return DataType.datetime
    return DataType.double if column.dtype.kind == "f" else DataType.string


def _requirements(folder: Path) -> Path:
    from importlib.metadata import version

    path = folder / "requirements.txt"
    path.write_text(f"nightcast=={version('nightcast')}\n")
    return path


def _absent(error: Any) -> bool:
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _registered(found: ModelVersion, aliases: Sequence[str]) -> Registered:
    tags = {name.removeprefix("nightcast."): value for name, value in found.tags.items()}
    return Registered(
        version=int(found.version),
        digest=tags.get("digest", ""),
        model=tags.get("model", "unknown"),
        trained_until=datetime.fromisoformat(tags.get("trained_until", "1970-01-01T00:00:00+00:00")),
        crps=json.loads(tags["crps"]) if "crps" in tags else None,
        verdict=tags.get("verdict", "not judged"),
        run_id=found.run_id or "",
        source=found.source or "",
        aliases=tuple(aliases),
        table_version=int(tags["table_version"]) if "table_version" in tags else None,
    )
