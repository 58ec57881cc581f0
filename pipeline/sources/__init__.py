"""Where observations come from: payloads fetched from a provider and decoded into rows."""

from pipeline.sources.base import REFUSED_SCHEMA, About, Decoded, Payload, Source, row_schema
from pipeline.sources.registry import open_source

__all__ = ["REFUSED_SCHEMA", "About", "Decoded", "Payload", "Source", "open_source", "row_schema"]
