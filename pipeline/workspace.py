"""A product with its feeds, its stores, its registry and its cadence: the argument of every job.

    with Workspace.open(product, settings) as ws:
        ws.feed.observations.newest()

A job passes parts of its workspace on. Nothing below a job opens a store, reads settings or the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pipeline.store.layout import Layout
from pipeline.times import Cadence

if TYPE_CHECKING:
    from pipeline.config import Product, Settings
    from pipeline.forecasting.serving import BundleStore
    from pipeline.forecasting.verification.live_scores import LiveScores
    from pipeline.forecasting.verification.scores import Scores
    from pipeline.ingest.feed import OpenFeed
    from pipeline.registry.ledger import Ledger
    from pipeline.registry.score_history import ScoreHistoryTable
    from pipeline.registry.tracking import Registry
    from pipeline.store.forecasts import Forecasts


class Workspace:
    """One product of one installation. A part is imported and opened when it is first used, and then kept.

    A test may put a fake in the place of any part before it is used: ``ws.registry = FakeRegistry()``.
    """

    def __init__(self, product: Product, settings: Settings) -> None:
        self.product, self.settings = product, settings
        self.layout = Layout.of(product, settings)

    @classmethod
    @contextmanager
    def open(cls, product: Product, settings: Settings) -> Iterator[Self]:
        """Open a product for the length of a block."""
        yield cls(product, settings)

    @cached_property
    def feed(self) -> OpenFeed:
        """The feed of what is forecast."""
        from pipeline.ingest.feed import OpenFeed

        return OpenFeed(self.product.feed, self.settings)

    @cached_property
    def covariates(self) -> dict[str, OpenFeed]:
        """The feeds of covariates by name."""
        from pipeline.ingest.feed import OpenFeed

        return {name: OpenFeed(feed, self.settings) for name, feed in self.product.covariates.items()}

    @property
    def feeds(self) -> tuple[OpenFeed, ...]:
        """The feed of what is forecast, then the covariates."""
        return (self.feed, *self.covariates.values())

    @cached_property
    def cadence(self) -> Cadence:
        """Relates valid times, publication delay and issue times."""
        return Cadence.of(self.product)

    @cached_property
    def forecasts(self) -> Forecasts:
        """Issued forecasts."""
        from pipeline.store.forecasts import Forecasts

        return Forecasts(self.layout.forecasts)

    @cached_property
    def scores(self) -> Scores:
        """Verification of matured forecasts, as sums and counts."""
        from pipeline.forecasting.verification.scores import Scores

        return Scores(self.layout.scores)

    @cached_property
    def ledger(self) -> Ledger:
        """Every promotion, refusal and rollback."""
        from pipeline.registry.ledger import Ledger

        return Ledger(self.layout.ledger)

    @cached_property
    def score_history(self) -> ScoreHistoryTable:
        """Held-out scores of pairs of recipes, on which the gate's test rests."""
        from pipeline.registry.score_history import ScoreHistoryTable

        return ScoreHistoryTable(self.layout.score_history)

    @cached_property
    def live_scores(self) -> LiveScores:
        """Scores of the champion's forecasts beside their rivals', on which live verdicts rest."""
        from pipeline.forecasting.verification.live_scores import LiveScores

        return LiveScores(self.layout.live_scores)

    @cached_property
    def registry(self) -> Registry:
        """Runs and registered versions in MLflow."""
        from pipeline.registry.tracking import Registry

        uri, home = self.settings.mlflow_uri, self.settings.home
        cache = home / "cache" / "registry" / f"{self.product.name}.json"
        return Registry(self.product.name, uri, artifacts=home / "mlflow" / "artifacts", cache=cache)

    @cached_property
    def bundles(self) -> BundleStore:
        """The bundles on this machine, and which of them serves."""
        from pipeline.forecasting.serving import BundleStore

        return BundleStore(self.layout.models, self.registry)
