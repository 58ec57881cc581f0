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
    return Service(
        "a program", command, dict(os.environ), tmp_path / "logs" / "a.log", healthy, start_timeout=1, stop_timeout=5
    )


@pytest.mark.parametrize("apart", [False, True], ids=["in its group", "in a session of its own"])
def test_leaving_ends_the_descendants_of_the_programs(tmp_path: Path, apart: bool) -> None:
    pid_file = tmp_path / "child"
    with ProcessGroup(Event()) as group:
        group.start(service(tmp_path, PARENT.format(apart=apart), str(pid_file)))
        wait_until(lambda: pid_file.is_file() and pid_file.read_text())
    pid = int(pid_file.read_text())
    assert not (psutil.pid_exists(pid) and alive(psutil.Process(pid)))


def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    deaf = "import os, pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN)\n"
    deaf += "pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
    pid_file = tmp_path / "deaf"
    one = service(tmp_path, deaf, str(pid_file))
    with ProcessGroup(Event()) as group:
        group.start(Service(one.name, one.command, one.environment, one.log, one.healthy, stop_timeout=0.1))
        wait_until(lambda: pid_file.is_file() and pid_file.read_text())
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_the_end_of_a_program_is_an_error_with_the_tail_of_its_log(tmp_path: Path) -> None:
    with ProcessGroup(Event()) as group, pytest.raises(ServiceError, match="a program ended with code 3") as caught:
        group.start(service(tmp_path, "print('the disk is full'); raise SystemExit(3)"))
        group.wait()
    assert caught.value.log_tail == ("the disk is full",)


def test_a_program_that_never_responds_is_an_error(tmp_path: Path) -> None:
    one = service(tmp_path, "import time; time.sleep(600)", healthy=lambda: False)
    with ProcessGroup(Event()) as group, pytest.raises(ServiceError, match="a program did not respond within 1 s"):
        group.start(one)
        group.wait_until_healthy(one)


def test_stopping_ends_both_waits(tmp_path: Path) -> None:
    stop = Event()
    one = service(tmp_path, "import time; time.sleep(600)", healthy=lambda: False)
    with ProcessGroup(stop) as group:
        group.start(one)
        Timer(0.05, stop.set).start()
        with pytest.raises(Stopped):
            group.wait_until_healthy(one)
        group.wait()


def test_run_raises_on_failure(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the migration ended with code 1") as caught:
        run(
            [sys.executable, "-c", "raise SystemExit('no such table')"],
            os.environ,
            tmp_path / "a.log",
            name="the migration",
            stop=Event(),
        )
    assert caught.value.log_tail == ("no such table",)


def test_run_returns_after_success(tmp_path: Path) -> None:
    run([sys.executable, "-c", "print('done')"], os.environ, tmp_path / "a.log", name="it", stop=Event())
    assert (tmp_path / "a.log").read_text() == "done\n"
