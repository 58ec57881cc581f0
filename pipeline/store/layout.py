"""Locations of a product's files: tables and payloads in the object store; models, forecasts and pages in the home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Feed, Product, Settings
from pipeline.store.objects import ObjectStore, open_store


@dataclass(frozen=True, slots=True)
class Layout:
    """Locations of one product: object stores, which may be on S3, and folders on this machine."""

    root: Path
    store: ObjectStore

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Layout:
        """Return the layout of a product in this installation."""
        return cls(_home(settings, product.name), _store(settings, product.name))

    @property
    def forecasts(self) -> ObjectStore:
        """Forecasts of the published model and of the baselines."""
        return self.store / "forecasts"

    @property
    def scores(self) -> ObjectStore:
        """Scores of verified forecasts, as sums and counts."""
        return self.store / "scores"

    @property
    def ledger(self) -> ObjectStore:
        """Promotions and rollbacks."""
        return self.store / "ledger"

    @property
    def score_history(self) -> ObjectStore:
        """Held-out scores of pairs of recipes, as the gate first saw them."""
        return self.store / "score_history"

    @property
    def live_scores(self) -> ObjectStore:
        """Scores of the champion's forecasts beside those of the best baseline and of its judged fit."""
        return self.store / "live_scores"

    @property
    def backtest_pieces(self) -> ObjectStore:
        """Forecasts of backtests by origin and model, shared by all machines that take part in one."""
        return self.store / "backtest-pieces"

    @property
    def backtests(self) -> Path:
        """Results of backtests, one folder each."""
        return self.root / "backtests"

    @property
    def searches(self) -> Path:
        """Studies of options, one journal for each recipe."""
        return self.root / "searches"

    @property
    def models(self) -> Path:
        """Model bundles by SHA-256, so that serving does not depend on MLflow."""
        return self.root / "models"

    @property
    def published(self) -> Path:
        """Published forecasts, one folder per issue time, and the link `latest`."""
        return self.root / "published"


@dataclass(frozen=True, slots=True)
class FeedLayout:
    """Locations of one feed: those of the product for its main feed, a subfolder for each covariate feed."""

    root: Path
    store: ObjectStore
    frames: Path
    """Cached frames; they can be made again at any time."""

    @classmethod
    def of(cls, feed: Feed, settings: Settings) -> FeedLayout:
        """Return the layout of a feed in this installation."""
        root, store = _home(settings, feed.product), _store(settings, feed.product)
        frames = settings.home / "cache" / "frames" / feed.title
        if feed.is_covariate:
            return cls(root / "covariates" / feed.name, store / "covariates" / feed.name, frames)
        return cls(root, store, frames)

    @property
    def raw(self) -> ObjectStore:
        """Payloads as received."""
        return self.store / "raw"

    @property
    def receipts(self) -> ObjectStore:
        """Results of the checks on each ingested payload."""
        return self.store / "receipts"

    @property
    def observations(self) -> ObjectStore:
        """Accepted rows."""
        return self.store / "observations"

    @property
    def quarantine(self) -> ObjectStore:
        """Refused rows, with the reason."""
        return self.store / "quarantine"

    @property
    def quarantine_decisions(self) -> ObjectStore:
        """What was decided about refused rows."""
        return self.store / "quarantine-decisions"

    @property
    def quality_page(self) -> Path:
        """Results of the checks on the last payload, as a page."""
        return self.root / "quality.html"


def _home(settings: Settings, product: str) -> Path:
    return settings.home / "products" / product


def _store(settings: Settings, product: str) -> ObjectStore:
    return open_store(settings.store) / product if settings.store else open_store(_home(settings, product))
