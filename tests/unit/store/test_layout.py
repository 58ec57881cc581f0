from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.store.layout import FeedLayout, Layout
from pipeline.store.objects import LocalStore, open_store
from tests.world import make_product, make_settings


def test_by_default_all_files_are_in_the_home(tmp_path: Path) -> None:
    product, settings = make_product(tmp_path), make_settings(tmp_path)
    layout, feed = Layout.of(product, settings), FeedLayout.of(product.feed, settings)
    root = settings.home / "products" / "tiny-wind"
    for location, name in (
        (layout.forecasts, "forecasts"),
        (layout.scores, "scores"),
        (layout.ledger, "ledger"),
        (feed.raw, "raw"),
        (feed.receipts, "receipts"),
        (feed.observations, "observations"),
        (feed.quarantine, "quarantine"),
    ):
        assert isinstance(location, LocalStore)
        assert location.path == root / name
    assert (layout.models, layout.published, feed.quality_page) == (
        root / "models",
        root / "published",
        root / "quality.html",
    )


@pytest.mark.parametrize("store", ["s3://bucket", "s3://bucket/met/office"])
def test_with_a_bucket_models_and_pages_stay_in_the_home(tmp_path: Path, store: str) -> None:
    product = make_product(tmp_path)
    settings = Settings(home=tmp_path / "home", store=store)
    layout, feed = Layout.of(product, settings), FeedLayout.of(product.feed, settings)
    assert layout.ledger == open_store(f"{store}/tiny-wind/ledger")
    assert feed.observations == open_store(f"{store}/tiny-wind/observations")
    assert feed.quality_page == tmp_path / "home" / "products" / "tiny-wind" / "quality.html"
    assert layout.models == tmp_path / "home" / "products" / "tiny-wind" / "models"
