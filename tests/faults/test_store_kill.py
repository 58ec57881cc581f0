"""F1: kill -9 at any file operation: the Nth one is the last, for N = 1, 2, 3, ... until a run does not meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.samples import process

# A process that has loaded everything and done nothing forks one child that is killed and one that looks, for each N.
# Half of what a killed `write` should have written is on the disk.
SWEEP = """
import io, json, os, shutil, signal, sys, tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
import pyarrow as pa
from deltalake import DeltaTable
import pipeline.store.delta.maintenance
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from pipeline.store.delta.table import Table
from tests.faults.samples import SCHEMA, add, rows, table_at

work, name = Path(sys.argv[1]), sys.argv[2]
WIDER = SCHEMA.append(pa.field("speed", pa.float64()))


def widen(place):
    def choose(present):
        new = rows(*({9} - set(present["key"].to_pylist())))
        return new.append_column("speed", pa.array([1.0] * len(new)))
    Table(place, WIDER, "month").append(choose)


def sweep_away(place):
    table_at(place).vacuum(older_than=timedelta(0), now=datetime(2100, 1, 1, tzinfo=UTC))


PAYLOAD = Payload.of("wind.csv", b"x" * 1000, {"at": "north"})
DEEDS = {
    "create": (lambda place: None, lambda place: add(table_at(place), 1, 2)),
    "append": (lambda place: [add(table_at(place), key) for key in (1, 2)], lambda place: add(table_at(place), 3, 4)),
    "widen": (lambda place: add(table_at(place), 1), widen),
    "replace": (
        lambda place: [add(table_at(place), key) for key in (1, 2)],
        lambda place: table_at(place).replace_partition("2001-01", rows(7)),
    ),
    "compact": (
        lambda place: [add(table_at(place), key) for key in (3, 2, 1)],
        lambda place: table_at(place).compact(["key"]),
    ),
    "checkpoint": (
        lambda place: [add(table_at(place), key) for key in (1, 2)],
        lambda place: table_at(place).checkpoint(),
    ),
    "vacuum": (
        lambda place: [[add(table_at(place), key) for key in (1, 2)], table_at(place).compact(["key"])],
        sweep_away,
    ),
    "payload": (lambda place: None, lambda place: RawStore(place).put(PAYLOAD)),
}
prepare, deed = DEEDS[name]


def in_child(task):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            told = json.dumps(task()).encode()
        except BaseException as error:
            told = json.dumps(f"{type(error).__name__}: {error}").encode()
        os.write(write, told)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    return json.loads(told) if told else None, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Counted:
    # Counts what changes files, and ends the process at the Nth.
    def __init__(self, last):
        self.left = last
        for owner, operation in (
            (os, "fsync"), (os, "link"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (tempfile, "mkstemp"),
            (DeltaTable, "create"), (DeltaTable, "create_write_transaction"), (DeltaTable, "create_checkpoint"),
        ):
            setattr(owner, operation, self.before(getattr(owner, operation)))
        opened, fdopened = Path.open, os.fdopen
        Path.open = lambda path, mode="r", *given, **named: self.halved(opened(path, mode, *given, **named), mode)
        os.fdopen = lambda handle, mode="r", *given, **named: self.halved(fdopened(handle, mode, *given, **named), mode)

    def count(self):
        self.left -= 1
        return self.left == 0

    def before(self, operation):
        def counted(*given, **named):
            if self.count():
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*given, **named)
        return counted

    def halved(self, file, mode):
        if "r" in mode:
            return file
        write = file.write

        class Halved:
            __enter__ = lambda _: (file.__enter__(), self_)[1]
            __exit__ = lambda _, *given: file.__exit__(*given)
            __getattr__ = lambda _, name: getattr(file, name)

            def write(_, content):
                if self.count():
                    write(content[: len(content) // 2])
                    file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                return write(content)

        self_ = Halved()
        return self_


def look(place):
    if name == "payload":
        store = RawStore(place)
        return [store.get(PAYLOAD.digest).content == PAYLOAD.content] if PAYLOAD.digest in store else []
    return sorted(table_at(place).read()["key"].to_pylist())


def resume(place):
    before = look(place)
    deed(place)
    table = table_at(place)
    return {"before": before, "after": look(place), "wrong": [] if name == "payload" else table.verify()}


def killed(place, last):
    Counted(last)
    deed(place)
    return "done"


base = work / "base"
in_child(lambda: prepare(open_store(base)) and None)
base.mkdir(exist_ok=True)
for last in range(1, 200):
    here = work / str(last)
    shutil.copytree(base, here)
    told, code = in_child(lambda: killed(open_store(here), last))
    print(json.dumps([told, code, *in_child(lambda: resume(open_store(here)))]))
    if told is not None:
        break
    shutil.rmtree(here)
"""
OLD_AND_NEW: dict[str, tuple[list[object], list[object]]] = {
    "create": ([], [1, 2]),
    "append": ([1, 2], [1, 2, 3, 4]),
    "widen": ([1], [1, 9]),
    "replace": ([1, 2], [7]),
    "compact": ([1, 2, 3], [1, 2, 3]),
    "checkpoint": ([1, 2], [1, 2]),
    "vacuum": ([1, 2], [1, 2]),
    "payload": ([], [True]),
}


@pytest.mark.parametrize("deed", OLD_AND_NEW)
def test_f1_a_kill_leaves_the_old_or_the_new_version_and_the_next_run_converges(deed: str, tmp_path: Path) -> None:
    output, error = process(SWEEP, str(tmp_path), deed).communicate(timeout=120)
    assert "Traceback" not in error
    runs = [json.loads(line) for line in output.splitlines()]
    old, new = OLD_AND_NEW[deed]
    for told, code, looked, looked_code in runs[:-1]:
        assert (told, code, looked_code) == (None, -9, 0)
        assert looked["before"] in (old, new), looked
        assert (looked["after"], looked["wrong"]) == (new, []), looked
    assert len(runs) > (2 if deed == "vacuum" else 5)
    told, code, looked, _ = runs[-1]
    assert (told, code) == ("done", 0)
    assert looked == {"before": new, "after": new, "wrong": []}
