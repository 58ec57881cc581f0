"""Sources: providers whose payloads are fetched and decoded into rows."""

from pipeline.ingest.sources.base import REFUSED_SCHEMA, About, Decoded, Payload, Source, row_schema
from pipeline.ingest.sources.registry import open_source

__all__ = ["REFUSED_SCHEMA", "About", "Decoded", "Payload", "Source", "open_source", "row_schema"]
