"""An S3 prefix as an object store. S3 writes are atomic, and `create` is a conditional put.

Credentials, region and endpoint come from the environment variables that both obstore and delta-rs read:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION; for services other than Amazon's also
AWS_ENDPOINT_URL and, for plain HTTP, AWS_ALLOW_HTTP=true. IAM roles of containers and machines work too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as ObstoreS3

from pipeline.errors import StoreError, first_line
from pipeline.store.objects.base import ObjectInfo, ObjectStore

if TYPE_CHECKING:  # obstore exports it to type checkers only
    from obstore import ObjectMeta

RETRIES = 5
RETRY_SECONDS = 60
_WRITERS = 8


class S3Store(ObjectStore):
    """A prefix in a bucket, as ``s3://bucket/prefix``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    @property
    def uri(self) -> str:
        """The address without a trailing slash."""
        return self._uri

    @property
    def storage_options(self) -> dict[str, str]:
        """Options that delta-rs needs in addition to the URI: the same retries as for all other requests."""
        return {"max_retries": str(RETRIES), "retry_timeout": f"{RETRY_SECONDS}s"}

    def __truediv__(self, name: str) -> S3Store:
        """Return the store of a subfolder."""
        return S3Store(f"{self._uri}/{name}")

    def get(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""
        with self._wrap_errors(name, "read"):
            try:
                return bytes(obstore.get(self._client, name).bytes())
            except FileNotFoundError:
                return None

    def stat(self, name: str) -> ObjectInfo | None:
        """Return the metadata of an object, or None if it does not exist."""
        with self._wrap_errors(name, "read"):
            try:
                return _info(obstore.head(self._client, name), name)
            except FileNotFoundError:
                return None

    def list_files(self, folder: str = "", *, after: str = "") -> list[ObjectInfo]:
        """Return all objects below a folder, sorted by name; with `after`, only later names."""
        with self._wrap_errors(folder, "list"):
            found = obstore.list(self._client, folder or None, offset=after or None, chunk_size=1000).collect()
        return sorted((_info(meta, meta["path"]) for meta in found), key=lambda file: file.name)

    def list_folders(self) -> list[str]:
        """Return the names of the direct subfolders, sorted."""
        with self._wrap_errors("", "list"):
            return sorted(name.rstrip("/") for name in obstore.list_with_delimiter(self._client)["common_prefixes"])

    def put(self, name: str, content: bytes) -> None:
        """Write an object, replacing an existing one."""
        with self._wrap_errors(name, "write"):
            obstore.put(self._client, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; return whether it was written.

        A put whose response was lost is sent again and then finds its own object: equal content counts as written.
        """
        with self._wrap_errors(name, "write"):
            try:
                obstore.put(self._client, name, content, mode="create")
            except AlreadyExistsError:
                return self.get(name) == content
        return True

    def put_new_files(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write objects under unused names."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            for done in [pool.submit(self.put, name, content) for name, content in files]:
                done.result()

    def delete(self, name: str) -> None:
        """Delete an object if it exists."""
        with self._wrap_errors(name, "delete"):
            obstore.delete(self._client, name)

    def fsync(self, name: str) -> None:
        """Do nothing: an object is durable once S3 has confirmed it."""

    @cached_property
    def _client(self) -> ObstoreS3:
        with self._wrap_errors("", "open"):
            return ObstoreS3.from_url(
                self._uri,
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            )

    @contextmanager
    def _wrap_errors(self, name: str, operation: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            uri = f"{self._uri}/{name}" if name else self._uri
            raise StoreError(f"{uri}: cannot {operation}, {first_line(error)}") from error


def _info(meta: ObjectMeta, name: str) -> ObjectInfo:
    return ObjectInfo(name, meta["size"], meta["last_modified"], str(meta["e_tag"]))
