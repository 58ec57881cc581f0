from __future__ import annotations

import io
import shutil
import socket
from pathlib import Path

import pytest
from rich.console import Console

from flows import up
from pipeline.config import Settings
from pipeline.errors import ConfigError, SourceError, UsageError


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40)


def said(console: Console) -> str:
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


def test_files_given_are_taken_as_they_are(archive: Path, console: Console) -> None:
    assert up._choose([archive], console) == [archive]


def test_a_product_that_comes_along_but_lacks_its_package_is_left_out_and_told(
    archive: Path, absent: Path, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "products").mkdir()
    for path in (archive, absent):
        shutil.copy(path, tmp_path / "products")
    monkeypatch.setattr(up, "deploy_folder", lambda: tmp_path)
    assert up._choose([], console) == [tmp_path / "products" / "wind.yaml"]
    assert "left out  absent: " in said(console)
    assert "pip install 'nightcast[auckland]'" in said(console)


def test_one_that_was_asked_for_is_an_error(absent: Path, console: Console) -> None:
    with pytest.raises(SourceError, match="not_there"):
        up._choose([absent], console)


def test_two_of_one_name_are_refused(archive: Path, console: Console, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    shutil.copy(archive, other)
    with pytest.raises(UsageError, match="two product files are called 'wind'"):
        up._choose([archive, other], console)


def test_a_file_that_is_not_there_is_told(tmp_path: Path, console: Console) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        up._choose([tmp_path / "none.yaml"], console)


def test_ports_must_differ(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must differ"):
        up._ports(Settings(home=tmp_path), 4200, 4200, 8300)


def test_f40_only_this_machine_can_be_listened_on(home: Path) -> None:
    with pytest.raises(UsageError, match="without a password"):
        up.up(host="0.0.0.0")  # noqa: S104


def test_a_home_is_held_by_one(tmp_path: Path) -> None:
    with up._only_one(tmp_path), pytest.raises(UsageError, match="already runs"), up._only_one(tmp_path):
        pass


def test_an_external_tracking_server_needs_no_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up._ports(Settings(home=tmp_path, tracking_uri="http://127.0.0.1:5000"), 4200, port, 8300)
