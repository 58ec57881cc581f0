"""NumPy archives: dimensions are recognised by their lengths, and pickled code never runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from pipeline.errors import ContractError, SourceError
from pipeline.ingest.decoding.gridded.npz import open_npz
from tests.unit.ingest.decoding.grids import TIMES, VALUES, cells, decode, make_feed, npz

AXES = {"time": TIMES, "lat": [52.0, 51, 50], "lon": [-2.0, -1, 0, 1]}


def archive(**members: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return whole.getvalue()


def member(array: Any) -> bytes:
    whole = io.BytesIO()
    np.save(whole, np.asarray(array))
    return whole.getvalue()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("memory", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<i2", ">u2"])
def test_lengths_tell_dimensions_whatever_the_layout(
    tmp_path: Path, order: tuple[int, ...], memory: Any, kind: str
) -> None:
    array = np.asarray(VALUES.transpose(order), kind, order=memory)
    decoded = decode(make_feed(tmp_path, format="npz"), npz(t=array, **AXES))
    assert list(cells(decoded).values()) == list(range(24))


def test_of_two_equal_lengths_the_first_coordinate_is_the_first_dimension(tmp_path: Path) -> None:
    grid = {"latitude": {"start": 52, "step": -1, "count": 2}, "longitude": {"start": 0, "step": 1, "count": 2}}
    square = np.arange(8.0).reshape(2, 2, 2)
    content = npz(t=square, time=TIMES, longitude=[0.0, 1], latitude=[52.0, 51])
    assert list(cells(decode(make_feed(tmp_path, format="npz", locations=grid), content)).values()) == list(range(8))


def test_dimensions_without_a_coordinate_get_names_of_their_own() -> None:
    dataset = open_npz(npz(t=np.zeros((2, 5, 4)), **AXES), ["t"], ["time", "lat", "lon"], 10**6)
    assert dataset["t"].dims == ("time", "t_1", "lon")
    assert dataset["time"].dims == ("time",)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_an_array_of_objects_is_refused_and_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    content = npz(t=np.full((2, 3, 4), Canary(canary), object), **AXES)
    with pytest.raises(SourceError) as caught:
        decode(make_feed(tmp_path, format="npz"), content)
    assert str(caught.value) == (
        "x: array 't' holds Python objects, which only pickle can read, and pickle may run code; "
        "write it as numbers, text or datetime64"
    )
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))  # noqa: S301 - it would have run
    assert canary.exists()


def test_arrays_that_nobody_asked_for_are_not_looked_at(tmp_path: Path) -> None:
    content = archive(
        t=member(VALUES), **{name: member(axis) for name, axis in AXES.items()}, notes=b"\x80\x04not an array"
    )
    assert decode(make_feed(tmp_path, format="npz"), content).rows.num_rows == 24
    feed = make_feed(tmp_path, format="npz", variables={"wind": {"units": "K"}})
    with pytest.raises(ContractError, match=r"no variable 'wind'; it has .*t.*notes"):
        decode(feed, content)


def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**40)})
    content = archive(t=header.getvalue() + bytes(64), **{name: member(axis) for name, axis in AXES.items()})
    with pytest.raises(SourceError, match=r"^x: not readable as npz, array 't' has 64 bytes of data, its header says"):
        decode(make_feed(tmp_path, format="npz"), content)


def test_a_bomb_is_refused_by_the_size_it_would_have(tmp_path: Path) -> None:
    content = npz(t=np.zeros((2, 1000, 1000)), **AXES)
    assert len(content) < 100_000
    with pytest.raises(
        SourceError, match=r"^x: its arrays take \d+ bytes, more than feed\.source\.max_bytes, 1000000$"
    ):
        decode(make_feed(tmp_path, format="npz", max_bytes=1_000_000), content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"time,A\n1,2\n", "File is not a zip file"),
        (archive(t=b"no array"), "magic string is not correct"),
        (archive(t=b"\x93NUMPY\x03\x00"), "version"),
        (archive(t=b""), "EOF"),
    ],
)
def test_a_file_that_is_not_an_archive_of_arrays_is_reported(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(SourceError, match=rf"^x: not readable as npz, .*{problem}"):
        decode(make_feed(tmp_path, format="npz"), content)
