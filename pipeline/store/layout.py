"""Where everything of a product is kept below the home folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Product, Settings


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one product's stores."""

    root: Path

    @classmethod
    def of(cls, product: Product, settings: Settings) -> Layout:
        """Return the layout of a product in this installation."""
        return cls(settings.home / "products" / product.name)

    @property
    def raw(self) -> Path:
        """Payloads as received, by content."""
        return self.root / "raw"

    @property
    def observations(self) -> Path:
        """Accepted rows, bitemporal."""
        return self.root / "observations"

    @property
    def quarantine(self) -> Path:
        """Refused rows."""
        return self.root / "quarantine"

    @property
    def forecasts(self) -> Path:
        """Issued forecasts, of the published model and the baselines beside it."""
        return self.root / "forecasts"

    @property
    def scores(self) -> Path:
        """Sums and counts of matured forecasts."""
        return self.root / "scores"

    @property
    def ledger(self) -> Path:
        """Promotions and rollbacks."""
        return self.root / "ledger"

    @property
    def quality_page(self) -> Path:
        """What the checks found in the last payload, as a page."""
        return self.root / "quality.html"

    @property
    def models(self) -> Path:
        """Checkpoints by digest: the serving path needs no other server."""
        return self.root / "models"

    @property
    def receipts(self) -> Path:
        """What the checks found in each payload that was taken in."""
        return self.root / "receipts"

    @property
    def published(self) -> Path:
        """Published forecasts, a folder an issue time, and the pointer `latest`."""
        return self.root / "published"
