"""Damaged and hostile files: one clear line each, nothing run, nothing left behind, and this process unharmed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import NightcastError, SourceError
from pipeline.ingest.decoding.gridded import subprocess_reader as apart
from pipeline.ingest.decoding.gridded.decode import decode_arrays
from pipeline.ingest.sources import Payload
from pipeline.locations import read_locations
from tests.unit.ingest.conftest import files_source
from tests.unit.ingest.decoding.grids import decode, grib, make_dataset, make_feed, netcdf, zarr_folder, zipped

CORPUS = """
import json, random, sys
sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.locations import read_locations
from pipeline.ingest.sources import Payload
from pipeline.ingest.decoding.gridded.decode import decode_arrays
from tests.unit.ingest.decoding.grids import make_feed

content, random = Path(sys.argv[3]).read_bytes(), random.Random(0)
feed = make_feed(Path(), format=sys.argv[2], max_bytes=2**26)
cuts = sorted({random.randrange(len(content)) for _ in range(120)} | set(range(0, 64, 4)) | {len(content) - 1})
corpus = [content[:cut] for cut in cuts] + [random.randbytes(size) for size in (1, 100, 10_000)]
corpus += [content[:16] + random.randbytes(1000), content[len(content) // 2 :]]
read = 0
for damaged in corpus:
    try:
        rows = decode_arrays(Payload.of("x", damaged), feed, feed.source, read_locations(feed)).rows
        assert rows.num_rows <= 24
        read += 1
    except (ContractError, NoDataError, SourceError) as error:
        assert str(error).isprintable(), str(error)
        assert str(error).startswith("x: ") and len(str(error)) < 400, str(error)
print(len(corpus), read)
"""


def write(form: str, folder: Path) -> bytes:
    if form == "grib":
        return grib()
    if form == "zarr":
        return zipped(zarr_folder(make_dataset(), folder / "z"))
    return netcdf(make_dataset(), folder, form="NETCDF3_CLASSIC" if "classic" in form else "NETCDF4")


@pytest.mark.parametrize("form", ["netcdf", "netcdf, classic", "zarr", "grib"])
def test_no_cut_and_no_noise_crashes_the_interpreter(tmp_path: Path, form: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(write(form, tmp_path))
    command = [sys.executable, "-c", CORPUS, json.dumps([os.getcwd(), *sys.path]), form.partition(",")[0], str(file)]  # noqa: PTH109
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    count, read = map(int, done.stdout.split())
    assert count > 100
    assert read < count / 10  # a cut behind the last byte that matters may go unnoticed


@pytest.mark.parametrize("form", ["netcdf", "zarr", "grib"])
def test_a_damaged_file_is_told_and_the_next_one_is_read(tmp_path: Path, form: str) -> None:
    names = {"air_temperature": {"source_name": "t2m" if form == "grib" else "t", "units": "K"}}
    feed, content = make_feed(tmp_path, format=form, variables=names), write(form, tmp_path)
    with pytest.raises(SourceError, match=rf"^x: not readable as {form}, "):
        decode(feed, content[: len(content) // 2 + 20])
    assert decode(feed, content).rows.num_rows == 24


def test_reading_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {"air_temperature": {"source_name": "t2m", "units": "K"}}
    feed, content = make_feed(tmp_path, format="grib", variables=names), grib()
    before = sorted(tmp_path.rglob("*"))
    assert decode(feed, content).rows.num_rows == 24
    with pytest.raises(SourceError):
        decode(feed, content[:-5])
    assert sorted(tmp_path.rglob("*")) == before


Start = Callable[[str], apart.Reader]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Puts a process that runs some code, once it is ready, in the place of that which reads files."""
    started = []

    def start(code: str) -> apart.Reader:
        started.append(apart.Reader(lambda: [sys.executable, "-c", f"print('{{}}', flush=True)\n{code}"]))
        monkeypatch.setattr(apart, "_reader", started[-1])
        return started[-1]

    yield start
    for reader in started:
        reader.stop()


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os; input(); os.abort()", "its library crashed; it is damaged, or memory is short"),
        ("input()", "its library crashed; it is damaged, or memory is short"),
        ("input(); print('{', end='', flush=True)", "its library crashed; it is damaged, or memory is short"),
    ],
)
def test_a_file_that_kills_its_library_is_one_bad_file(tmp_path: Path, start: Start, code: str, problem: str) -> None:
    start(code)
    for _ in range(2):  # a process starts anew for each
        with pytest.raises(SourceError, match=rf"^x: not readable as netcdf, {problem}$"):
            decode(make_feed(tmp_path), b"content")


