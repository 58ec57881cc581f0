from __future__ import annotations

import ast
import textwrap
from pathlib import Path
from typing import Any

import pytest

import models

FOLDER = Path(models.__file__).parent
ALLOWED = {
    "cmdstanpy",
    "lightgbm",
    "models",
    "numpy",
    "pandas",
    "prophet",
    "safetensors",
    "scipy",
    "statsmodels",
    "torch",
}


def test_every_public_name_resolves() -> None:
    assert models.__all__ == sorted(models.__all__, key=lambda name: (not name.isupper(), name))
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = models.nothing


def test_no_module_hides_a_public_name() -> None:
    """A submodule of the same name would take its place as soon as it is imported."""
    modules = {path.stem for path in FOLDER.iterdir()}
    assert not modules & set(models.__all__)


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (FOLDER / "README.md").read_text()
    block = text[text.index("    from dataclasses import dataclass") : text.index("For a grid, set `Task(grid")]
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(textwrap.dedent(block), "models/README.md", "exec"), names)  # noqa: S102 - our own text
    assert names["quantiles"].shape == (5, 3, 1, 2, 3)
    assert "Epoch(epoch=1" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_modules_import_only_what_models_may_and_unpickle_nothing(path: Any) -> None:
    import sys

    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            root = name.split(".")[0]
            assert root in ALLOWED or root in sys.stdlib_module_names, name
            assert root not in {"pickle", "marshal", "shelve"}
    assert "torch.load" not in source
    assert "torch.save" not in source
