from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Product
from pipeline.errors import ConfigError
from pipeline.locations import Locations, cell_ids, parse_angle, read_locations
from tests.world import make_product


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return make_product(tmp_path, stations=2, days=3)


def write(product: Product, text: str) -> None:
    (product.folder / "stations.csv").write_text(text)


def mistake_in(product: Product) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_locations(product.feed)
    assert caught.value.file == str(product.folder / "stations.csv")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("-8.25", -8.25),
        ("0", 0.0),
        ("8d15'W", -8.25),
        ("8°15′W", -8.25),
        ("51d48'N", 51.8),
        ("6d21'36\"W", -6.36),
        ("33S", None),
        ("33dS", -33.0),
        (" 10d30.5'E ", 10 + 30.5 / 60),
    ],
)
def test_angles_by_hand(text: str, degrees: float | None) -> None:
    if degrees is None:
        with pytest.raises(ValueError, match="is not a coordinate"):
            parse_angle(text)
    else:
        assert parse_angle(text) == pytest.approx(degrees, abs=1e-12)


@pytest.mark.parametrize("text", ["", "north", "8d60'W", "8d15'61\"W", "8,25", "8d15'X", "--8"])
def test_invalid_angles(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a coordinate|minutes or seconds of 60 or more"):
        parse_angle(text)


@given(st.integers(0, 179), st.integers(0, 59), st.integers(0, 59), st.sampled_from("NSEW"))
def test_degrees_minutes_seconds(degrees: int, minutes: int, seconds: int, side: str) -> None:
    sign = -1 if side in "SW" else 1
    expected = sign * (degrees * 3600 + minutes * 60 + seconds) / 3600
    assert parse_angle(f"{degrees}d{minutes}'{seconds}\"{side}") == pytest.approx(expected, abs=1e-9)


def test_stations_are_in_the_order_of_their_file(product: Product) -> None:
    write(product, "name,id,latitude,longitude\nB,b,52,-8d15'W\n".replace("-8d", "8d") + "A,001,51d48'N,-9\n")
    found = read_locations(product.feed)
    assert found == Locations(("b", "001"), ("B", "A"), (-8.25, -9.0), (52.0, 51.8))  # ids are text, not numbers
    assert len(found) == 2


def test_without_a_column_of_names_the_ids_are_the_names(product: Product) -> None:
    write(product, "id,longitude,latitude\na,1,2\nb,3,4\n")
    assert read_locations(product.feed).names == ("a", "b")
    write(product, "station,longitude,latitude\na,1,2\n")
    assert "id: no such column; feed.locations.id names the column; the file has station" in str(mistake_in(product))


def test_a_column_of_names_that_the_product_names_must_exist(tmp_path: Path) -> None:
    locations = {"kind": "stations", "path": "stations.csv", "name": "title"}
    with pytest.raises(ConfigError, match=r"title: no such column; feed\.locations\.name names the column"):
        read_locations(make_product(tmp_path, stations=2, days=3, feed={"locations": locations}).feed)


def test_an_id_that_looks_like_a_missing_value_is_an_id(product: Product) -> None:
    write(product, "id,name,longitude,latitude\nNA,Namur,4,50\nnan,None,5,51\n")
    assert read_locations(product.feed).ids == ("NA", "nan")


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("id,name,longitude\na,A,1\n", "latitude", "no such column"),
        ("id,name,longitude,latitude\na,A,1,2\na,B,3,4\n", "id", "'a' occurs twice"),
        ("id,name,longitude,latitude\n", "", "the file lists no stations"),
        ("id,name,longitude,latitude\na,A,east,2\n", "a.longitude", "'east' is not a coordinate"),
        ("id,name,longitude,latitude\na,A,1,91\n", "a.latitude", "91.0 is off the globe"),
        ("id,name,longitude,latitude\na,A,nan,9\n", "a.longitude", "nan is off the globe"),
        ("id,name,longitude,latitude\na,A,360,9\n", "a.longitude", "360.0 is off the globe"),
        ("id,name,longitude,latitude\na,A,-180.5,9\n", "a.longitude", "-180.5 is off the globe"),
        ("id,name,longitude,latitude\na,A,1,10d30'E\n", "a.latitude", "is not a latitude"),
        ("id,name,longitude,latitude\na,A,10d30'N,1\n", "a.longitude", "is not a longitude"),
        ("id,name,longitude,latitude\n,A,1,2\n", "id", "a station has no id"),
        ("", "", "not a readable CSV file"),
        ('id,name,longitude,latitude\n"a,A,1,2\n', "", "not a readable CSV file"),
        ("id,name,longitude,latitude\na,A,1,2,3,4\n", "", "not a readable CSV file"),
    ],
)
def test_a_mistake_in_the_station_list_is_one_line(product: Product, text: str, field: str, problem: str) -> None:
    write(product, text)
    error = mistake_in(product)
    assert error.field == field
    assert problem in error.problem


