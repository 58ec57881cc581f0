"""The subprocess that reads gridded files, because a damaged one can crash the C libraries or hang them.

It reads one JSON request per line, writes one JSON response per line, and ends with its input. The payload and the rows
are files in a folder that the caller names and removes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.config import Feed, FilesSource, Grid
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.ingest.decoding.gridded.decode import decode_arrays
from pipeline.ingest.sources.base import Payload
from pipeline.locations import Locations, read_locations

BASE_BYTES, TIMES_MAX_BYTES = 2**30, 4
"""Address space of this process: for the libraries, and for a file and its rows in units of `max_bytes`."""

CONTENT, ROWS, REFUSED = "content", "rows.arrow", "refused.arrow"


def main() -> None:
    """Answer requests until the input ends; the output of the libraries is discarded."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain the file
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.alarm(asked["seconds"])  # ends this process even if the caller is gone
        answer = _answer(asked)
        signal.alarm(0)
        print(json.dumps(answer), file=answers, flush=True)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    folder = Path(asked["folder"])
    tempfile.tempdir = str(folder)  # so that nothing stays if this process is killed
    try:
        feed = Feed.model_validate_json(asked["feed"]).within(asked["product"], asked["name"], Path(asked["home"]))
        assert isinstance(feed.source, FilesSource)  # noqa: S101 - nobody else asks
        most = feed.source.max_bytes
        _limit(BASE_BYTES + TIMES_MAX_BYTES * most)
        # Stations are checked by the caller, who has their list.
        locations = read_locations(feed) if isinstance(feed.locations, Grid) else Locations((), (), (), ())
        payload = Payload(asked["payload"], (folder / CONTENT).read_bytes(), "")
        decoded = decode_arrays(payload, feed, feed.source, locations)
        for name, table in ((ROWS, decoded.rows), (REFUSED, decoded.refused)):
            with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
    except (ContractError, NoDataError, SourceError) as error:
        return {"error": type(error).__name__, "text": str(error)}
    except MemoryError:
        problem = f"it takes more memory than feed.source.max_bytes, {most}, allows"
        return {"error": SourceError.__name__, "text": f"{asked['payload']}: {problem}"}
    except Exception:
        return {"error": "", "text": traceback.format_exc()}
    return {"downsampled": decoded.downsampled, "notes": decoded.notes}


def _limit(size: int) -> None:
    """Limit the address space of this process, never above the limit of the system."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    least = size if most == resource.RLIM_INFINITY else min(size, most)
    resource.setrlimit(resource.RLIMIT_AS, (least, most))
