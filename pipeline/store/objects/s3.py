"""A place below an S3 prefix. Objects are whole by nature, and `create` is a conditional put.

Credentials, region and endpoint come from the environment, by the names that obstore and delta-rs both read:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, and for another service than Amazon's
AWS_ENDPOINT_URL and, when that is plain HTTP, AWS_ALLOW_HTTP=true. Roles of containers and machines work too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as ObstoreS3

from pipeline.errors import StoreError
from pipeline.store.objects.base import Entry, ObjectStore

RETRIES = 5
RETRY_SECONDS = 60
_WRITERS = 8


class S3Store(ObjectStore):
    """A prefix in a bucket, as ``s3://bucket/prefix``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")

    @property
    def uri(self) -> str:
        """The address without a slash at its end."""
        return self._uri

    @property
    def storage_options(self) -> dict[str, str]:
        """What delta-rs must be told beside the URI: as much patience as the other requests have."""
        return {"max_retries": str(RETRIES), "retry_timeout": f"{RETRY_SECONDS}s"}

    def __truediv__(self, name: str) -> S3Store:
        """Return the place of a folder within."""
        return S3Store(f"{self._uri}/{name}")

    def find(self, name: str) -> bytes | None:
        """Return the content of an object, or None when there is none."""
        with self._told(name, "read"):
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

    def look(self, name: str) -> Entry | None:
        """Return size and tag of an object, or None when there is none."""
        with self._told(name, "read"):
            try:
                facts = obstore.head(self._store, name)
            except FileNotFoundError:
                return None
        return Entry(name, facts["size"], facts["last_modified"], str(facts["e_tag"]))

    def entries(self, folder: str = "", *, after: str = "") -> list[Entry]:
        """Return the objects below a folder, at any depth, by name; those after a name cost less."""
        with self._told(folder, "list"):
            found = obstore.list(self._store, folder or None, offset=after or None, chunk_size=1000).collect()
        entries = (Entry(one["path"], one["size"], one["last_modified"], str(one["e_tag"])) for one in found)
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """Return the names of the folders right below, ascending."""
        with self._told("", "list"):
            return sorted(name.rstrip("/") for name in obstore.list_with_delimiter(self._store)["common_prefixes"])

    def write(self, name: str, content: bytes) -> None:
        """Put an object in place; replace what was there."""
        with self._told(name, "write"):
            obstore.put(self._store, name, content)

    def create(self, name: str, content: bytes) -> bool:
        """Put an object in place unless there is one; return whether it was.

        A put whose answer was lost is sent again and then meets its own object: the same content counts as ours.
        """
        with self._told(name, "write"):
            try:
                obstore.put(self._store, name, content, mode="create")
            except AlreadyExistsError:
                return self.find(name) == content
        return True

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Write objects under names that nobody knows yet."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            for done in [pool.submit(self.write, name, content) for name, content in files]:
                done.result()

    def remove(self, name: str) -> None:
        """Remove an object; there may be none."""
        with self._told(name, "remove"):
            obstore.delete(self._store, name)

    def settle(self, name: str) -> None:
        """Do nothing: what the service confirmed is kept."""

    @cached_property
    def _store(self) -> ObstoreS3:
        with self._told("", "open"):
            return ObstoreS3.from_url(
                self._uri,
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
            )

    @contextmanager
    def _told(self, name: str, deed: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            where = f"{self._uri}/{name}" if name else self._uri
            raise StoreError(f"{where}: cannot {deed}, {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Return what an error of a library says, without the dump that follows."""
    return str(error).strip().partition("\n")[0][:300]
