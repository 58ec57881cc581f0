from __future__ import annotations

from pathlib import Path

import pytest

import pipeline
from pipeline.errors import SourceError
from pipeline.paths import deploy_folder, resolve


def test_relative_paths_start_in_the_folder_of_the_product_file(tmp_path: Path) -> None:
    assert resolve("a/b.csv", tmp_path) == tmp_path / "a" / "b.csv"
    assert resolve("/a/b.csv", tmp_path) == Path("/a/b.csv")


def test_a_file_inside_a_package(tmp_path: Path) -> None:
    assert resolve("package:pipeline/names.py", tmp_path) == Path(str(pipeline.__file__)).parent / "names.py"


@pytest.mark.parametrize("text", ["package:no_such_package_4711/x", "package:json_not_there/", "package:this/x"])
def test_a_package_that_is_not_installed(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="is not installed; install the Python package"):
        resolve(text, tmp_path)
    with pytest.raises(SourceError, match=r"pip install 'nightcast\[auckland\]'"):
        resolve(text, tmp_path, extra="auckland")


@pytest.mark.parametrize("text", ["package:", "package:/x", "package:.x/y", "package:no.such.thing/x"])
def test_invalid_package_names(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="is not installed"):
        resolve(text, tmp_path)


def test_the_shipped_products_are_found() -> None:
    assert (deploy_folder() / "products" / "ireland-wind.yaml").is_file()
