"""Registry versions, and a cache of them for a local database: importing MLflow alone takes seconds."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline import atomic
from pipeline.training.verdict import Decision
from pipeline.version import code_version

_SQLITE = "sqlite:///"
_HEADER = 100
"""Length of an SQLite header; it holds a counter that every transaction increments (sqlite.org/fileformat.html)."""


class RegisteredVersion(BaseModel):
    """A registry version, with what serving and the command line need of it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, ser_json_inf_nan="constants")

    version: int
    digest: str
    """Digest of its bundle."""
    model: str
    trained_until: datetime
    crps: float | None
    verdict: Decision | None
    """What the gate decided; None for a version that another program registered."""
    reason: str
    """The verdict in one sentence."""
    run_id: str
    source: str
    aliases: tuple[str, ...] = ()
    table_version: int | None = None
    """Version of the observations table that it was trained on, where that was recorded."""


class _Snapshot(BaseModel):
    fingerprint: str
    versions: tuple[RegisteredVersion, ...]


class VersionCache:
    """The versions of one product as MLflow last listed them, valid while its SQLite database does not change."""

    def __init__(self, path: Path, uri: str) -> None:
        self.path, self._database = path, Path(uri.removeprefix(_SQLITE))

    @staticmethod
    def supports(uri: str) -> bool:
        """Return whether a tracking URI is an SQLite file, the only store whose changes show without MLflow."""
        return uri.startswith(_SQLITE) and "?" not in uri

    def fingerprint(self) -> str:
        """Return a string that changes with every write to the database; empty if there is no file."""
        parts = [code_version(), str(self._database)]
        try:
            for path in (self._database, self._database.with_name(f"{self._database.name}-wal")):
                if path is not self._database and not path.exists():
                    continue
                stat = path.stat()
                with path.open("rb") as file:
                    header = file.read(_HEADER)
                parts += [str(stat.st_ino), str(stat.st_size), str(stat.st_mtime_ns), header.hex()]
        except OSError:
            return ""
        return " ".join(parts)

    def load(self) -> list[RegisteredVersion] | None:
        """Return the versions, newest first; None where nothing is cached or the database has changed since."""
        try:
            snapshot = _Snapshot.model_validate_json(self.path.read_bytes())
        except (OSError, ValidationError):
            return None
        return list(snapshot.versions) if snapshot.fingerprint == self.fingerprint() else None

    def save(self, versions: list[RegisteredVersion], fingerprint: str) -> None:
        """Keep versions that were read after `fingerprint`; a home that cannot be written keeps none."""
        if fingerprint:
            content = _Snapshot(fingerprint=fingerprint, versions=tuple(versions)).model_dump_json()
            with suppress(OSError):
                atomic.write_file(self.path, content.encode())