def test_a_file_that_keeps_its_library_busy_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    start("while True: pass")
    monkeypatch.setattr(apart, "READ_SECONDS", 0.2)
    with pytest.raises(
        SourceError, match=r"^x: not read within 0 s as netcdf; it is damaged, or larger than it looks$"
    ):
        decode(make_feed(tmp_path), b"content")


def test_a_process_that_does_not_start_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_reader", apart.Reader(lambda: [sys.executable, "-c", ""]))
    with pytest.raises(NightcastError, match="does not start") as caught:
        decode(make_feed(tmp_path), b"content")
    assert caught.value.exit_code == 1


def test_a_fault_of_our_own_in_the_process_is_told_as_one(tmp_path: Path, start: Start) -> None:
    code = """input(); print('{"error": "", "text": "Traceback ...\\\\nKeyError: 7"}', flush=True)"""
    start(code)
    with pytest.raises(NightcastError) as caught:
        decode(make_feed(tmp_path), b"content")
    assert str(caught.value) == "x: reading it failed, KeyError: 7"
    assert caught.value.exit_code == 1


def test_an_interrupted_question_does_not_answer_the_next_one(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    echo = start("import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    assert echo.ask({"question": 1}, 10) == {"question": 1}

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(apart, "_line", interrupt)
        with pytest.raises(KeyboardInterrupt):
            echo.ask({"question": 2}, 10)
    assert echo.ask({"question": 3}, 10) == {"question": 3}


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["filters", "compressor", "consolidated"])
def test_a_codec_that_runs_code_is_refused(tmp_path: Path, place: str) -> None:
    import pickle

    folder, canary = zarr_folder(make_dataset(), tmp_path / "z", version=2), tmp_path / "canary"
    said = json.loads((folder / "t" / ".zarray").read_text())
    codec = {"id": "pickle"}
    said |= {"dtype": "|O", "fill_value": None, "filters": None, "compressor": None}
    said |= {"compressor": codec} if place == "compressor" else {"filters": [codec]}
    if place == "consolidated":
        (folder / ".zmetadata").write_text(json.dumps({"metadata": {"t/.zarray": said}, "zarr_consolidated_format": 1}))
    else:
        (folder / "t" / ".zarray").write_text(json.dumps(said))
    for chunk in (folder / "t").glob("0*"):
        chunk.write_bytes(pickle.dumps(np.full(24, Canary(canary), object)))
    with pytest.raises(SourceError, match=r"^x: \S+ asks for the codec pickle, which could run code"):
        decode(make_feed(tmp_path, format="zarr"), zipped(folder))
    assert not canary.exists()


def test_a_zip_without_a_group_is_no_zarr(tmp_path: Path) -> None:
    whole = BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    with pytest.raises(SourceError, match=r"^x: not readable as zarr, it has no zarr\.json and no \.zgroup$"):
        decode(make_feed(tmp_path, format="zarr"), whole.getvalue())


def test_what_a_header_claims_is_not_allocated(tmp_path: Path) -> None:
    folder = zarr_folder(make_dataset(), tmp_path / "z")
    for name, shape in {"t": [2, 2**38, 4], "latitude": [2**38]}.items():
        said = json.loads((folder / name / "zarr.json").read_text())
        (folder / name / "zarr.json").write_text(json.dumps(said | {"shape": shape}))
    with pytest.raises(SourceError, match=r"takes \d+ bytes, more than feed\.source\.max_bytes"):
        decode(make_feed(tmp_path, format="zarr"), zipped(folder))


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_larger_than_its_array_is_not_allocated(tmp_path: Path, version: int) -> None:
    folder = zarr_folder(make_dataset(), tmp_path / "z", version=version)
    file = folder / "t" / ("zarr.json" if version == 3 else ".zarray")
    said = json.loads(file.read_text())
    chunk = [1, 16_000, 16_000]
    said |= {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}}} if version == 3 else {}
    file.write_text(json.dumps(said | ({"chunks": chunk} if version == 2 else {})))
    with pytest.raises(SourceError, match=r"^x: a chunk of variable 't' takes 2048000000 bytes, more than .*max_bytes"):
        decode(make_feed(tmp_path, format="zarr"), zipped(folder))


