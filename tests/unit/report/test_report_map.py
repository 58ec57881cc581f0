from __future__ import annotations

import math
import re

import numpy as np
import pytest

from pipeline.report.labels import Rect, place_labels
from pipeline.report.land import Box, clip_half, land_within
from pipeline.report.map import DrawnMap, Station, colour_edges, separate, station_map, value_class
from pipeline.report.projection import degrees_text, frame_for, unwrap


def area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def draw(stations: list[Station], width: float = 620.0) -> DrawnMap:
    drawn = station_map(stations, caption="Median", label="Map", width=width)
    assert drawn is not None
    return drawn


def test_a_square_cut_in_half_keeps_half_its_area() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    assert area(clip_half(square, 0, 0.5, keep_above=True)) == pytest.approx(3.0)
    assert area(clip_half(square, 1, 0.5, keep_above=False)) == pytest.approx(1.0)
    assert len(clip_half(square, 0, 5.0, keep_above=True)) == 0


def test_the_outline_of_ireland_has_the_right_area() -> None:
    rings = land_within(Box(-11, 51, -5.9, 55.6))
    assert max(area(ring) for ring in rings) == pytest.approx(11.2, rel=0.05)  # 84 000 km2 at 53.5 north
    assert land_within(Box(-35, 45, -30, 50)) == []  # open Atlantic


def test_land_is_continuous_across_the_antimeridian() -> None:
    rings = land_within(Box(176, -20, 186, -12))
    longitudes = np.concatenate([ring[:, 0] for ring in rings])
    assert longitudes.min() >= 176
    assert longitudes.max() <= 186
    assert (longitudes > 180.2).any()
    assert max(np.ptp(ring[:, 0]) for ring in rings) < 3  # no island is smeared across the map


def test_longitudes_start_after_their_widest_gap() -> None:
    assert unwrap([179.0, -179.0]) == [179.0, 181.0]
    assert unwrap([-10.0, -6.0]) == [-10.0, -6.0]
    assert unwrap([350.0, 5.0]) == [350.0, 365.0] or unwrap([350.0, 5.0]) == [-10.0, 5.0]


def test_a_degree_of_latitude_is_longer_than_one_of_longitude() -> None:
    frame = frame_for([-10.0, -6.0], [52.0, 55.0], 0, 0, 500)
    x0, y0 = frame.xy(-8, 53)
    x1, y1 = frame.xy(-7, 54)
    assert (x1 - x0) / (y0 - y1) == pytest.approx(math.cos(math.radians(53.5)))
    assert frame.rect.right == pytest.approx(500)


@pytest.mark.parametrize(
    ("value", "sides", "decimals", "shown"),
    [
        (-8.0, "EW", 0, "8°W"),
        (182.0, "EW", 0, "178°W"),
        (0.0, "NS", 0, "0°"),
        (-36.845, "NS", 3, "36.845°S"),
        (180.0, "EW", 0, "180°"),
    ],
)
def test_degrees_are_labelled(value: float, sides: str, decimals: int, shown: str) -> None:
    assert degrees_text(value, sides[0], sides[1], decimals) == shown


def test_colours_span_the_range_and_unknown_has_its_own() -> None:
    edges = colour_edges([3.8, 9.6])
    assert edges == [3, 4, 5, 6, 7, 8, 9, 10]
    assert [value_class(v, edges) for v in (3.8, 9.6, math.nan)] == ["v0", "v6", "vx"]


def test_labels_overlap_neither_each_other_nor_dots() -> None:
    dots = [(60.0 + 30 * (i % 4), 60.0 + 30 * (i // 4)) for i in range(12)]
    spots = place_labels(dots, [25.0] * 12, radius=5, size=11, frame=Rect(0, 0, 250, 200))
    rects = [s.rect for s in spots if s]
    assert len(rects) >= 10
    for i, one in enumerate(rects):
        assert not any(one.overlaps(other) for other in rects[i + 1 :])
        assert not any(one.overlaps(Rect(x - 5, y - 5, x + 5, y + 5)) for x, y in dots)


def test_stations_on_one_spot_are_moved_apart() -> None:
    moved = separate([(10.0, 10.0), (10.0, 10.0), (50.0, 50.0)], 6)
    assert moved[2] == (50.0, 50.0)
    assert math.dist(moved[0], moved[1]) == pytest.approx(12)


def test_the_map_of_a_city_omits_coarse_land_but_has_a_scale() -> None:
    near = [Station(f"S{i}", f"S{i}", -36.845 - 0.001 * (i // 2), 174.765, 1.0 * i) for i in range(6)]
    drawn = draw(near)
    assert 'class="land"' not in drawn.svg
    assert 'class="scale"' in drawn.svg
    assert drawn.svg.count("<circle") == 6
    assert re.search(r">\d+ m</text>", drawn.svg)


def test_dense_stations_are_numbered_and_keep_their_names_on_hover() -> None:
    crowd = [
        Station(
            f"A very long station name {i}",
            f"A very long station name {i}",
            53 + i % 5 * 0.02,
            -8 + i // 5 * 0.03,
            1.0,
        )
        for i in range(25)
    ]
    drawn = draw(crowd, 366.0)
    assert drawn.numbered
    assert all(f"<title>A very long station name {i}</title>" in drawn.svg for i in range(25))


def test_stations_without_coordinates_stay_off_the_map() -> None:
    known, lost = Station("A", "A", 53, -8, 1.0), Station("B", "B", math.nan, math.nan, 2.0)
    assert draw([known, lost]).svg.count("<circle") == 1
    assert station_map([lost], caption="", label="", width=620.0) is None


def test_a_map_without_values_is_drawn() -> None:
    drawn = draw([Station("A", "A", 53, -8, math.nan)])
    assert 'class="dot vx"' in drawn.svg
    assert 'class="land"' in draw([Station("A", "A", 53, -8, 1.0), Station("B", "B", 55, -6, 1.0)]).svg


@pytest.mark.parametrize("where", [(90.0, 0.0), (-90.0, 180.0), (0.0, 540.0)])
def test_poles_and_longitudes_out_of_range_are_drawn(where: tuple[float, float]) -> None:
    assert "<circle" in draw([Station("A", "A", where[0], where[1], 1.0)]).svg


def test_the_whole_globe_fits() -> None:
    globe = [
        Station(str(i), str(i), lat, lon, 1.0)
        for i, (lat, lon) in enumerate([(-80, -170), (80, 170), (0, 0), (0, 90), (0, -90)])
    ]
    assert len(draw(globe).svg) < 150_000
