"""The `files` source: files on disk, taken in once each by content."""

from __future__ import annotations

import glob
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path, PurePath

import pyarrow as pa

from pipeline.config import Product
from pipeline.errors import ConfigError, ContractError, SourceError
from pipeline.locations import Locations
from pipeline.paths import resolve
from pipeline.sources.base import Decoded, Payload, refused_table
from pipeline.sources.cells import as_json
from pipeline.sources.layouts import decode_long, decode_wide
from pipeline.sources.tables import read_table


class Files:
    """Reads the files of a product, in the order of their names.

    Raises:
        ConfigError: the product names several variables for a layout that carries one.
    """

    def __init__(self, product: Product, locations: Locations) -> None:
        self._product, self._locations, self._spec = product, locations, product.feed.source
        count = len(product.feed.variables)
        if self._spec.layout == "wide" and count > 1:
            problem = f"wide carries one variable, and feed.variables names {count}"
            raise ConfigError(product.name, "feed.source.layout", problem, "use layout: long")

    def fetch(self, seen: Container[str], since: datetime | None, until: datetime | None) -> Iterator[Payload]:
        """Yield the files whose content is not in `seen`.

        What time a file covers is known only once it is decoded, so `since` and `until` change nothing.

        Raises:
            SourceError: no file matches, or one cannot be read.
        """
        for name, path in self._matches():
            try:
                payload = Payload.of(name, path.read_bytes())
            except OSError as error:
                raise SourceError(f"{path}: cannot be read, {error.strerror}") from error
            if payload.digest not in seen:
                yield payload

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a file.

        Raises:
            SourceError: the file is truncated or in another format.
            NoDataError: the file is empty.
            ContractError: its columns are not those of the product.
        """
        table, ragged = read_table(payload, self._spec.format)
        try:
            if self._spec.layout == "wide":
                decoded = decode_wide(table, self._product, self._locations)
            else:
                decoded = decode_long(table, self._product)
        except ContractError as error:
            raise ContractError(f"{payload.name}: {error}") from error
        except pa.ArrowInvalid as error:  # a typed column holds what no time or number can be
            raise SourceError(f"{payload.name}: {error}") from error
        if not ragged:
            return decoded
        lines = refused_table((None, None, as_json({"line": text}), reason) for text, reason in ragged)
        return Decoded(decoded.rows, pa.concat_tables([decoded.refused, lines]))

    def _matches(self) -> list[tuple[str, Path]]:
        """Return name and path of every file, sorted by name."""
        text, folder, extra = self._spec.path, self._product.folder, self._spec.extra
        whole = resolve(text, folder, extra=extra)
        if whole.is_file():
            return [(text, whole)]
        parts = PurePath(text).parts
        plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        found: list[tuple[str, Path]] = []
        if plain < len(parts):  # only the part with wildcards is a pattern; a folder may have brackets in its name
            head, tail = PurePath(*parts[:plain]), str(PurePath(*parts[plain:]))
            root = resolve(str(head), folder, extra=extra)
            names = sorted(glob.glob(tail, root_dir=root, recursive=True))  # noqa: PTH207 - leaves hidden files out
            found = [(str(head / name), root / name) for name in names if (root / name).is_file()]
        if not found:
            raise SourceError(f"{whole.absolute()}: no file matches; correct feed.source.path")
        return found
