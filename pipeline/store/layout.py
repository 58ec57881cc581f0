"""Where everything of a product is kept: tables and payloads in the store, what is served and shown below the home."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Feed, Product, Settings
from pipeline.store.objects import ObjectStore, open_store


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one product's stores are: places, which may be in a bucket, and paths on this machine."""

    root: Path
    store: ObjectStore

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Layout:
        """Return the layout of a product in this installation."""
        return cls(_home(settings, product.name), _store(settings, product.name))

    @property
    def forecasts(self) -> ObjectStore:
        """Issued forecasts, of the published model and the baselines beside it."""
        return self.store / "forecasts"

    @property
    def scores(self) -> ObjectStore:
        """Sums and counts of matured forecasts."""
        return self.store / "scores"

    @property
    def ledger(self) -> ObjectStore:
        """Promotions and rollbacks."""
        return self.store / "ledger"

    @property
    def models(self) -> Path:
        """Checkpoints by digest: the serving path needs no other server."""
        return self.root / "models"

    @property
    def published(self) -> Path:
        """PublishedForecast forecasts, a folder an issue time, and the pointer `latest`."""
        return self.root / "published"


@dataclass(frozen=True, slots=True)
class FeedLayout:
    """Where one feed's stores are: those of the product for its observations, apart for each covariate."""

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
        """Payloads as received, by content."""
        return self.store / "raw"

    @property
    def receipts(self) -> ObjectStore:
        """What the checks found in each payload that was taken in."""
        return self.store / "receipts"

    @property
    def observations(self) -> ObjectStore:
        """Accepted rows, bitemporal."""
        return self.store / "observations"

    @property
    def quarantine(self) -> ObjectStore:
        """Refused rows."""
        return self.store / "quarantine"

    @property
    def quarantine_decisions(self) -> ObjectStore:
        """What was decided about refused rows."""
        return self.store / "quarantine-decisions"

    @property
    def quality_page(self) -> Path:
        """What the checks found in the last payload, as a page."""
        return self.root / "quality.html"


def _home(settings: Settings, product: str) -> Path:
    return settings.home / "products" / product


def _store(settings: Settings, product: str) -> ObjectStore:
    return open_store(settings.store) / product if settings.store else open_store(_home(settings, product))
