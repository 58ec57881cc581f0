"""Kill -9 before the Nth durable write, for some N from the first to the last."""

from __future__ import annotations

import json
from pathlib import Path

from tests.tables import process

POINTS = 4
"""How many N of each job: a run takes a second. Those of single steps are all met in test_store_kill."""

# A process that has loaded everything and done nothing forks, for each N, a child that is killed and one that goes on.
SWEEP = """
import json, os, shutil, signal, sys, warnings
warnings.simplefilter("ignore")  # what others import here is tested elsewhere
from datetime import UTC, datetime, timedelta
from pathlib import Path
import great_expectations.data_context.types.base, scipy.spatial
import pipeline.atomic
from expectations.suites import _batches
from deltalake import DeltaTable
from tests import jobs
from pipeline.ingest.feed import OpenFeed
from pipeline.workspace import Workspace
from pipeline.errors import UsageError
from pipeline.ingest.quarantine import Quarantine
from pipeline.store.observations import Observations
from pipeline.store.objects import LocalStore
from tests.world import make_product, make_settings

work, points = Path(sys.argv[1]), int(sys.argv[2])
NOW = datetime(2001, 9, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class NoModels:
    versions = lambda _: []
    end_lost_runs = lambda *_: 0


def without_models(product, settings):
    ws = Workspace(product, settings)
    ws.registry = NoModels()
    return ws


def make(folder):
    source = {"path": "inbox/*.csv", "format": "csv", "layout": "wide"}
    return make_product(folder, stations=2, days=3, feed={"mode": "live", "source": source})


def deliver(folder):
    (folder / "inbox").mkdir()
    (folder / "inbox" / "a.csv").write_text("time,S0,S1\\n2001-01-01,1,2\\n2001-01-02,140,zwei\\n")
    (folder / "inbox" / "b.csv").write_text("time,S0,S1\\n2001-01-02,3,4\\n2001-01-03,5,6\\n")


def ingest(product, settings, at=NOW):
    jobs.ingest(Workspace(product, settings), at=at)


def release(product, settings):
    try:
        ws = Workspace(product, settings)
        jobs.release(ws, who="me", why="storm", reason="outside", override=True, at=NOW + HOUR)
    except UsageError:  # it was complete before the kill
        pass


def damaged(product, settings):
    ingest(product, settings)
    release(product, settings)
    root = settings.home / "products" / "tiny-wind"
    for table in ("observations", "quarantine", "quarantine-decisions"):
        for path in (root / table).rglob("*.parquet"):
            path.write_bytes(path.read_bytes()[:-1] + b"x")


def mend(product, settings):
    jobs.maintain(without_models(product, settings), repair=True, at=NOW + 2 * HOUR)


JOBS = {"ingest": (lambda *_: None, ingest), "release": (ingest, release), "repair": (damaged, mend)}


def look(product, settings):
    found = jobs.maintain(without_models(product, settings), at=NOW + 3 * HOUR)
    quarantine = OpenFeed(product.feed, settings).quarantine
    rows = OpenFeed(product.feed, settings).observations.read().num_rows if not found.damage else -1
    digest = OpenFeed(product.feed, settings).observations.digest() if rows >= 0 else ""
    open_ids = sorted(quarantine.open_rows()["id"].to_pylist()) if rows >= 0 else []
    return {"rows": rows, "digest": digest, "open": open_ids, "damage": bool(found.damage)}


def resume(job, folder):
    product, settings = make(folder), make_settings(folder)
    before = look(product, settings) if job is mend else None
    job(product, settings)
    return {"before": before, "after": look(product, settings)}


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


def killed(job, folder, last):
    product, settings = make(folder), make_settings(folder)
    met = [0]

    def counted(operation):
        def before(*given, **named):
            met[0] += 1
            if met[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*given, **named)
        return before

    for owner, operations in (
        (LocalStore, ("put", "create", "put_new_files", "delete")),
        (DeltaTable, ("create", "create_write_transaction", "create_checkpoint")),
        (pipeline.atomic, ("write_file",)),
    ):
        for operation in operations:
            setattr(owner, operation, counted(getattr(owner, operation)))
    job(product, settings)
    return met[0]


def begin(prepare, folder):
    product, settings = make(folder), make_settings(folder)
    deliver(folder)
    prepare(product, settings)


_batches()  # costly, and the same for all
for name, (prepare, job) in JOBS.items():
    base = work / name
    base.mkdir()
    begun = in_child(lambda: begin(prepare, base))

    def once(last):
        here = work / f"{name}-{last}"
        shutil.copytree(base, here)
        told = [*in_child(lambda: killed(job, here, last)), *in_child(lambda: resume(job, here))]
        shutil.rmtree(here)
        return told

    whole = once(0)
    count = whole[0] if isinstance(whole[0], int) else 0
    at = sorted({1 + round(n * (count - 1) / (points - 1)) for n in range(points)})
    print(json.dumps({"job": name, "begun": begun, "whole": whole, "killed": [once(last) for last in at]}), flush=True)
"""


def test_after_a_kill_the_next_run_gives_the_result_of_an_undisturbed_run(tmp_path: Path) -> None:
    output, error = process(SWEEP, str(tmp_path), str(POINTS)).communicate(timeout=170)
    assert "Traceback" not in error
    swept = {one["job"]: one for one in map(json.loads, output.splitlines())}
    for job, rows, refused in (("ingest", 6, 2), ("release", 7, 1), ("repair", 7, 1)):
        one = swept[job]
        assert one["begun"] == [None, 0]
        count, code, looked, looked_code = one["whole"]
        wanted = looked["after"]
        assert (count > POINTS, code, looked_code) == (True, 0, 0)
        assert (wanted["rows"], len(wanted["open"]), wanted["damage"]) == (rows, refused, False)
        assert len(one["killed"]) == POINTS
        for told, code, looked, looked_code in one["killed"]:
            assert (told, code, looked_code) == (None, -9, 0)
            assert looked["after"] == wanted, job
            before = looked["before"]  # damage not yet repaired is reported
            assert before is None or before["damage"] or before == wanted
