"""The bitemporal observations: what was observed, and when it became known."""

from pipeline.store.observations.table import TIME, Appended, Observations

__all__ = ["TIME", "Appended", "Observations"]
