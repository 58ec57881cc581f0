"""Frames on disk are read exactly as written, or not at all."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.features.arrays import Frames
from pipeline.features.files import METADATA, frame_writer, read_frames
from pipeline.features.frames import frames_from_rows
from tests.unit.features.replay import CHANNELS, DAY, HOUR, PLACES, START, Row, frames_of, table_of

ROWS = [
    Row(START + n * DAY, place, START + n * DAY + again * HOUR, float(n), float(again))
    for n in (0, 1, 4)
    for place in PLACES
    for again in range(2)
]


def frames_between(since: int, until: int) -> Frames:
    frames = frames_of([row for row in ROWS if START + since * DAY <= row.valid_time < START + until * DAY])
    assert isinstance(frames, Frames)
    return frames


def write(folder: Path) -> Path:
    folder.mkdir()
    with frame_writer(folder, channels=2, locations=2, step=DAY) as writer:
        writer.append(frames_between(0, 2), rows=8)
        writer.append(frames_between(2, 9), rows=4)
    return folder


def test_written_frames_are_mapped_read_only(tmp_path: Path) -> None:
    frames, whole = read_frames(write(tmp_path / "f")), frames_of(ROWS)
    assert frames.times.tolist() == whole.times.tolist()
    for name, array in frames.arrays().items():
        np.testing.assert_array_equal(array, whole.arrays()[name])
        assert array.dtype == whole.arrays()[name].dtype
        assert isinstance(array.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    # Frames in between are empty.
    assert frames.mask.any(axis=(1, 2)).tolist() == [True, True, False, False, True]


def test_the_digest_in_the_metadata_is_that_of_the_arrays(tmp_path: Path) -> None:
    frames = read_frames(write(tmp_path / "f"))
    assert frames.summary is not None
    computed = Frames(frames.times, frames.step, frames.first, frames.mask, frames.known_at, frames.revisions)
    assert frames.digest() == computed.digest() == frames_of(ROWS).digest()
    np.testing.assert_array_equal(frames.complete_at, computed.complete_at)


def test_frames_without_revisions_have_empty_files(tmp_path: Path) -> None:
    frames = frames_of(ROWS[::2])
    with frame_writer(tmp_path, channels=2, locations=2, step=DAY) as writer:
        writer.append(frames, rows=6)
    found = read_frames(tmp_path)
    assert found.revisions.values.shape == (0, 2)
    assert found.digest() == frames.digest()


@pytest.mark.parametrize(
    "name",
    [
        "first",
        "mask",
        "known_at",
        "complete_at",
        "revised_frame",
        "revised_location",
        "revised_known_at",
        "revised_values",
    ],
)
def test_a_changed_bit_in_a_file_is_detected(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "f")
    path = folder / f"{name}.npy"
    content = path.read_bytes()
    begin = len(content) - read_size(folder, name)
    random = np.random.default_rng(3)
    for at in (begin, len(content) - 1, *random.integers(begin, len(content), 5)):
        torn = bytearray(content)
        torn[at] ^= 1 << int(random.integers(8))
        path.write_bytes(torn)
        with pytest.raises(StoreError, match=f"{name}.npy: is altered"):
            read_frames(folder)
    path.write_bytes(content)
    read_frames(folder)


def read_size(folder: Path, name: str) -> int:
    metadata = json.loads((folder / METADATA).read_bytes())
    facts = (metadata["arrays"] | {"complete_at": metadata["complete_at"]})[name]
    size: int = int(np.prod(facts["shape"])) * np.dtype(facts["dtype"]).itemsize
    return size


@pytest.mark.parametrize("name", ["first.npy", "revised_values.npy", METADATA])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_torn_file_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    path = write(tmp_path / "f") / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(StoreError) as caught:
        read_frames(path.parent)
    assert str(tmp_path / "f") in str(caught.value)


@pytest.mark.parametrize("name", ["first.npy", METADATA])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "f")
    (folder / name).unlink()
    with pytest.raises(StoreError, match="cannot read the frames"):
        read_frames(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("start", "1999-01-01"), ("step", 3600.0), ("digest", "0" * 64), ("format", 99), ("arrays", {})],
)
def test_changed_metadata_is_refused(tmp_path: Path, field: str, value: object) -> None:
    path = write(tmp_path / "f") / METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(StoreError, match=r"metadata\.json is altered"):
        read_frames(path.parent)


def test_a_changed_shape_in_the_header_is_detected(tmp_path: Path) -> None:
    path = write(tmp_path / "f") / "first.npy"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(5, 2, 2)", b"(2, 5, 2)"))
    with pytest.raises(StoreError, match=r"holds float32 \(2, 5, 2\) instead of <f4 \[5, 2, 2\]"):
        read_frames(path.parent)


def test_the_digest_of_an_unchanged_file_is_checked_once_per_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.features import files

    folder = write(tmp_path / "f")
    read: list[str] = []
    real = files._content_digest

    def noted(path: Path, size: int) -> str:
        read.append(path.name)
        return real(path, size)

    monkeypatch.setattr(files, "_content_digest", noted)
    read_frames(folder)
    assert len(read) == 8
    read_frames(folder)
    assert len(read) == 8
    (folder / "first.npy").write_bytes((folder / "first.npy").read_bytes())
    read_frames(folder)
    assert read[8:] == ["first.npy"]


def test_parts_out_of_order_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"cannot append frames of .* after later ones"),
        frame_writer(tmp_path, channels=2, locations=2, step=DAY) as writer,
    ):
        writer.append(frames_between(2, 9), rows=4)
        writer.append(frames_between(0, 2), rows=8)
    assert not (tmp_path / METADATA).exists()


@pytest.mark.parametrize("year", [1, 9000])
def test_a_stray_valid_time_is_refused_before_empty_frames_are_written(tmp_path: Path, year: int) -> None:
    names = tuple(f"S{n}" for n in range(10))
    rows = [Row(START + n * HOUR, "S1", START, 1.0, 1.0) for n in range(40)]
    parts = [rows, [Row(START.replace(year=year), "S2", START, 1.0, 1.0)]]
    with (
        pytest.raises(StoreError, match=rf"the valid time 0*{year}-01-01 00:00 UTC is so far from the next"),
        frame_writer(tmp_path, channels=2, locations=10, step=HOUR) as writer,
    ):
        for part in sorted(parts, key=lambda part: part[0].valid_time):
            frames = frames_from_rows(table_of(part), locations=names, variables=CHANNELS, step=HOUR)
            assert frames is not None
            writer.append(frames, rows=len(part))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000


def test_a_long_gap_between_full_years_is_filled_with_empty_frames(tmp_path: Path) -> None:
    rows = [Row(START, "A", START, 1.0, 1.0), Row(START + timedelta(days=40_000), "B", START, 2.0, 2.0)]
    with frame_writer(tmp_path, channels=2, locations=2, step=DAY) as writer:
        for row in rows:
            writer.append(frames_of([row]), rows=1)
    frames = read_frames(tmp_path)
    assert len(frames.times) == 40_001
    assert np.flatnonzero(frames.mask.any(axis=(1, 2))).tolist() == [0, 40_000]
    assert frames.digest() == frames_of(rows).digest()
