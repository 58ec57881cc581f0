"""Paths in product files (relative, absolute or inside an installed package) and the folder of shipped products."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import SourceError

_PACKAGE = "package:"


def resolve(text: str, folder: Path, *, extra: str = "") -> Path:
    """Return the path that `text` names in a product file in `folder`.

    ``package:NAME/file`` is a file of an installed package; `extra` is the optional dependency of Nightcast that
    installs the package.

    Raises:
        SourceError: the package is not installed.
    """
    if not text.startswith(_PACKAGE):
        return folder / text
    package, _, inside = text.removeprefix(_PACKAGE).partition("/")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # not a possible package name
        spec = None
    if spec is None or not spec.submodule_search_locations:
        remedy = f"pip install 'nightcast[{extra}]'" if extra else f"install the Python package {package}"
        raise SourceError(f"{text}: package '{package}' is not installed; {remedy}")
    return Path(next(iter(spec.submodule_search_locations))) / inside


def deploy_folder() -> Path:
    """Return the folder of the shipped products and samples: deploy/ of a clone, or its copy in an installed wheel."""
    root = Path(__file__).resolve().parent
    clone = root.parent / "deploy"
    return clone if (clone / "products").is_dir() else root / "deploy"
