"""The MLflow registry of a product: versions, aliases and bundles. MLflow is imported at the first call to it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pipeline.errors import NightcastError, first_line
from pipeline.registry.bundle import CARD
from pipeline.registry.run import Run
from pipeline.registry.versions import RegisteredVersion, VersionCache
from pipeline.training.verdict import Decision

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

KEY_TAG = "nightcast.key"
_DEFAULTS = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # By default MLflow retries a request for minutes; a forecast has the last known champion to fall back on.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


class TrackingError(NightcastError):
    """The MLflow server or database cannot be reached, or refused a request; no alias was changed."""


class Registry:
    """The runs and versions of one product. The experiment and the registered model are named after it.

    Args:
        product: Name of the product.
        uri: MLflow tracking URI, also of the model registry.
        artifacts: Folder of the artifacts where `uri` is a database; a server has its own.
        cache: File that keeps the versions while a local database does not change; None to ask MLflow every time.
    """

    def __init__(self, product: str, uri: str, *, artifacts: Path, cache: Path | None = None) -> None:
        self.product, self.uri = product, uri
        self._artifacts = None if uri.startswith("http") else artifacts
        self._cache = VersionCache(cache, uri) if cache and VersionCache.supports(uri) else None

    @cached_property
    def mlflow(self) -> Any:
        """The module `mlflow`, imported now and pointed to this registry."""
        for name, value in _DEFAULTS.items():
            os.environ.setdefault(name, value)
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        if self._artifacts is not None:
            self._artifacts.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        return mlflow

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client of this registry."""
        client: MlflowClient = self.mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return client

    @contextmanager
    def run(self, name: str, key: str) -> Iterator[Run]:
        """Open a run. An exception inside marks it as failed, with the reason as a tag, and is raised again."""
        with self.catch_errors():
            experiment = self._experiment()
            started = self.mlflow.start_run(experiment_id=experiment, run_name=name, tags={KEY_TAG: key})
        try:
            yield Run(self, started.info.run_id)
        except BaseException as error:
            with suppress(Exception):  # the exception at hand says more than a second one about a lost server
                self.mlflow.set_tag("nightcast.error", first_line(error))
                self.mlflow.end_run("FAILED")
            raise
        with self.catch_errors():
            self.mlflow.end_run("FINISHED")

    def find_run(self, key: str) -> str | None:
        """Return the id of a finished run with a key, or None.

        Raises:
            TrackingError: MLflow cannot be reached.
        """
        query = f"tags.`{KEY_TAG}` = '{key}' and attributes.status = 'FINISHED'"
        with self.catch_errors():
            found = self.client.search_runs([self._experiment()], filter_string=query, max_results=1)
        return str(found[0].info.run_id) if found else None

    def end_lost_runs(self, started_before: datetime) -> int:
        """Mark runs that began before a time and never ended as killed, and return their number.

        Raises:
            TrackingError: MLflow cannot be reached.
        """
        query = f"attributes.status = 'RUNNING' and attributes.start_time < {int(started_before.timestamp() * 1000)}"
        with self.catch_errors():
            lost = self.client.search_runs([self._experiment()], filter_string=query)
            for run in lost:
                self.client.set_terminated(run.info.run_id, "KILLED")
        return len(lost)

    def version(self, number: int) -> RegisteredVersion:
        """Return a version by number, without its aliases.

        Raises:
            TrackingError: there is no such version.
        """
        with self.catch_errors():
            return _convert(self.client.get_model_version(self.product, str(number)))

    def versions(self) -> list[RegisteredVersion]:
        """Return every version with its aliases, newest first."""
        if self._cache is None:
            return self._list_versions()
        found = self._cache.load()
        if found is None:
            fingerprint = self._cache.fingerprint()
            found = self._list_versions()
            self._cache.save(found, fingerprint)
        return found

    def by_alias(self, alias: str) -> RegisteredVersion | None:
        """Return the version with an alias, or None."""
        if self._cache is not None:
            return next((version for version in self.versions() if alias in version.aliases), None)
        with self.catch_errors():
            try:
                return _convert(self.client.get_model_version_by_alias(self.product, alias), alias)
            except self.mlflow.MlflowException as error:
                if _is_absent(error):
                    return None
                raise

    def set_alias(self, alias: str, version: int) -> None:
        """Point an alias to a version."""
        with self.catch_errors():
            self.client.set_registered_model_alias(self.product, alias, str(version))

    def tag(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self.catch_errors():
            for name, value in tags.items():
                self.client.set_model_version_tag(self.product, str(version), f"nightcast.{name}", value)

    def tag_product(self, tags: Mapping[str, str]) -> None:
        """Set tags of the registered model; nothing happens while it has no version."""
        with self.catch_errors():
            try:
                for name, value in tags.items():
                    self.client.set_registered_model_tag(self.product, f"nightcast.{name}", value)
            except self.mlflow.MlflowException as error:
                if not _is_absent(error):
                    raise

    def add_version(self, model_uri: str, run_id: str, model_id: str) -> int:
        """Register a logged model as the next version of the product and return its number."""
        with self.catch_errors():
            try:
                self.client.create_registered_model(self.product)
            except self.mlflow.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            created = self.client.create_model_version(self.product, model_uri, run_id, model_id=model_id)
            return int(created.version)

    def download(self, version: int, folder: Path) -> Path:
        """Download the bundle of a version below `folder` and return its folder. Nothing is verified yet."""
        source = f"models:/{self.product}/{version}"
        with self.catch_errors():
            downloaded = Path(self.mlflow.artifacts.download_artifacts(source, dst_path=str(folder)))
        cards = sorted(downloaded.rglob(CARD))
        if not cards:
            raise TrackingError(f"MLflow at {self.uri}: {source} holds no bundle")
        return cards[0].parent

    @contextmanager
    def catch_errors(self) -> Iterator[None]:
        """Raise whatever MLflow or its database raises as a TrackingError of one line."""
        mlflow = self.mlflow
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (mlflow.MlflowException, SQLAlchemyError, OSError) as error:
            raise TrackingError(f"MLflow at {self.uri}: {first_line(error)}") from error

    def _list_versions(self) -> list[RegisteredVersion]:
        with self.catch_errors():
            try:
                aliases = self.client.get_registered_model(self.product).aliases
            except self.mlflow.MlflowException as error:
                if _is_absent(error):
                    return []
                raise
            found = self.client.search_model_versions(f"name = '{self.product}'")
            versions = [
                _convert(one, *(alias for alias, number in aliases.items() if int(number) == int(one.version)))
                for one in found
            ]
            return sorted(versions, key=lambda version: -version.version)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.product)
        if found is not None:
            return str(found.experiment_id)
        location = (self._artifacts / self.product).as_uri() if self._artifacts else None
        return str(self.client.create_experiment(self.product, artifact_location=location))


def _is_absent(error: Any) -> bool:
    """Return whether an MLflow error means that the registered model or alias does not exist."""
    return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def _convert(found: ModelVersion, *aliases: str) -> RegisteredVersion:
    tags = {name.removeprefix("nightcast."): value for name, value in found.tags.items()}
    verdict, _, reason = tags.get("verdict", "").partition(": ")  # earlier releases: "promoted: first champion, ..."
    return RegisteredVersion(
        version=int(found.version),
        digest=tags.get("digest", ""),
        model=tags.get("model", "unknown"),
        trained_until=datetime.fromisoformat(tags.get("trained_until", "1970-01-01T00:00:00+00:00")),
        crps=json.loads(tags["crps"]) if "crps" in tags else None,
        verdict=next((one for one in get_args(Decision) if one == verdict), None),
        reason=tags.get("reason", reason),
        run_id=found.run_id or "",
        source=found.source or "",
        aliases=aliases,
        table_version=int(tags["table_version"]) if "table_version" in tags else None,
    )
