"""The `sql` source: the results of a read-only database query, limited in time."""

from pipeline.ingest.sources.sql.source import Sql

__all__ = ["Sql"]
