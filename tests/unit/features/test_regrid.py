from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.features.regrid import Regrid
from pipeline.locations import Locations, cell_ids

NAN = np.nan


def stations(*places: tuple[str, float, float]) -> Locations:
    """(id, longitude, latitude) of each."""
    ids, longitude, latitude = zip(*places, strict=True)
    return Locations(ids, ids, longitude, latitude)


def grid(longitude: list[float], latitude: list[float]) -> Locations:
    north, east = np.meshgrid(latitude, longitude, indexing="ij")
    ids = cell_ids(len(latitude), len(longitude))
    shape = (len(latitude), len(longitude))
    return Locations(ids, ids, tuple(east.ravel().tolist()), tuple(north.ravel().tolist()), shape)


def moved(source: Locations, target: Locations, values: list[float]) -> NDArray[np.float32]:
    """What one field becomes; NaN is unknown, before and after."""
    field = np.array(values, np.float32)
    known = np.isfinite(field)
    found, seen = Regrid.between(source, target)(np.where(known, field, 0).astype(np.float32), known)
    assert found.dtype == np.float32
    assert (found[~seen] == 0).all()
    return np.where(seen, found, NAN)


A, B, C = ("A", 0.0, 50.0), ("B", 1.0, 50.0), ("C", 2.0, 50.0)


def test_equal_stations_keep_their_values() -> None:
    np.testing.assert_array_equal(moved(stations(A, B), stations(A, B), [1, NAN]), [1, NAN])


def test_stations_match_by_id_in_any_order_and_keep_their_gaps() -> None:
    np.testing.assert_array_equal(moved(stations(A, B, C), stations(C, A), [1, 2, NAN]), [NAN, 1])


def test_between_stations_the_weight_is_the_inverse_square_of_the_distance() -> None:
    # On the equator at 0, 3 and 30 degrees, seen from 1: distances 1, 2 and 29, as far as chords are arcs.
    source = stations(("A", 0.0, 0.0), ("B", 3.0, 0.0), ("C", 30.0, 0.0))
    weights = np.array([1, 1 / 4, 1 / 29**2])
    expected = (weights @ [10, 20, 500]) / weights.sum()
    assert moved(source, stations(("X", 1.0, 0.0)), [10, 20, 500])[0] == pytest.approx(expected, rel=1e-3)
    # What is unknown has no weight.
    assert moved(source, stations(("X", 1.0, 0.0)), [NAN, 20, NAN])[0] == pytest.approx(20)
    assert np.isnan(moved(source, stations(("X", 1.0, 0.0)), [NAN] * 3)[0])


def test_a_station_at_the_same_point_gives_the_value_alone() -> None:
    assert moved(stations(A, B), stations(("X", 1.0, 50.0)), [5, 7]).tolist() == [7]


def test_only_the_nearest_four_stations_count() -> None:
    source = stations(*((f"S{n}", float(n), 0.0) for n in range(10)))
    assert moved(source, stations(("X", 1.5, 0.0)), [1, 1, 1, 1, *[1000] * 6])[0] == pytest.approx(1)


def test_one_station_gives_all_values() -> None:
    assert moved(stations(A), stations(B, C), [3]).tolist() == [3, 3]
    assert moved(stations(A), stations(("X", 7.0, 7.0)), [3]).tolist() == [3]


SOURCE = grid([0.0, 1.0, 2.0], [52.0, 51.0])
FIELD = [0.0, 10.0, 20.0, 100.0, 110.0, 120.0]  # 10 a degree to the east, 100 a degree to the south


@pytest.mark.parametrize(
    ("longitude", "latitude", "expected"),
    [
        (1.0, 51.0, 110),  # a node
        (0.5, 51.5, 55),
        (1.75, 51.25, 17.5 + 75),
        (2.6, 51.0, 120),  # less than a cell outside: the edge
        (-0.9, 52.5, 0),
        (359.5, 52.0, 0),  # the same longitude, in another range
        (3.1, 51.5, NAN),  # farther out
        (1.0, 53.1, NAN),
        (-178.0, 51.5, NAN),
    ],
)
def test_a_grid_is_read_bilinearly(longitude: float, latitude: float, expected: float) -> None:
    (found,) = moved(SOURCE, stations(("X", longitude, latitude)), FIELD)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_weight_of_an_unknown_corner_goes_to_the_others() -> None:
    holed = [0.0, NAN, 20.0, 100.0, 110.0, 120.0]
    # Halfway between the nodes 0, (10), 100 and 110: the three known ones count alike.
    assert moved(SOURCE, stations(("X", 0.5, 51.5)), holed)[0] == pytest.approx(70)
    # In the unknown node itself nothing else has a weight.
    assert np.isnan(moved(SOURCE, stations(("X", 1.0, 52.0)), holed)[0])


def test_an_equal_grid_keeps_its_values_and_a_shifted_one_does_not() -> None:
    assert moved(SOURCE, grid([0.0, 1.0, 2.0], [52.0, 51.0]), FIELD).tolist() == FIELD
    shifted = grid([0.5, 1.5, 2.5], [52.0, 51.0])  # its cells have the same names
    assert moved(SOURCE, shifted, FIELD).tolist() == pytest.approx([5, 15, 20, 105, 115, 120])


def test_a_global_grid_is_periodic() -> None:
    globe = grid([0.0, 90.0, 180.0, 270.0], [0.0, 10.0])
    field = [0.0, 10.0, 20.0, 30.0] * 2
    found = moved(globe, stations(("X", 315.0, 5.0), ("Y", -45.0, 5.0), ("Z", 45.0, 5.0)), field)
    assert found.tolist() == pytest.approx([15, 15, 5])


def test_a_grid_may_have_a_single_row_or_column() -> None:
    assert moved(grid([5.0], [50.0]), stations(("X", 5.0, 50.0)), [4]).tolist() == [4]
    row = grid([0.0, 1.0], [50.0])
    assert moved(row, stations(("X", 0.25, 50.0)), [0, 8]).tolist() == [2]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_mean_is_within_the_known_values_and_a_constant_stays(data: st.DataObject) -> None:
    coordinate = st.tuples(st.floats(-179, 179), st.floats(-85, 85))
    source = [(f"A{n}", *at) for n, at in enumerate(data.draw(st.lists(coordinate, min_size=1, max_size=6)))]
    target = [(f"B{n}", *at) for n, at in enumerate(data.draw(st.lists(coordinate, min_size=1, max_size=6)))]
    values = data.draw(st.lists(st.none() | st.integers(-50, 50), min_size=len(source), max_size=len(source)))
    field = [NAN if value is None else float(value) for value in values]
    found = moved(stations(*source), stations(*target), field)
    if any(np.isfinite(field)):
        known = found[np.isfinite(found)]
        assert (known >= np.nanmin(field) - 1e-3).all()
        assert (known <= np.nanmax(field) + 1e-3).all()
    constant = [7.0] * len(source)
    np.testing.assert_allclose(moved(stations(*source), stations(*target), constant), 7, rtol=1e-6)


def test_leading_axes_stay() -> None:
    values = np.arange(2 * 3 * 6, dtype=np.float32).reshape(2, 3, 6)
    regrid = Regrid.between(SOURCE, stations(("X", 0.5, 51.5), ("Y", 2.0, 51.0)))
    found, seen = regrid(values, np.ones(values.shape, bool))
    assert found.shape == seen.shape == (2, 3, 2)
    np.testing.assert_allclose(found[..., 0], values[..., [0, 1, 3, 4]].mean(axis=-1))
    np.testing.assert_allclose(found[..., 1], values[..., 5])
