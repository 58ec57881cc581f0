from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from pipeline.config import settings
from pipeline.paths import deploy_folder


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """A Prefect server for the tests. Flows send no heartbeats, which would delay each by a second."""
    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield
        gc.collect()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NIGHTCAST_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A product whose record has ended."""
    text = (deploy_folder() / "products" / "ireland-wind.yaml").read_text()
    path = tmp_path / "wind.yaml"
    path.write_text(text.replace("../samples", str(deploy_folder() / "samples")).replace("ireland-wind", "wind"))
    return path


@pytest.fixture
def live(archive: Path) -> Path:
    """The same product as if its feed were live."""
    archive.write_text(archive.read_text().replace("mode: archive", "mode: live"))
    return archive


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Prefect leaves sockets of its clients to the garbage collector, which may find them during any test here.
    leaked = pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(leaked)
