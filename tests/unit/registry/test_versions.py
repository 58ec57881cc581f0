from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.registry.tracking import Registry
from pipeline.registry.versions import VersionCache
from pipeline.workspace import Workspace
from tests.conftest import Trained


@pytest.fixture
def workspace(trained: Trained) -> Workspace:
    """A workspace whose registry has cached its versions."""
    trained.workspace.registry.versions()
    return trained.workspace


@pytest.fixture
def without_mlflow(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    def fail(_: Registry) -> None:
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr(Registry, "mlflow", property(fail))
    return workspace


def test_a_registry_imports_mlflow_only_when_it_is_asked(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.registry.tracking import Registry; "
        "Registry('a', 'sqlite:///a.db', artifacts=Path('a')); print('mlflow' in sys.modules, 'torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    assert ended.stdout.split() == ["False", "False"]
    assert not list(tmp_path.iterdir())


def test_versions_of_an_unchanged_database_are_read_without_mlflow(without_mlflow: Workspace) -> None:
    registry = without_mlflow.registry
    (version,) = registry.versions()
    assert (version.version, set(version.aliases)) == (1, {"champion", "challenger", "fallback"})
    assert registry.by_alias("champion") == version
    assert registry.by_alias("nobody") is None


def test_an_alias_moved_by_another_process_is_seen(workspace: Workspace) -> None:
    other = Registry("tiny-wind", workspace.registry.uri, artifacts=workspace.settings.home / "mlflow" / "artifacts")
    other.client.delete_registered_model_alias("tiny-wind", "champion")
    assert workspace.registry.by_alias("champion") is None
    other.set_alias("champion", 1)
    found = workspace.registry.by_alias("champion")
    assert found is not None
    assert found.version == 1


def test_a_database_that_was_replaced_is_read_again(workspace: Workspace, empty_mlflow: Path) -> None:
    (workspace.settings.home / "mlflow" / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    assert workspace.registry.versions() == []


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage", b'{"fingerprint": "", "versions": []}'])
def test_a_damaged_cache_is_ignored_and_written_again(workspace: Workspace, content: bytes) -> None:
    path = workspace.settings.home / "cache" / "registry" / "tiny-wind.json"
    path.write_bytes(content)
    assert len(workspace.registry.versions()) == 1
    assert path.read_bytes() != content


def test_a_home_that_cannot_be_written_has_no_cache_and_the_same_answers(workspace: Workspace) -> None:
    folder = workspace.settings.home / "cache" / "registry"
    (folder / "tiny-wind.json").unlink()
    folder.rmdir()
    folder.write_bytes(b"in the way")
    assert len(workspace.registry.versions()) == 1


def test_versions_without_a_score_are_cached(tmp_path: Path, workspace: Workspace) -> None:
    (version,) = workspace.registry.versions()
    (tmp_path / "mlflow.db").write_bytes(b"a database")
    cache = VersionCache(tmp_path / "cache.json", f"sqlite:///{tmp_path}/mlflow.db")
    for crps in (None, float("nan"), 1.5):
        cache.save([version.model_copy(update={"crps": crps})], cache.fingerprint())
        (found,) = cache.load() or []
        assert found.crps is crps or str(found.crps) == str(crps)


@pytest.mark.parametrize("change", [b"longer than before", b"A database", None])
def test_a_cache_ends_with_any_change_of_the_database(tmp_path: Path, change: bytes | None) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"a database")
    cache = VersionCache(tmp_path / "cache.json", f"sqlite:///{database}")
    cache.save([], cache.fingerprint())
    assert cache.load() == []
    database.unlink() if change is None else database.write_bytes(change)
    assert cache.load() is None
    cache.save([], cache.fingerprint())
    assert cache.load() == (None if change is None else [])


def test_a_write_ahead_log_is_part_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"a database")
    cache = VersionCache(tmp_path / "cache.json", f"sqlite:///{tmp_path}/mlflow.db")
    cache.save([], cache.fingerprint())
    (tmp_path / "mlflow.db-wal").write_bytes(b"a transaction")
    assert cache.load() is None


@pytest.mark.parametrize(
    ("uri", "supported"),
    [("sqlite:////home/mlflow.db", True), ("http://127.0.0.1:5000", False), ("postgresql://host/mlflow", False)],
)
def test_only_an_sqlite_file_is_cached(uri: str, supported: bool) -> None:
    assert VersionCache.supports(uri) == supported
