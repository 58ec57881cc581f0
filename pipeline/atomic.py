"""Atomic file operations: a file or folder appears whole or not at all, and a link always has a target."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


def write_file(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = write_temporary(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def write_temporary(path: Path, content: bytes) -> Path:
    """Write a flushed temporary file in the folder of `path`, readable by everyone, and return its path."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that is renamed to `path` on success and deleted on failure.

    A folder that already exists at `path` is left unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for inside in (*temporary.rglob("*"), temporary):
            fsync(inside)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_symlink(link: Path, target: str) -> None:
    """Point a symbolic link at `target`, relative to the link's folder; readers see the old or the new target."""
    temporary = link.with_name(f".{link.name}.{uuid4().hex}")
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except BaseException:
        temporary.unlink()
        raise
    fsync(link.parent)


def fsync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
