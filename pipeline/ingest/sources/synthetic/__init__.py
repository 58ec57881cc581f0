"""The endless test world: physically sensible weather of any size, and all that goes wrong when it is observed."""

from pipeline.ingest.sources.synthetic.source import Synthetic

__all__ = ["Synthetic"]
