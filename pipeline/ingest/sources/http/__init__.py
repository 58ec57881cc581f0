"""The HTTP client of all sources, and strict parsing of JSON."""

from pipeline.ingest.sources.http.backend import Backend, Clock, Deadline
from pipeline.ingest.sources.http.client import Client
from pipeline.ingest.sources.http.document import MEDIA_TYPE, as_column, as_text, read_document
from pipeline.ingest.sources.http.messages import MASK, Request, Response, Secrets

__all__ = [
    "MASK",
    "MEDIA_TYPE",
    "Backend",
    "Client",
    "Clock",
    "Deadline",
    "Request",
    "Response",
    "Secrets",
    "as_column",
    "as_text",
    "read_document",
]
