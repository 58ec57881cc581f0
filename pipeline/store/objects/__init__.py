"""Object stores: the local disk and S3 behind one interface."""

from pathlib import Path

from pipeline.store.objects.base import ObjectInfo, ObjectStore
from pipeline.store.objects.local import LocalStore

__all__ = ["LocalStore", "ObjectInfo", "ObjectStore", "open_store"]


def open_store(location: str | Path) -> ObjectStore:
    """Return the store of a local folder or of ``s3://bucket/prefix``."""
    if str(location).startswith("s3://"):
        from pipeline.store.objects.s3 import S3Store  # imported only where it is used: it is slow

        return S3Store(str(location))
    return LocalStore(Path(location))
