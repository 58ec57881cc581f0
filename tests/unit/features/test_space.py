from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import NightcastError
from pipeline.features.frames import build_frames
from pipeline.features.space import Space, field_of
from pipeline.locations import Locations, read_locations
from tests.unit.features.grids import make_grid_product
from tests.unit.features.replay import CHANNELS, DAY, PLACES, START, Row, frames_of, table_of


@pytest.fixture
def grid(tmp_path: Path) -> Locations:
    return read_locations(make_grid_product(tmp_path, columns=3, days=3).feed)


STATIONS = Locations(PLACES, PLACES, (-8.0, -7.0), (52.0, 53.0))


def test_a_grid_lies_row_by_row_and_rows_run_along_latitude(grid: Locations) -> None:
    space = Space.of(grid)
    assert (space.is_grid, space.shape) == (True, (2, 3))
    assert space.longitude.tolist() == [[-10, -9, -8]] * 2
    assert space.latitude.tolist() == [[52] * 3, [51.5] * 3]


def test_stations_lie_where_they_are() -> None:
    space = Space.of(STATIONS)
    assert (space.is_grid, space.shape) == (False, (2,))
    assert (space.longitude.tolist(), space.latitude.tolist()) == ([-8, -7], [52, 53])


def test_any_flat_array_is_spread_without_a_copy_and_flattened_again(grid: Locations) -> None:
    space = Space.of(grid)
    batch = np.arange(4 * 5 * 2 * 6).reshape(4, 5, 2, 6)
    spread = space.spread(batch)
    assert spread.shape == (4, 5, 2, 2, 3)
    assert np.shares_memory(spread, batch)
    assert spread[1, 2, 0, 1, 2] == batch[1, 2, 0, 5]
    assert space.flat(spread).tolist() == batch.tolist()
    quantiles = np.arange(2 * 6 * 7).reshape(2, 6, 7)  # the location axis is not the last
    assert space.spread(quantiles, axis=-2).shape == (2, 2, 3, 7)
    assert space.flat(space.spread(quantiles, axis=1), axis=2).tolist() == quantiles.tolist()
    flat = np.arange(8).reshape(4, 2)
    assert Space.of(STATIONS).spread(flat) is not None
    assert Space.of(STATIONS).flat(Space.of(STATIONS).spread(flat)).tolist() == flat.tolist()


def test_an_axis_of_another_length_is_refused(grid: Locations) -> None:
    with pytest.raises(NightcastError, match="does not hold 6 locations"):
        Space.of(grid).spread(np.zeros((4, 5)))
    with pytest.raises(NightcastError, match="are not a space"):
        Space.of(grid).flat(np.zeros((4, 3, 2)))


def test_the_field_of_a_grid(grid: Locations) -> None:
    rows = [Row(START + n * DAY, name, START, float(m), None) for n in range(2) for m, name in enumerate(grid.ids)]
    frames = build_frames(table_of(rows[:-1]), locations=grid.ids, variables=CHANNELS, step=DAY, grid=grid.shape)
    field = field_of(frames, grid, slice(1, None))
    assert field.times.tolist() == frames.times[1:].tolist()
    assert field.values.shape == field.mask.shape == (1, 2, 2, 3)
    assert field.values[0, 0].tolist() == [[0, 1, 2], [3, 4, 0]]
    assert field.mask[0, 0].tolist() == [[True, True, True], [True, True, False]]
    assert np.shares_memory(field.values, frames.first)
    assert np.shares_memory(field.mask, frames.mask)
    assert field.space.longitude[1, 2] == -8


def test_the_field_of_stations() -> None:
    frames = frames_of([Row(START, "B", START, 1.0, 2.0)])
    field = field_of(frames, STATIONS)
    assert field.values[0].tolist() == [[0, 1], [0, 2]]
    assert field.mask[0].tolist() == [[False, True], [False, True]]
    assert field.space.longitude.tolist() == [-8, -7]
