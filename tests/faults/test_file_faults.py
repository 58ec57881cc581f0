"""Files that are small on disk and huge once unpacked are refused in little memory."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.tables import ROOT
from tests.unit.ingest.decoding.grids import make_dataset, zarr_folder, zipped

LIMIT = 512 * 2**20
READ = """
import json, resource, sys
from pathlib import Path
from pipeline.errors import SourceError
from pipeline.locations import read_locations
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.decoding.gridded import subprocess_reader as apart
from tests.unit.ingest.decoding.grids import make_feed

folder, said = Path(sys.argv[1]), json.loads(sys.argv[2])
feed = make_feed(folder, **said)
try:
    open_source(feed, read_locations(feed)).decode(Payload.of("x", (folder / "bomb").read_bytes()))
except SourceError as error:
    print(error)
apart._reader.stop()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
ours = int(status["VmHWM"].split()[0])  # unlike ru_maxrss, without that of the process before this one
print(max(ours, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024)
"""


def refused(folder: Path, content: bytes, **source: str) -> str:
    """Return the one line that a file comes to with the default `max_bytes`; the test fails if it took much memory."""
    (folder / "bomb").write_bytes(content)
    command = [sys.executable, "-W", "error", "-c", READ, str(folder), json.dumps(source)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    line, peak = done.stdout.splitlines()
    assert int(peak) < LIMIT
    return line


def test_a_parquet_file_of_one_text_in_every_cell(tmp_path: Path) -> None:
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(6000, np.int32)), pa.array(["x" * 200_000]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"t": same.cast(pa.string())}), sink, compression="zstd")
    assert len(sink.getvalue()) < 1000
    line = refused(tmp_path, sink.getvalue(), format="parquet")
    assert line == "x: its cells are more than max_bytes, 268435456, once decoded"


def test_a_zarr_array_of_four_cells_in_a_chunk_of_a_gigabyte(tmp_path: Path) -> None:
    folder = zarr_folder(make_dataset(), tmp_path / "z", version=2)
    said = json.loads((folder / "t" / ".zarray").read_text())
    (folder / "t" / ".zarray").write_text(json.dumps(said | {"chunks": [1, 16_000, 16_000]}))
    line = refused(tmp_path, zipped(folder), format="zarr")
    assert line == "x: a chunk of variable 't' takes 2048000000 bytes, more than feed.source.max_bytes, 268435456"


@pytest.mark.parametrize("form", ["csv", "parquet", "netcdf"])
def test_a_compressed_file_of_a_gigabyte_of_zeros(tmp_path: Path, form: str) -> None:
    press = zstandard.ZstdCompressor().compressobj()
    content = b"".join(press.compress(bytes(2**24)) for _ in range(64)) + press.flush()
    line = refused(tmp_path, content, format=form, compression="zstd")
    assert line == "x: more than max_bytes, 268435456, once decompressed"


def test_an_archive_of_a_gigabyte_of_zeros(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with (
        zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("t.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(64):
            member.write(bytes(2**24))
    line = refused(tmp_path, whole.getvalue(), format="npz")
    assert line == "x: its arrays take 1073741824 bytes, more than feed.source.max_bytes, 268435456"
