from __future__ import annotations

import shutil
import sqlite3  # noqa: F401 - before eccodes, whose older SQLite MLflow would refuse: xarray loads it with its backends
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipeline.config import Product, Settings, load_product
from pipeline.jobs.retrain import RetrainResult
from pipeline.registry.tracking import Registry
from pipeline.workspace import Workspace
from tests import jobs
from tests.world import end_of, fill, make_product, make_settings

_OF_OTHERS = (
    # What MLflow says while it logs a model: of its own type hints, and of an example that would be kept with it.
    ".*Any type hint is inferred as AnyType:UserWarning",
    ".*An input example was not provided when logging the model:UserWarning",
    # pyarrow 25 reads pandas 3.1 in a way that pandas 4 will not have.
    "Series.values returning an ndarray that drops timezone:pandas.errors.Pandas4Warning",
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in _OF_OTHERS:
        config.addinivalue_line("filterwarnings", f"ignore:{warning}")


@dataclass(frozen=True)
class ProductHome:
    """A product with its stores."""

    product: Product
    settings: Settings
    end: datetime
    """All of the record is known by then."""

    @property
    def file(self) -> Path:
        return self.product.folder / "product.yaml"

    @property
    def workspace(self) -> Workspace:
        """The product opened anew, as each job run opens it."""
        return Workspace(self.product, self.settings)

    @property
    def root(self) -> Path:
        return self.settings.home / "products" / self.product.name


@dataclass(frozen=True)
class Trained(ProductHome):
    retrained: RetrainResult


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: to make one takes seconds, to copy it none."""
    settings = make_settings(tmp_path_factory.mktemp("mlflow"))
    Registry("none", settings.mlflow_uri, artifacts=settings.home / "mlflow" / "artifacts").versions()
    return settings.home / "mlflow" / "mlflow.db"


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Trained:
    """A product with a champion. It is shared: tests take `trained`, a copy."""
    folder = tmp_path_factory.mktemp("trained")
    product, settings = make_product(folder), make_settings(folder)
    _furnish(settings, empty_mlflow)
    fill(product, settings)
    end = end_of(product)
    return Trained(product, settings, end, jobs.retrain(Workspace(product, settings), at=end))


@pytest.fixture
def trained(trained_once: Trained, tmp_path: Path) -> Trained:
    """A copy of a product with a champion; only the artifacts of its one MLflow run are shared."""
    folder = tmp_path / "trained"
    shutil.copytree(trained_once.product.folder, folder, symlinks=True)
    product = load_product(folder / "product.yaml")
    return Trained(product, make_settings(folder), trained_once.end, trained_once.retrained)


@pytest.fixture
def fresh(tmp_path: Path, empty_mlflow: Path) -> Callable[..., ProductHome]:
    """Makes a product with its observations loaded, and nothing trained; takes what `make_product` takes."""

    def make(**arguments: Any) -> ProductHome:
        folder = tmp_path / "fresh"
        product, settings = make_product(folder, **arguments), make_settings(folder)
        _furnish(settings, empty_mlflow)
        fill(product, settings)
        return ProductHome(product, settings, end_of(product))

    return make


def _furnish(settings: Settings, database: Path) -> None:
    (settings.home / "mlflow").mkdir(parents=True)
    shutil.copy(database, settings.home / "mlflow" / "mlflow.db")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 service on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a new bucket; the environment gives access to it, here and in subprocesses."""
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"test-{uuid4().hex}"
    boto3.client("s3", region_name="us-east-1", endpoint_url=s3_server).create_bucket(Bucket=name)
    return f"s3://{name}"
