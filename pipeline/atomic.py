"""Files that appear whole or not at all, and a pointer that always leads to something whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_file(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary name, flushed to the disk before it takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` when the block ends well and vanishes when it does not.

    A folder that is there already is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        for inside in (*fresh.rglob("*"), fresh):
            _sync(inside)
        try:
            fresh.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def point(link: Path, target: str) -> None:
    """Let a symbolic link lead to `target` (relative to its folder); a reader sees the old or the new one."""
    fresh = link.with_name(f".{link.name}.{uuid4().hex}")
    fresh.symlink_to(target)
    try:
        fresh.replace(link)
    except BaseException:
        fresh.unlink()
        raise
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
