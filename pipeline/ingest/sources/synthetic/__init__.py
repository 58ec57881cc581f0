"""The `synthetic` source: simulated weather of any extent, with measurement errors and faults."""

from pipeline.ingest.sources.synthetic.source import Synthetic

__all__ = ["Synthetic"]
