from __future__ import annotations

import ast
from pathlib import Path

import pytest

import models

FOLDER = Path(models.__file__).parent
ALLOWED = {"models", "numpy", "safetensors", "torch"}


def test_every_public_name_resolves():
    assert models.__all__ == sorted(models.__all__, key=lambda name: (not name.isupper(), name))
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = models.nothing


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_modules_import_only_what_models_may_and_unpickle_nothing(path):
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
