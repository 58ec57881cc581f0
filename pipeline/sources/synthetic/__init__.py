"""The endless test world: physically sensible weather of any size, and all that goes wrong when it is observed."""

from pipeline.sources.synthetic.source import Synthetic

__all__ = ["Synthetic"]
