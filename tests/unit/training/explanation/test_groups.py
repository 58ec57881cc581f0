from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.features.windows import make_task
from pipeline.locations import Locations, cell_ids, read_locations
from pipeline.times import Cadence
from pipeline.training.evaluate import withhold
from pipeline.training.explanation.groups import InputGroup, input_groups, lag_bands, lag_title
from pipeline.training.explanation.regions import MOST_STATIONS, divide
from tests.conftest import ProductHome
from tests.unit.training.explanation.signals import make_signals
from tests.unit.training.explanation.signals import make_task as signal_task
from tests.world import make_product


def _stations(count: int, **changes: Any) -> Locations:
    random = np.random.default_rng(count)
    fields: dict[str, Any] = {
        "ids": tuple(f"s{n}" for n in range(count)),
        "names": tuple(f"Station {n}" for n in range(count)),
        "longitude": tuple(random.uniform(-10, -6, count).tolist()),
        "latitude": tuple(random.uniform(51, 55, count).tolist()),
    }
    return Locations(**(fields | changes))


def _grid(rows: int, columns: int, west: float = -12.0) -> Locations:
    ids = cell_ids(rows, columns)
    longitude = tuple(west + column for _ in range(rows) for column in range(columns))
    latitude = tuple(50.0 + row for row in range(rows) for _ in range(columns))
    return Locations(ids, ids, longitude, latitude, (rows, columns))


class TestLags:
    def test_bands_double_in_length(self) -> None:
        assert lag_bands(14) == [(0, 0), (1, 1), (2, 3), (4, 7), (8, 13)]
        assert lag_bands(9) == [(0, 0), (1, 1), (2, 3), (4, 7), (8, 8)]
        assert lag_bands(2) == [(0, 0), (1, 1)]
        assert lag_bands(1) == [(0, 0)]

    @given(st.integers(1, 500))
    def test_bands_cover_every_lag_once(self, context: int) -> None:
        lags = [lag for first, last in lag_bands(context) for lag in range(first, last + 1)]
        assert lags == list(range(context))

    def test_titles_follow_without(self, fresh: Callable[..., ProductHome]) -> None:
        product = fresh(days=30).product
        assert lag_title(0, 0, product) == "the newest values"
        assert lag_title(1, 1, product) == "values 1 d before the newest"
        assert lag_title(4, 7, product) == "values 4 d to 7 d before the newest"


class TestRegions:
    def test_few_stations_are_regions_of_their_own(self) -> None:
        regions = divide(_stations(MOST_STATIONS))
        assert [region.name for region in regions] == [f"s{n}" for n in range(MOST_STATIONS)]
        assert regions[3].title == "Station 3"
        assert regions[3].members.nonzero()[0].tolist() == [3]

    def test_stations_of_two_towns_are_not_mixed(self) -> None:
        here, there = np.linspace(0, 0.1, 20), np.linspace(5, 5.1, 20)
        longitude = tuple(np.concatenate([here, there]).tolist())
        regions = divide(_stations(40, longitude=longitude, latitude=(52.0,) * 40))
        assert all(len({index < 20 for index in region.members.nonzero()[0]}) == 1 for region in regions)
        assert regions[0].title.startswith("2 stations around Station ")

    def test_neighbours_across_the_date_line_stay_together(self) -> None:
        east, west = np.linspace(179.0, 179.9, 16), np.linspace(-179.9, -179.0, 16)
        locations = _stations(32, longitude=tuple(np.concatenate([east, west]).tolist()), latitude=(-17.0,) * 32)
        first = next(region for region in divide(locations) if region.members[15])
        assert first.members.nonzero()[0].tolist() in ([14, 15], [15, 16])

    def test_a_grid_is_divided_into_blocks_with_their_extent(self) -> None:
        regions = divide(_grid(6, 9))
        assert len(regions) == 4 * 4
        assert regions[0].title == "cells 50 to 51° N, 12 to 10° W"
        assert regions[-1].title == "cells 55° N, 5 to 4° W"

    def test_a_block_across_the_date_line_or_the_equator_keeps_its_extent_short(self) -> None:
        assert divide(_grid(1, 12, west=179.0))[0].title == "cells 50° N, 179° E to 179° W"
        assert divide(_grid(1, 12, west=-1.0))[0].title == "cells 50° N, 1° W to 1° E"
        cells = Locations(("a", "b"), ("a", "b"), (1.0, 1.0), (-1.0, 1.0), (2, 1))
        assert [region.title for region in divide(cells)] == ["a", "b"]

    @given(st.one_of(st.integers(1, 90).map(_stations), st.builds(_grid, st.integers(1, 9), st.integers(1, 9))))
    def test_every_location_is_in_one_region(self, locations: Locations) -> None:
        regions = divide(locations)
        assert np.sum([region.members for region in regions], axis=0).tolist() == [1] * len(locations)
        assert len(regions) <= MOST_STATIONS
        assert len({region.name for region in regions if not region.is_single}) == sum(
            not region.is_single for region in regions
        )


