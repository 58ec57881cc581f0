from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.config import Feed, Product
from pipeline.ingest.quality.contract import check_quality, contract_of, unit_changes
from pipeline.locations import Locations

NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)


def feed_of(variable: str, spec: dict[str, Any], **quality: Any) -> Feed:
    fields = {
        "name": "test",
        "feed": {
            "source": {"kind": "files", "path": "data.csv", "format": "csv"},
            "step": "1h",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {variable: spec},
            "quality": quality,
        },
        "forecast": {"targets": [variable]},
    }
    return Product.model_validate_json(json.dumps(fields)).feed


def changes(variable: str, spec: dict[str, Any]) -> dict[str, tuple[float, float]]:
    return {each.description: (each.factor, each.offset) for each in unit_changes(feed_of(variable, spec), variable)}


def test_a_temperature_may_come_in_another_unit() -> None:
    told = changes("air_temperature", {})
    assert told["degF instead of degC"] == pytest.approx((1.8, 32.0))
    assert told["K instead of degC"] == pytest.approx((1.0, 273.15))
    assert told["10 times too large"] == (10.0, 0.0)
    assert "degC instead of degC" not in told


def test_what_is_mistaken_is_the_unit_of_the_source() -> None:
    # 10 knots sent as 5.14 m/s and instead of knots: 2.65 m/s are stored instead of 5.14.
    told = changes("wind_speed", {"source_units": "knot"})
    assert told["m s-1 instead of knot"] == pytest.approx((1852 / 3600, 0.0))
    assert told["km h-1 instead of knot"] == pytest.approx((1.852, 0.0))
    assert "knot instead of knot" not in told
    fahrenheit = changes("air_temperature", {"source_units": "degF", "units": "degC"})
    # 20 degrees are sent as 20, and taken for 20 degF, -6.7 degC.
    factor, offset = fahrenheit["degC instead of degF"]
    assert 20 * factor + offset == pytest.approx(-6.667, abs=1e-3)


def test_powers_of_ten_that_are_a_change_of_unit_are_told_as_such() -> None:
    rain = changes("precipitation_amount", {})  # kg m-2, which is a depth in mm
    assert rain["cm instead of kg m-2"] == pytest.approx((0.1, 0.0))
    assert rain["inch instead of kg m-2"] == pytest.approx((1 / 25.4, 0.0))
    assert "10 times too small" not in rain
    assert set(changes("pedestrian_count", {})) == {
        f"{power} times too {size}" for power in (10, 100, 1000) for size in ("large", "small")
    }


def test_what_the_product_says_is_in_the_contract(locations: Locations) -> None:
    feed = feed_of(
        "wind_speed",
        {},
        oldest="1990-06-01",
        ahead="2d",
        checks={"time_step": "batch", "persistence": "row", "step": {"wind_speed": 20}},
        expectations=[{"type": "expect_column_mean_to_be_between", "kwargs": {"column": "wind_speed", "min_value": 1}}],
    )
    contract = contract_of(feed, locations, NOW)
    assert contract.oldest == datetime(1990, 6, 1, tzinfo=UTC)
    assert contract.latest == NOW + timedelta(days=2)
    assert contract.series_checks == ("persistence", "step")  # three stations have two neighbours each, too few
    assert (contract.severity["grid"], contract.severity["persistence"], contract.severity["step"]) == (
        "batch",
        "row",
        "warn",
    )
    (custom,) = contract.custom
    assert (custom.kind, custom.severity) == ("custom", "warn")
    check_quality(feed)


def test_times_of_covariates_may_lie_far_ahead(locations: Locations) -> None:
    feed = feed_of("wind_speed", {})
    nwp = feed.within("test", "nwp", feed.folder)
    assert contract_of(feed, locations, NOW).latest == NOW + timedelta(hours=1)
    assert contract_of(nwp, locations, NOW).latest == NOW + timedelta(days=400)
    assert contract_of(nwp, locations, NOW, known=True).forecasts
