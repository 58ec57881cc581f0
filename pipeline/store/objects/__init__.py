"""Object stores: the local disk and S3 behind one interface."""

from pathlib import Path

from pipeline.store.objects.base import Entry, ObjectStore
from pipeline.store.objects.local import LocalStore

__all__ = ["Entry", "LocalStore", "ObjectStore", "open_store"]


def open_store(where: str | Path) -> ObjectStore:
    """Return the store of a local folder or of ``s3://bucket/prefix``."""
    if str(where).startswith("s3://"):
        from pipeline.store.objects.s3 import S3Store  # S3 is paid for only where it is used

        return S3Store(str(where))
    return LocalStore(Path(where))
