"""Bitemporal observations: what was observed, and when it became known."""

from pipeline.store.observations.table import TIME, AppendResult, Observations

__all__ = ["TIME", "AppendResult", "Observations"]
