"""One HTTP client for all sources, and JSON read strictly."""

from pipeline.ingest.sources.http.backend import Backend, Clock, Deadline
from pipeline.ingest.sources.http.client import Client
from pipeline.ingest.sources.http.document import MEDIA_TYPE, as_column, as_text, read_document
from pipeline.ingest.sources.http.messages import MASK, Answer, Request, Secrets

__all__ = [
    "MASK",
    "MEDIA_TYPE",
    "Answer",
    "Backend",
    "Client",
    "Clock",
    "Deadline",
    "Request",
    "Secrets",
    "as_column",
    "as_text",
    "read_document",
]
