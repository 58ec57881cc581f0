"""Other programs, started together, watched, and stopped together, with all that they started themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Self

import psutil

from pipeline.errors import NightcastError

TAIL = 15
"""Lines of a log that are shown when its program fails."""
_TICK = 0.25


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs until it is stopped."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    healthy: Callable[[], bool]
    patience: float = 90.0
    """Seconds until it must be healthy."""
    grace: float = 10.0
    """Seconds it has to stop by itself."""


class ServiceError(NightcastError):
    """A program that should run does not."""

    def __init__(self, problem: str, log: Path) -> None:
        super().__init__(f"{problem}; its log is {log}")
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
        self.last_words = tuple(lines[-TAIL:])
        """The last lines of its log."""


class Stopped(Exception):  # noqa: N818 -- no error: somebody asked to stop
    """Somebody asked to stop while the programs were starting."""


class ProcessGroup:
    """Programs in the order of their start. Leaving the block stops them in reverse, every process."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []
        self._family: dict[int, psutil.Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._remember()
        while self._running:
            service, process = self._running.pop()
            _end(process, service.grace)
        self._end_family()

    def start(self, service: Service) -> None:
        """Start a program in a process group of its own; its words go to its log."""
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 -- a command of ours
                list(service.command),
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((service, process))

    def await_healthy(self, service: Service) -> None:
        """Return as soon as a started program answers.

        Raises:
            Stopped: somebody asked to stop.
            ServiceError: a program ended, or this one does not answer in time.
        """
        deadline = time.monotonic() + service.patience
        while not service.healthy():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(f"{service.name} gave no answer in {service.patience:g} s", service.log)
            if self._stop.wait(_TICK):
                raise Stopped

    def watch(self) -> None:
        """Return when somebody asks to stop.

        Raises:
            ServiceError: a program ended.
        """
        while not self._stop.wait(1.0):
            self.check()
            self._remember()

    def check(self) -> None:
        """Make sure that every program still runs.

        Raises:
            ServiceError: one has ended.
        """
        for service, process in self._running:
            code = process.poll()
            if code is not None:
                raise ServiceError(f"{service.name} ended with code {code}", service.log)

    def _remember(self) -> None:
        """Keep hold of every descendant: one whose parent has died can no longer be found."""
        for _, process in self._running:
            try:
                children = psutil.Process(process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            self._family.update({child.pid: child for child in children})
        self._family = {pid: child for pid, child in self._family.items() if alive(child)}

    def _end_family(self) -> None:
        for end, patience in ((psutil.Process.terminate, 5.0), (psutil.Process.kill, 5.0)):
            left = [child for child in self._family.values() if alive(child)]
            for child in left:
                _quietly(partial(end, child))
            deadline = time.monotonic() + patience
            while any(map(alive, left)) and time.monotonic() < deadline:
                time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that ended and waits for its parent to notice does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, *, what: str, stop: Event) -> None:
    """Run a program to its end.

    Raises:
        Stopped: somebody asked to stop; the program is stopped too.
        ServiceError: it failed.
    """
    service = Service(what, command, environment, log, healthy=lambda: False)
    with ProcessGroup(stop) as crew:
        crew.start(service)
        process = crew._running[0][1]
        while process.poll() is None:
            if stop.wait(_TICK):
                raise Stopped
        if process.returncode:
            crew.check()


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the whole group to stop, wait, and then end what is left of it."""
    for wanted, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        _quietly(partial(os.killpg, process.pid, wanted))
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        _quietly(partial(os.killpg, process.pid, signal.SIGKILL))
        return


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
        return
