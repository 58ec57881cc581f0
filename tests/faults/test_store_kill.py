"""Kill -9 before each file operation: before the Nth one, for N = 1, 2, 3, ... until a run has fewer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tables import process

# A process that has imported everything forks one child that is killed and one that looks, for each N.
# A killed `write` leaves half of its content on disk.
SWEEP = """
import io, json, os, shutil, signal, sys, tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
import pyarrow as pa
from deltalake import DeltaTable
import pipeline.store.delta.table
from pipeline.store.objects import open_store
from pipeline.store.raw import Payload, RawStore
from pipeline.store.delta.table import Table
from tests.tables import WIDER, add, open_table, rows

work, name = Path(sys.argv[1]), sys.argv[2]


def widen(store):
    def choose(existing):
        new = rows(*({9} - set(existing["key"].to_pylist())))
        return new.append_column("speed", pa.array([1.0] * len(new)))
    Table(store, WIDER, "month").append(choose)


def vacuum(store):
    open_table(store).vacuum(older_than=timedelta(0), now=datetime(2100, 1, 1, tzinfo=UTC))


PAYLOAD = Payload.of("wind.csv", b"x" * 1000, {"at": "north"})
OPERATIONS = {
    "create": (lambda store: None, lambda store: add(open_table(store), 1, 2)),
    "append": (
        lambda store: [add(open_table(store), key) for key in (1, 2)],
        lambda store: add(open_table(store), 3, 4),
    ),
    "widen": (lambda store: add(open_table(store), 1), widen),
    "replace": (
        lambda store: [add(open_table(store), key) for key in (1, 2)],
        lambda store: open_table(store).replace_partition("2001-01", rows(7)),
    ),
    "compact": (
        lambda store: [add(open_table(store), key) for key in (3, 2, 1)],
        lambda store: open_table(store).compact(["key"]),
    ),
    "checkpoint": (
        lambda store: [add(open_table(store), key) for key in (1, 2)],
        lambda store: open_table(store).checkpoint(),
    ),
    "vacuum": (
        lambda store: [[add(open_table(store), key) for key in (1, 2)], open_table(store).compact(["key"])],
        vacuum,
    ),
    "payload": (lambda store: None, lambda store: RawStore(store).put(PAYLOAD)),
}
prepare, operate = OPERATIONS[name]


def in_child(task):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            answer = json.dumps(task()).encode()
        except BaseException as error:
            answer = json.dumps(f"{type(error).__name__}: {error}").encode()
        os.write(write, answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    return json.loads(answer) if answer else None, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Counted:
    # Counts operations that change files, and kills the process at the Nth.
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


def look(store):
    if name == "payload":
        raw = RawStore(store)
        return [raw.get(PAYLOAD.digest).content == PAYLOAD.content] if PAYLOAD.digest in raw else []
    return sorted(open_table(store).read()["key"].to_pylist())


def resume(store):
    before = look(store)
    operate(store)
    table = open_table(store)
    return {"before": before, "after": look(store), "wrong": [] if name == "payload" else table.verify()}


def killed(store, last):
    Counted(last)
    operate(store)
    return "done"


base = work / "base"
in_child(lambda: prepare(open_store(base)) and None)
base.mkdir(exist_ok=True)
for last in range(1, 200):
    here = work / str(last)
    shutil.copytree(base, here)
    answer, code = in_child(lambda: killed(open_store(here), last))
    print(json.dumps([answer, code, *in_child(lambda: resume(open_store(here)))]))
    if answer is not None:
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


@pytest.mark.parametrize("operation", OLD_AND_NEW)
def test_a_kill_leaves_the_old_or_the_new_version_and_the_next_run_completes(operation: str, tmp_path: Path) -> None:
    output, error = process(SWEEP, str(tmp_path), operation).communicate(timeout=120)
    assert "Traceback" not in error
    runs = [json.loads(line) for line in output.splitlines()]
    old, new = OLD_AND_NEW[operation]
    for answer, code, looked, looked_code in runs[:-1]:
        assert (answer, code, looked_code) == (None, -9, 0)
        assert looked["before"] in (old, new), looked
        assert (looked["after"], looked["wrong"]) == (new, []), looked
    assert len(runs) > (2 if operation == "vacuum" else 5)
    answer, code, looked, _ = runs[-1]
    assert (answer, code) == ("done", 0)
    assert looked == {"before": new, "after": new, "wrong": []}
