"""The variables of files of arrays: found by name, unpacked as CF says, in a unit that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from pipeline.errors import ContractError, SourceError
from tests.unit.ingest.decoding.grids import TIMES, VALUES, cells, decode, make_dataset, make_feed, netcdf, npz


def packed(folder: Path, kind: str, values: Any, fill: Any = None, **attributes: Any) -> bytes:
    """A file whose `t` holds numbers as they are given, with nothing but what is said."""
    path = folder / "packed.nc"
    make_dataset().drop_vars("t").to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        variable = file.createVariable("t", kind, ("time", "latitude", "longitude"), fill_value=fill)
        variable.set_auto_maskandscale(False)
        variable.setncatts(attributes)
        if values is not None:
            variable[:] = values
    return path.read_bytes()


def test_packed_numbers_are_scaled_shifted_and_masked(tmp_path: Path) -> None:
    numbers = np.arange(24, dtype="i2").reshape(2, 3, 4)
    numbers[0, 0, :2] = -999, -998
    content = packed(tmp_path, "i2", numbers, -999, scale_factor=0.5, add_offset=100.0, missing_value=np.int16(-998))
    found = cells(decode(make_feed(tmp_path), content))
    assert len(found) == 22
    assert found["01:00", "r000c002"] == 101.0
    assert found["02:00", "r002c003"] == 111.5


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "i4", "u2", "u4"])
def test_cells_that_were_never_written_have_no_value(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "unwritten.nc"
    make_dataset().drop_vars("t").to_netcdf(path, engine="netcdf4")
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("t", kind, ("time", "latitude", "longitude"))[0] = VALUES[0]
    found = cells(decode(make_feed(tmp_path), path.read_bytes()))
    assert list(found.values()) == list(range(12))


def test_every_byte_may_be_a_value(tmp_path: Path) -> None:
    content = packed(tmp_path, "u1", np.full((2, 3, 4), netCDF4.default_fillvals["u1"], "u1"))
    assert set(cells(decode(make_feed(tmp_path), content)).values()) == {255.0}


@pytest.mark.parametrize("attributes", [{"scale_factor": "a"}, {"add_offset": [1.0, 2.0]}])
def test_attributes_that_are_not_numbers_are_reported(tmp_path: Path, attributes: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"^x: not readable as netcdf, "):
        decode(make_feed(tmp_path), packed(tmp_path, "i2", np.ones((2, 3, 4)), **attributes))


def test_a_variable_of_text_is_refused(tmp_path: Path) -> None:
    content = npz(t=VALUES.astype(str), time=TIMES, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    with pytest.raises(ContractError, match=r"^x: variable 't' holds <U32, not numbers$"):
        decode(make_feed(tmp_path, format="npz"), content)


def test_a_variable_is_found_by_its_name_then_by_its_standard_name(tmp_path: Path) -> None:
    dataset = make_dataset(attrs={"standard_name": "air_temperature"})
    content = netcdf(dataset, tmp_path)
    for spec in ({"source_name": "t"}, {"source_name": "air_temperature"}, {}):
        feed = make_feed(tmp_path, variables={"air_temperature": {"units": "K", **spec}})
        assert list(cells(decode(feed, content), "air_temperature").values()) == list(range(24))


def test_two_variables_of_one_standard_name_are_told_apart_by_the_product(tmp_path: Path) -> None:
    dataset = make_dataset(attrs={"standard_name": "air_temperature"})
    content = netcdf(dataset.assign(u=dataset.t + 1), tmp_path)
    with pytest.raises(ContractError, match=r"^x: 2 variables are 'air_temperature', on .*source_name"):
        decode(make_feed(tmp_path, variables={"air_temperature": {"units": "K"}}), content)


def test_a_variable_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        decode(make_feed(tmp_path, variables={"t2": {"units": "K"}}), netcdf(make_dataset(), tmp_path))
    assert str(caught.value) == (
        "x: no variable 't2'; did you mean 't'? it has t; name one in feed.variables.t2.source_name"
    )


def test_the_unit_of_the_file_is_converted(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "m s**-1"}), tmp_path)
    found = cells(decode(make_feed(tmp_path, variables={"t": {"units": "km h-1"}}), content))
    assert found["01:00", "r002c002"] == pytest.approx(36.0)  # 10 m/s


def test_the_word_of_the_product_stands_over_that_of_the_file(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "m s-1"}), tmp_path)
    decoded = decode(make_feed(tmp_path, variables={"t": {"units": "m s-1", "source_units": "km h-1"}}), content)
    assert cells(decoded)["01:00", "r002c002"] == pytest.approx(10 / 3.6)
    assert decoded.notes == ("t says its units are 'm s-1'; 'km h-1' of the product is used",)


def test_another_spelling_of_the_same_unit_is_no_contradiction(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "meter/second"}), tmp_path)
    decoded = decode(make_feed(tmp_path, variables={"t": {"units": "m s-1", "source_units": "m s-1"}}), content)
    assert decoded.notes == ()


def test_a_unit_of_another_kind_is_refused_unless_the_product_says_what_it_is(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "m s-1"}), tmp_path)
    with pytest.raises(ContractError) as caught:
        decode(make_feed(tmp_path), content)
    remedy = "give them in feed.variables.t.source_units"
    assert str(caught.value) == f"x: variable 't' has units 'm s-1', the product keeps 'K'; {remedy}"
    decoded = decode(make_feed(tmp_path, variables={"t": {"units": "K", "source_units": "K"}}), content)
    assert len(decoded.notes) == 1


def test_units_that_nobody_can_read_are_refused(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "parrots\n"}), tmp_path)
    with pytest.raises(ContractError, match=r"^x: variable 't' has units 'parrots', which cannot be read; give them"):
        decode(make_feed(tmp_path), content)


@pytest.mark.parametrize("attributes", [{}, {"units": ""}, {"units": "~"}, {"units": "unknown"}])
def test_values_without_units_are_in_those_of_the_product(tmp_path: Path, attributes: dict[str, Any]) -> None:
    decoded = decode(make_feed(tmp_path), netcdf(make_dataset(attrs=attributes), tmp_path))
    assert list(cells(decoded).values()) == list(range(24))
    assert decoded.notes == ()


def test_units_under_a_misspelt_name_are_read_and_noted(tmp_path: Path) -> None:
    decoded = decode(make_feed(tmp_path), netcdf(make_dataset(attrs={"Unit": "degC"}), tmp_path))
    assert cells(decoded)["01:00", "r000c000"] == pytest.approx(273.15)
    assert decoded.notes == ("t has its units in an attribute 'Unit'",)


def test_a_span_of_time_is_a_number_as_any_other(tmp_path: Path) -> None:
    content = netcdf(make_dataset(attrs={"units": "hours"}), tmp_path)
    found = cells(decode(make_feed(tmp_path, variables={"t": {"units": "s"}}), content))
    assert found["01:00", "r000c001"] == 3600.0


def test_hostile_text_of_a_file_stays_on_one_line(tmp_path: Path) -> None:
    content = npz(**{"a\x1b[31m\n\u202e": VALUES}, time=TIMES, lat=[52.0, 51, 50], lon=[-2.0, -1, 0, 1])
    with pytest.raises(ContractError, match=r"it has .*a\?\[31m\?\?") as caught:
        decode(make_feed(tmp_path, format="npz"), content)
    assert str(caught.value).isprintable()
