from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer

import psutil
import pytest

from flows.supervise import ProcessGroup, Service, ServiceError, Stopped, alive, run

PARENT = """
import subprocess, sys, time, pathlib
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session={apart})
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def service(tmp_path: Path, code: str, *arguments: str, healthy: Callable[[], bool] = lambda: True) -> Service:
    command = [sys.executable, "-c", code, *arguments]
    return Service("a program", command, dict(os.environ), tmp_path / "logs" / "a.log", healthy, patience=1, grace=5)


@pytest.mark.parametrize("apart", [False, True], ids=["in its group", "in a session of its own"])
def test_f24_leaving_ends_what_the_programs_started(tmp_path: Path, apart: bool) -> None:
    told = tmp_path / "child"
    with ProcessGroup(Event()) as crew:
        crew.start(service(tmp_path, PARENT.format(apart=apart), str(told)))
        wait_until(lambda: told.is_file() and told.read_text())
    pid = int(told.read_text())
    assert not (psutil.pid_exists(pid) and alive(psutil.Process(pid)))


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = "import os, pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN)\n"
    deaf += "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
    told = tmp_path / "deaf"
    one = service(tmp_path, deaf, str(told))
    with ProcessGroup(Event()) as crew:
        crew.start(Service(one.name, one.command, one.environment, one.log, one.healthy, grace=0.1))
        wait_until(lambda: told.is_file() and told.read_text())
    assert not psutil.pid_exists(int(told.read_text()))


def test_the_end_of_a_program_is_told_with_its_last_words(tmp_path: Path) -> None:
    with ProcessGroup(Event()) as crew, pytest.raises(ServiceError, match="a program ended with code 3") as caught:
        crew.start(service(tmp_path, "print('the disk is full'); raise SystemExit(3)"))
        crew.watch()
    assert caught.value.last_words == ("the disk is full",)


def test_one_that_never_answers_is_told(tmp_path: Path) -> None:
    one = service(tmp_path, "import time; time.sleep(600)", healthy=lambda: False)
    with ProcessGroup(Event()) as crew, pytest.raises(ServiceError, match="a program gave no answer in 1 s"):
        crew.start(one)
        crew.await_healthy(one)


def test_stopping_ends_the_wait_and_the_watch(tmp_path: Path) -> None:
    stop = Event()
    one = service(tmp_path, "import time; time.sleep(600)", healthy=lambda: False)
    with ProcessGroup(stop) as crew:
        crew.start(one)
        Timer(0.05, stop.set).start()
        with pytest.raises(Stopped):
            crew.await_healthy(one)
        crew.watch()


def test_run_tells_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the migration ended with code 1") as caught:
        run(
            [sys.executable, "-c", "raise SystemExit('no such table')"],
            os.environ,
            tmp_path / "a.log",
            what="the migration",
            stop=Event(),
        )
    assert caught.value.last_words == ("no such table",)


def test_run_returns_after_success(tmp_path: Path) -> None:
    run([sys.executable, "-c", "print('done')"], os.environ, tmp_path / "a.log", what="it", stop=Event())
    assert (tmp_path / "a.log").read_text() == "done\n"