def test_a_station_list_that_is_not_utf8(product: Product) -> None:
    (product.folder / "stations.csv").write_bytes("id,name,longitude,latitude\na,Århus,1,2\n".encode("latin-1"))
    assert "not a readable CSV file" in mistake_in(product).problem


def test_a_station_list_as_saved_by_a_spreadsheet(product: Product) -> None:
    (product.folder / "stations.csv").write_bytes(b"\xef\xbb\xbfid,name,longitude,latitude\r\na,A,1,2\r\n\r\n")
    assert read_locations(product.feed).ids == ("a",)


def test_a_missing_station_list(product: Product) -> None:
    (product.folder / "stations.csv").unlink()
    assert mistake_in(product).problem == "no such file"


def grid(**axes: dict[str, float]) -> Locations:
    cells = {
        "kind": "grid",
        "latitude": {"start": 52, "step": -1, "count": 2},
        "longitude": {"start": -1, "step": 0.1, "count": 3},
    }
    source = {"kind": "files", "path": "x", "format": "netcdf"}
    variables = {"t": {"units": "K"}}
    feed = {"source": source, "step": "1h", "locations": cells | axes, "variables": variables}
    product = {"name": "test", "feed": feed, "forecast": {"targets": ["t"]}}
    return read_locations(Product.model_validate_json(json.dumps(product)).feed)


def test_cells_are_in_row_order_with_rounded_coordinates() -> None:
    found = grid()
    assert found.ids == ("r000c000", "r000c001", "r000c002", "r001c000", "r001c001", "r001c002")
    assert found.names == found.ids
    assert found.longitude == (-1.0, -0.9, -0.8) * 2  # not -0.7999999999999999
    assert found.latitude == (52.0,) * 3 + (51.0,) * 3
    assert found.shape == (2, 3)


@given(st.integers(1, 1200), st.integers(1, 12))
def test_cell_ids_are_unique_and_in_sorted_order(rows: int, columns: int) -> None:
    ids = cell_ids(rows, columns)
    assert list(ids) == sorted(set(ids))
    assert len(ids) == rows * columns


@pytest.mark.parametrize(
    ("axis", "start", "step", "count", "problem"),
    [
        ("latitude", 89, 1, 3, "it runs from 89 to 91, which is off the globe"),
        ("latitude", -89, -1, 3, "it runs from -89 to -91, which is off the globe"),
        ("longitude", -181, 1, 3, "it runs from -181 to -179, which is off the globe"),
        ("longitude", 0, 1, 361, "it runs from 0 to 360, which is off the globe"),
        ("longitude", -180, 1, 361, "its 361 columns go around the globe more than once"),
    ],
)
def test_a_grid_beyond_the_globe(axis: str, start: float, step: float, count: int, problem: str) -> None:
    axes = {axis: {"start": start, "step": step, "count": count}}
    with pytest.raises(ConfigError) as caught:
        grid(**axes)
    assert (caught.value.file, caught.value.field, caught.value.problem) == ("test", f"feed.locations.{axis}", problem)


def test_a_global_grid() -> None:
    for start in (0, -180, -179.75):
        assert len(grid(longitude={"start": start, "step": 0.25, "count": 1440})) == 2880


def test_a_grid_with_too_many_cells() -> None:
    with pytest.raises(ConfigError, match="17000000 cells exceed the limit of 10000000"):
        grid(latitude={"start": 0, "step": 0.01, "count": 8500}, longitude={"start": 0, "step": 0.01, "count": 2000})


def test_the_cells_of_a_grid_are_made_once() -> None:
    assert grid() is grid()


STATIC = "id,name,longitude,latitude,altitude\nA,a,-10,51,{}\nB,b,-9,52,7\n"


def with_static(product: Product, *names: str) -> Product:
    locations = product.feed.locations.model_copy(update={"static": names})
    return product.model_copy(update={"feed": product.feed.model_copy(update={"locations": locations})}).within(
        product.folder
    )


def test_static_predictors_are_in_the_order_of_the_product_file(product: Product) -> None:
    write(product, STATIC.format("-1.5e2"))
    found = read_locations(with_static(product, "altitude", "latitude").feed)
    assert found.static == ("altitude", "latitude")
    assert found.static_values == ((-150.0, 7.0), (51.0, 52.0))
    assert read_locations(product.feed).static == ()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "A.altitude: no value; write a number for each station"),
        ("  ", "A.altitude: no value; "),
        ("high", "A.altitude: 'high' is not a number; "),
        ("nan", "A.altitude: 'nan' is not a number; "),
        ("inf", "A.altitude: 'inf' is not a number; "),
        ("12 m", "A.altitude: '12 m' is not a number; "),
    ],
)
def test_a_static_predictor_that_is_not_a_number(product: Product, cell: str, message: str) -> None:
    write(product, STATIC.format(cell))
    assert message in str(mistake_in(with_static(product, "altitude")))


def test_a_static_predictor_without_a_column(product: Product) -> None:
    write(product, STATIC.format("5"))
    assert "slope: no such column; feed.locations.static names the column; the file has id, name" in str(
        mistake_in(with_static(product, "slope"))
    )
