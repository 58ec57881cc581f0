"""Observations from a database: a query with bound times, asked read-only, kept as it was answered."""

from pipeline.ingest.sources.sql.source import Sql

__all__ = ["Sql"]