def test_a_netcdf_chunk_larger_than_its_array_is_not_allocated(tmp_path: Path) -> None:
    import netCDF4

    with netCDF4.Dataset(tmp_path / "x.nc", "w") as file:
        for name in ("time", "latitude", "longitude"):
            file.createDimension(name, None)
        file.createVariable("t", "f8", ("time", "latitude", "longitude"), zlib=True, chunksizes=(1, 2000, 2000))
    with pytest.raises(SourceError, match=r"^x: a chunk of variable 't' takes 32000000 bytes, more than .*max_bytes"):
        decode(make_feed(tmp_path, max_bytes=2**24), (tmp_path / "x.nc").read_bytes())


def test_a_chunk_that_unpacks_to_more_than_it_says_ends_at_the_limit(tmp_path: Path) -> None:
    # 2 GiB of zeros
    folder = zarr_folder(make_dataset(), tmp_path / "z", version=2)
    said = json.loads((folder / "t" / ".zarray").read_text())
    (folder / "t" / ".zarray").write_text(json.dumps(said | {"compressor": {"id": "gzip", "level": 1}}))
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    (chunk,) = (folder / "t").glob("0*")
    chunk.write_bytes(b"".join(press.compress(bytes(2**24)) for _ in range(128)) + press.flush())
    feed, good = make_feed(tmp_path, format="zarr", max_bytes=2**24), zarr_folder(make_dataset(), tmp_path / "good")
    with pytest.raises(SourceError, match=r"^x: it takes more memory than feed\.source\.max_bytes, 16777216, allows$"):
        decode(feed, zipped(folder))
    assert decode(feed, zipped(good)).rows.num_rows == 24


def test_the_process_that_reads_files_is_told_no_secrets_and_leaves_no_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTCAST_SECRETS__KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code = "import json, os; print('{}', flush=True); input(); print(json.dumps(dict(os.environ)), flush=True)"
    told = apart.Reader(lambda: [sys.executable, "-c", code])
    said = told.ask({}, 10)
    told.stop()
    assert said["PATH"] == os.environ["PATH"]
    assert not [name for name, value in said.items() if name.startswith("NIGHTCAST") or "secret" in value]

    decode(make_feed(tmp_path), netcdf(make_dataset(), tmp_path))
    process = apart._reader._process
    assert process is not None
    assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(process.pid, resource.RLIMIT_AS)[0] == 2**30 + 4 * 2**28


def test_a_file_of_another_format_is_reported(tmp_path: Path) -> None:
    for form, content in {
        "zarr": netcdf(make_dataset(), tmp_path),
        "grib": b"<html>503</html>",
        "netcdf": zipped(tmp_path),
        "npz": b"GRIB",
    }.items():
        feed = make_feed(tmp_path, format=form)
        with pytest.raises(SourceError, match=rf"^x: not readable as {form}, "):
            decode_arrays(Payload.of("x", content), feed, files_source(feed), read_locations(feed))