class TestGroups:
    def test_stations_and_lags_of_a_product(self, fresh: Callable[..., ProductHome]) -> None:
        place = fresh(days=30, context=5)
        ws = place.workspace
        task = make_task(ws.product, ws.cadence, ws.feed.locations)
        groups = input_groups(task, ws.product, ws.feed.locations)
        assert [(group.kind, group.name) for group in groups] == [
            ("all", "input"),
            *(("location", f"S{n}") for n in range(4)),
            *(("lag", lag) for lag in ("0", "1", "2", "4")),
        ]

    def test_the_only_station_variable_and_frame_are_no_groups(self, fresh: Callable[..., ProductHome]) -> None:
        ws = fresh(days=30, stations=1, context=1).workspace
        groups = input_groups(make_task(ws.product, ws.cadence, ws.feed.locations), ws.product, ws.feed.locations)
        assert [(group.kind, group.name) for group in groups] == [("all", "input")]

    def test_variables_and_covariates_are_called_by_their_long_names(self, tmp_path: Path) -> None:
        nwp: dict[str, Any] = {
            "source": {"kind": "open-meteo", "endpoint": "previous-runs"},
            "step": "1h",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {"wind_speed": {}, "air_temperature": {}},
        }
        variables = {"wind_speed": {"units": "m s-1"}, "nox": {"units": "1"}}
        product = make_product(tmp_path, days=30, stations=1, covariates={"nwp": nwp}, feed={"variables": variables})
        locations = read_locations(product.feed)
        groups = input_groups(make_task(product, Cadence.of(product), locations), product, locations)
        assert [(group.kind, group.name, group.title) for group in groups if group.kind != "lag"] == [
            ("all", "input", "any input"),
            ("all", "observations", "any observation"),
            ("all", "covariates", "any covariate"),
            ("variable", "wind_speed", "wind speed"),
            ("variable", "nox", "nox"),
            ("covariate", "nwp.wind_speed", "wind speed of nwp"),
            ("covariate", "nwp.air_temperature", "air temperature of nwp"),
        ]


@pytest.mark.parametrize("covariates", [0, 2])
def test_what_is_withheld_is_missing_and_the_rest_stays(covariates: int) -> None:
    held_out = make_signals(signal_task(channels=2, covariates=covariates), station=1)[2]
    inputs = held_out.inputs(np.arange(3))
    before = inputs.mask.copy(), inputs.values.copy()
    chosen = np.arange(5) == 2
    changed = withhold(inputs, frames=slice(1, 3), channels=slice(0, 1), locations=chosen, covariates=slice(1, 2))
    missing = ~changed.mask
    assert missing.sum() == 3 * 2 * 1 * 1
    assert missing[:, 1:3, 0, 2].all()
    assert (changed.values[missing] == 0).all()
    np.testing.assert_array_equal(changed.values[~missing], inputs.values[~missing])
    np.testing.assert_array_equal(inputs.mask, before[0])
    np.testing.assert_array_equal(inputs.values, before[1])
    if covariates:
        assert changed.covariates is not None and changed.covariates_mask is not None and inputs.covariates is not None
        assert (~changed.covariates_mask).sum() == changed.covariates_mask[:, :, 1].size
        assert not changed.covariates[:, :, 1].any()
        np.testing.assert_array_equal(changed.covariates[:, :, 0], inputs.covariates[:, :, 0])
    else:
        assert changed.covariates is None


def test_all_input_is_everything() -> None:
    inputs = make_signals(signal_task(covariates=1))[2].inputs(np.arange(2))
    nothing = InputGroup("all", "input", "any input", covariates=slice(None)).withhold(inputs)
    assert not nothing.mask.any()
    assert not nothing.values.any()
    assert nothing.covariates_mask is not None and not nothing.covariates_mask.any()
