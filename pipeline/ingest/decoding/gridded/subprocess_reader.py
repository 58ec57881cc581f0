"""Gridded files read in a subprocess, so that none of them can crash or block this process."""

from __future__ import annotations

import atexit
import json
import math
import os
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import Feed, FilesSource
from pipeline.errors import ContractError, NightcastError, NoDataError, SourceError
from pipeline.ingest.sources.base import Decoded, Payload
from pipeline.locations import Locations

START_SECONDS = 120.0
READ_SECONDS, READ_SECONDS_PER_MIB = 120.0, 2.0
_WORKER = "pipeline.ingest.decoding.gridded.worker"
_RUN = f"import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {_WORKER} import main; main()"
_ENVIRONMENT = (  # the only variables passed on, because this process knows secrets
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "CONDA_PREFIX",
    "ECCODES_DIR",
    "ECCODES_HOME",
    "ECCODES_DEFINITION_PATH",
    "ECCODES_SAMPLES_PATH",
)
_FRUGAL = {  # threads and allocators reserve address space, which is limited in the subprocess
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_ERRORS = {error.__name__: error for error in (ContractError, NoDataError, SourceError)}


def decode_gridded(payload: Payload, feed: Feed, spec: FilesSource, locations: Locations) -> Decoded:
    """Return the rows of a gridded file, whatever it does to the libraries that read it.

    Raises:
        NoDataError: the payload is empty.
        SourceError: it is damaged or in another format, crashes or hangs its library, or takes more memory than
            a multiple of `max_bytes`.
        ContractError: its contents are not those of the product.
    """
    if spec.format == "npz":  # read by NumPy and zlib alone
        from pipeline.ingest.decoding.gridded.decode import decode_arrays

        return decode_arrays(payload, feed, spec, locations)
    if not payload.content:
        raise NoDataError(f"{payload.name}: the payload is empty")
    with tempfile.TemporaryDirectory(prefix="nightcast-") as folder:
        try:
            (Path(folder) / "content").write_bytes(payload.content)
        except OSError as error:
            raise NightcastError(f"{folder}: cannot be written, {error.strerror}") from error
        asked: dict[str, Any] = {
            "folder": folder,
            "payload": payload.name,
            "feed": feed.model_dump_json(),
            "product": feed.product,
            "name": feed.name,
            "home": str(feed.folder),
        }
        seconds = READ_SECONDS + READ_SECONDS_PER_MIB * len(payload.content) / 2**20
        asked["seconds"] = math.ceil(seconds) + 10
        try:
            answer = _reader.ask(asked, seconds)
        except TimeoutError:
            problem = f"not read within {seconds:.0f} s as {spec.format}; it is damaged"
            raise SourceError(f"{payload.name}: {problem}, or larger than it looks") from None
        except EOFError:
            problem = f"not readable as {spec.format}, its library crashed"
            raise SourceError(f"{payload.name}: {problem}; it is damaged, or memory is short") from None
        if "error" in answer:
            kind, text = answer["error"], answer["text"]
            if kind not in _ERRORS:
                fault = NightcastError(f"{payload.name}: reading it failed, {text.strip().splitlines()[-1]}")
                fault.add_note(text)
                raise fault
            if kind == SourceError.__name__:
                _reader.stop()  # a damaged file may have corrupted the memory of a library
            raise _ERRORS[kind](text)
        rows, refused = (_table(Path(folder) / f"{name}.arrow") for name in ("rows", "refused"))
        return Decoded(rows, refused, answer["downsampled"], tuple(answer["notes"]))


class Reader:
    """A subprocess that answers one request at a time. It starts with the first one, and again after a failure."""

    def __init__(self, command: Callable[[], Sequence[str]]) -> None:
        self._command, self._lock = command, threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer.

        Raises:
            TimeoutError: there was no answer in time; the process is ended.
            EOFError: the process ended instead.
        """
        with self._lock:
            try:
                process = self._running()
                assert process.stdin is not None  # noqa: S101 - it is a pipe
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                return _line(process, seconds)
            except BrokenPipeError:
                self._end()
                raise EOFError from None
            except BaseException:  # also when interrupted: the late answer would be read as that of the next request
                self._end()
                raise

    def stop(self) -> None:
        """End the process, if there is one; the next request starts another."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid():  # a fork does not share its parent's process
            self._owner = os.getpid()
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name in _ENVIRONMENT} | _FRUGAL,
            )
            try:
                _line(self._process, START_SECONDS)
            except (EOFError, TimeoutError):
                self._end()
                raise NightcastError("the subprocess that reads gridded files does not start") from None
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()


def _line(process: subprocess.Popen[bytes], seconds: float) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            raise TimeoutError
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def _command() -> list[str]:
    return [sys.executable, "-c", _RUN, json.dumps(sys.path)]


_reader = Reader(_command)
atexit.register(_reader.stop)
