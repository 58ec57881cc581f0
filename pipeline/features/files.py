"""Frames on disk: .npy files written in one pass, and metadata with their checksums.

A folder of frames holds one file per array and `metadata.json`. Arrays are opened as read-only memory maps: only the
parts that are read take memory, and processes share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.features.arrays import ALWAYS, NEVER, Frames, FrameSummary, Revisions, frames_digest
from pipeline.features.frames import check_gap
from pipeline.steps import Step, count_steps, identify, read_identity, shift

FORMAT = 2
METADATA = "metadata.json"
COMPLETE_AT = "complete_at"
_BLOCK = 1 << 20
_verified: dict[Path, tuple[int, int, int]] = {}


class ArrayFile:
    """One .npy file that grows along its first axis. Its digest covers the content without the header."""

    def __init__(self, path: Path, dtype: str, tail: tuple[int, ...]) -> None:
        self.path, self.dtype, self.tail, self.rows = path, np.dtype(dtype), tail, 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, part: NDArray[Any]) -> None:
        """Add rows."""
        content = np.ascontiguousarray(part, self.dtype).view(np.uint8).reshape(-1).data
        self._digest.update(content)
        self._file.write(content)
        self.rows += len(part)

    def close(self) -> dict[str, Any]:
        """Complete the file and return its type, shape and SHA-256."""
        self._file.seek(0)
        self._write_header()  # numpy reserves space for a larger number of rows
        self._file.close()
        return {"dtype": self.dtype.str, "shape": [self.rows, *self.tail], "sha256": self._digest.hexdigest()}

    def abandon(self) -> None:
        """Close the file without completing it."""
        self._file.close()

    def _write_header(self) -> None:
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.tail)}
        npy.write_array_header_1_0(self._file, header)


class FrameWriter:
    """Writes frames part by part, in order of time, with one part in memory."""

    def __init__(self, folder: Path, *, channels: int, locations: int, step: Step) -> None:
        self.folder, self.step, self.rows = folder, step, 0
        self._start: np.datetime64 | None = None
        self._shape = channels, locations
        self._files = {
            "first": ArrayFile(folder / "first.npy", "<f4", self._shape),
            "mask": ArrayFile(folder / "mask.npy", "|b1", self._shape),
            "known_at": ArrayFile(folder / "known_at.npy", "<i8", (locations,)),
            "revised_frame": ArrayFile(folder / "revised_frame.npy", "<i8", ()),
            "revised_location": ArrayFile(folder / "revised_location.npy", "<i8", ()),
            "revised_known_at": ArrayFile(folder / "revised_known_at.npy", "<i8", ()),
            "revised_values": ArrayFile(folder / "revised_values.npy", "<f4", (channels,)),
            COMPLETE_AT: ArrayFile(folder / f"{COMPLETE_AT}.npy", "<i8", ()),
        }

    def append(self, part: Frames, *, rows: int) -> None:
        """Add frames that start after the last one; frames in between are empty.

        Args:
            part: The frames.
            rows: Number of observations that they were built from.

        Raises:
            StoreError: they start before the last one, or so long after it that one of the two must be wrong.
        """
        if self._start is None:
            self._start = part.times[0]
        at = int(count_steps(self._start, part.times[:1], self.step)[0])
        missing = at - self._files["first"].rows
        if missing < 0:
            raise StoreError(f"{self.folder}: cannot append frames of {part.times[0]} after later ones")
        last = shift(part.times[0], np.array([-(missing + 1)]), self.step)[0]
        check_gap(missing * self._shape[1], (last, self.rows), (part.times[0], rows))
        self._append_empty(missing)
        for name, array in part.arrays().items():
            self._files[name].append(array + at if name == "revised_frame" else array)
        self._files[COMPLETE_AT].append(part.complete_at)
        self.rows += rows

    def close(self) -> None:
        """Complete the files and write the metadata; without frames, write none."""
        if self._start is None:
            self.abandon()
            return
        arrays = {name: file.close() for name, file in self._files.items()}
        complete_at = arrays.pop(COMPLETE_AT)
        metadata = {
            "format": FORMAT,
            "start": str(self._start),
            "step": identify(self.step),
            "arrays": arrays,
            COMPLETE_AT: complete_at,
            "digest": frames_digest(self._start, self.step, arrays),
        }
        (self.folder / METADATA).write_text(json.dumps({**metadata, "sha256": _checksum(metadata)}, indent=1))

    def abandon(self) -> None:
        """Close the files without completing them."""
        for file in self._files.values():
            file.abandon()

    def _append_empty(self, frames: int) -> None:
        at_once = max(1, _BLOCK // max(self._shape[1], 1))
        for start in range(0, frames, at_once):
            count = min(at_once, frames - start)
            self._files["first"].append(np.zeros((count, *self._shape), np.float32))
            self._files["mask"].append(np.zeros((count, *self._shape), np.bool_))
            self._files["known_at"].append(np.full((count, self._shape[1]), NEVER))
            self._files[COMPLETE_AT].append(np.full(count, ALWAYS))


@contextmanager
def frame_writer(folder: Path, *, channels: int, locations: int, step: Step) -> Iterator[FrameWriter]:
    """Yield a writer for a folder; the frames are complete when the block ends without an error.

    Raises:
        StoreError: a file cannot be written.
    """
    with ExitStack() as stack:
        try:
            writer = FrameWriter(folder, channels=channels, locations=locations, step=step)
            stack.callback(writer.abandon)
            yield writer
            writer.close()
        except OSError as error:
            raise StoreError(f"{folder}: cannot write frames, {error.strerror}; make room or move the home") from error


def read_frames(folder: Path) -> Frames:
    """Return the frames of a folder as read-only memory maps; a process checks the digest of each file once.

    Raises:
        StoreError: the metadata or a file is missing, torn or altered.
    """
    try:
        metadata = json.loads((folder / METADATA).read_bytes())
        if metadata.pop("sha256", None) != _checksum(metadata) or metadata["format"] != FORMAT:
            raise StoreError(f"{folder}: {METADATA} is altered")
        arrays = {name: _map_array(folder / f"{name}.npy", facts) for name, facts in metadata["arrays"].items()}
        complete_at = _map_array(folder / f"{COMPLETE_AT}.npy", metadata[COMPLETE_AT])
        start, step = np.datetime64(metadata["start"], "us"), read_identity(metadata["step"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: cannot read the frames, {error}") from error
    times = shift(start, np.arange(len(complete_at)), step)
    revisions = Revisions(*(arrays[f"revised_{name}"] for name in ("frame", "location", "known_at", "values")))
    summary = FrameSummary(metadata["digest"], complete_at)
    return Frames(times, step, arrays["first"], arrays["mask"], arrays["known_at"], revisions, summary)


def _map_array(path: Path, facts: dict[str, Any]) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(npy.open_memmap(path, mode="r"))
    if array.dtype.str != facts["dtype"] or list(array.shape) != facts["shape"]:
        raise StoreError(f"{path}: holds {array.dtype} {array.shape} instead of {facts['dtype']} {facts['shape']}")
    status = path.stat()
    mark = status.st_size, status.st_mtime_ns, status.st_ino
    if _verified.get(path) != mark:
        if _content_digest(path, array.nbytes) != facts["sha256"]:
            raise StoreError(f"{path}: is altered, the digest of its content differs from {METADATA}")
        _verified[path] = mark
    return array


def _content_digest(path: Path, size: int) -> str:
    """Return the SHA-256 of the last `size` bytes of a file; reads them, so that mapped pages stay out of memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(-size, 2)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _checksum(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
