"""Checking a product before anything runs: the file, its models, its stations, a first look at its source."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pipeline.config import load_product
from pipeline.locations import read_locations
from pipeline.sources.registry import open_source
from pipeline.times import Cadence
from pipeline.training.fit import check_candidates


def check_product(path: Path) -> dict[str, str]:
    """Return what is right about a product file, in words; nothing is stored.

    Raises:
        ConfigError: a mistake in the file or in its list of stations.
        SourceError: the source cannot be reached or its first payload cannot be read.
    """
    product = load_product(path)
    check_candidates(product)
    locations = read_locations(product)
    source = open_source(product, locations)
    payload = next(islice(source.fetch(frozenset(), None, None), 1))
    decoded = source.decode(payload)
    cadence = Cadence.of(product)
    issue = cadence.latest_issue(datetime.now(UTC))
    first = cadence.lead_times(issue)[0]
    return {
        "product": f"{product.name}, {product.title}",
        "stations": str(len(locations)),
        "source": f"{payload.name}: {decoded.rows.num_rows:,} rows readable, {decoded.refused.num_rows:,} not",
        "schedule": f"an issue at {issue:%H:%M} UTC rests on {cadence.origin(issue):%Y-%m-%d %H:%M} and tells "
        f"{product.forecast.horizon} steps from {first:%Y-%m-%d %H:%M}",
    }
