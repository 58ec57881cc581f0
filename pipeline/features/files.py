"""Frames on disk: .npy files written front to back in one pass, and a card that tells whether they are still whole.

A folder of frames holds one file an array and `card.json`. Arrays are opened as read-only memory maps, so that what is
read of them is all that takes memory, and processes share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.features.arrays import ALWAYS, NEVER, Frames, Revisions, Seal, digest_of
from pipeline.features.frames import refuse_stray

FORMAT = 1
CARD = "card.json"
LATEST = "latest"
_BLOCK = 1 << 20
_verified: dict[Path, tuple[int, int, int]] = {}


class ArrayFile:
    """One .npy file that grows along its first axis; its digest is that of the content, without the header."""

    def __init__(self, path: Path, dtype: str, tail: tuple[int, ...]) -> None:
        self.path, self.dtype, self.tail, self.rows = path, np.dtype(dtype), tail, 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO = path.open("wb")
        self._head()

    def append(self, part: NDArray[Any]) -> None:
        """Add rows."""
        content = np.ascontiguousarray(part, self.dtype).view(np.uint8).reshape(-1).data
        self._digest.update(content)
        self._file.write(content)
        self.rows += len(part)

    def close(self) -> dict[str, Any]:
        """Complete the file; return its type, shape and SHA-256."""
        self._file.seek(0)
        self._head()  # numpy leaves room for the number of rows to grow
        self._file.close()
        return {"dtype": self.dtype.str, "shape": [self.rows, *self.tail], "sha256": self._digest.hexdigest()}

    def abandon(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _head(self) -> None:
        head = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.tail)}
        npy.write_array_header_1_0(self._file, head)


class FrameWriter:
    """Writes frames part by part, in order of time. Memory holds one part, whatever the history."""

    def __init__(self, folder: Path, *, channels: int, locations: int, step: timedelta) -> None:
        self.folder, self.step, self.rows = folder, step, 0
        self._width = np.timedelta64(step)
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
            LATEST: ArrayFile(folder / "latest.npy", "<i8", ()),
        }

    def append(self, part: Frames, *, rows: int) -> None:
        """Add frames that start after the last one that was added; the frames in between are empty.

        Args:
            part: The frames.
            rows: How many observations they were made of.

        Raises:
            StoreError: they do not start after it, or so long after it that one of the two cannot be meant.
        """
        if self._start is None:
            self._start = part.times[0]
        at = int((part.times[0] - self._start) // self._width)
        missing = at - self._files["first"].rows
        if missing < 0:
            raise StoreError(f"{self.folder}: frames of {part.times[0]} come after later ones")
        last = part.times[0] - (missing + 1) * self._width
        refuse_stray(missing * self._shape[1], (last, self.rows), (part.times[0], rows))
        self._leave_empty(missing)
        for name, array in part.arrays().items():
            self._files[name].append(array + at if name == "revised_frame" else array)
        self._files[LATEST].append(part.latest)
        self.rows += rows

    def close(self) -> None:
        """Complete the files and write the card; without any frame there is none."""
        if self._start is None:
            self.abandon()
            return
        arrays = {name: file.close() for name, file in self._files.items()}
        latest = arrays.pop(LATEST)
        card = {
            "format": FORMAT,
            "start": str(self._start),
            "step": self.step.total_seconds(),
            "arrays": arrays,
            LATEST: latest,
            "digest": digest_of(self._start, self.step, arrays),
        }
        (self.folder / CARD).write_text(json.dumps({**card, "sha256": _sealed(card)}, indent=1))

    def abandon(self) -> None:
        """Close the files as they are."""
        for file in self._files.values():
            file.abandon()

    def _leave_empty(self, frames: int) -> None:
        at_once = max(1, _BLOCK // max(self._shape[1], 1))
        for start in range(0, frames, at_once):
            count = min(at_once, frames - start)
            self._files["first"].append(np.zeros((count, *self._shape), np.float32))
            self._files["mask"].append(np.zeros((count, *self._shape), np.bool_))
            self._files["known_at"].append(np.full((count, self._shape[1]), NEVER))
            self._files[LATEST].append(np.full(count, ALWAYS))


@contextmanager
def writing(folder: Path, *, channels: int, locations: int, step: timedelta) -> Iterator[FrameWriter]:
    """Give a writer for a folder; the frames are complete when the block ends well.

    Raises:
        StoreError: the disk refuses.
    """
    with ExitStack() as stack:
        try:
            writer = FrameWriter(folder, channels=channels, locations=locations, step=step)
            stack.callback(writer.abandon)
            yield writer
            writer.close()
        except OSError as error:
            raise StoreError(f"{folder}: cannot write frames, {error.strerror}; make room or move the home") from error


def read_frames(folder: Path, grid: tuple[int, int] | None = None) -> Frames:
    """Return the frames of a folder as read-only memory maps; each file's digest is compared once a process.

    Raises:
        StoreError: the card or a file is missing, torn or altered.
    """
    try:
        card = json.loads((folder / CARD).read_bytes())
        if card.pop("sha256", None) != _sealed(card) or card["format"] != FORMAT:
            raise StoreError(f"{folder}: the card is altered")
        arrays = {name: _open(folder / f"{name}.npy", told) for name, told in card["arrays"].items()}
        latest = _open(folder / f"{LATEST}.npy", card[LATEST])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: the frames cannot be read, {error}") from error
    start, step = np.datetime64(card["start"], "us"), timedelta(seconds=card["step"])
    times = start + np.arange(len(latest)) * np.timedelta64(step)
    revisions = Revisions(*(arrays[f"revised_{name}"] for name in ("frame", "location", "known_at", "values")))
    seal = Seal(card["digest"], latest)
    return Frames(times, step, arrays["first"], arrays["mask"], arrays["known_at"], revisions, grid, seal)


def forget_checks() -> None:
    """Forget which files were found to be whole, so that each is read again."""
    _verified.clear()


def _open(path: Path, told: dict[str, Any]) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(npy.open_memmap(path, mode="r"))
    if array.dtype.str != told["dtype"] or list(array.shape) != told["shape"]:
        raise StoreError(f"{path}: holds {array.dtype} {array.shape} instead of {told['dtype']} {told['shape']}")
    status = path.stat()
    mark = status.st_size, status.st_mtime_ns, status.st_ino
    if _verified.get(path) != mark:
        if _content(path, array.nbytes) != told["sha256"]:
            raise StoreError(f"{path}: is altered, its content has another digest than its card tells")
        _verified[path] = mark
    return array


def _content(path: Path, size: int) -> str:
    """Return the SHA-256 of the last `size` bytes of a file: read, not mapped, so that they do not stay in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(-size, 2)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _sealed(card: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
