"""The version of the running code."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> str:
    """Return the version of the package, with the commit when it runs from a clone, e.g. 0.1.0+1a2b3c4."""
    try:
        released = version("nightcast")
    except PackageNotFoundError:  # a source tree that was never installed
        released = "0+unknown"
    commit = _commit(Path(__file__).resolve().parent.parent / ".git")
    return f"{released}+{commit[:7]}" if commit else released


def _commit(git: Path) -> str:
    head = git / "HEAD"
    if not head.is_file():
        return ""
    text = head.read_text().strip()
    if not text.startswith("ref: "):
        return text
    branch, packed = text.removeprefix("ref: "), git / "packed-refs"
    if (git / branch).is_file():
        return (git / branch).read_text().strip()
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {branch}")), "")
