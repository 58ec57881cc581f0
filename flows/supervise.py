"""Programs that are started together, supervised, and stopped together with all processes that they started."""

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
    start_timeout: float = 90.0
    """Seconds until it must be healthy."""
    stop_timeout: float = 10.0
    """Seconds it has to stop by itself."""


class ServiceError(NightcastError):
    """A program that should run does not."""

    def __init__(self, problem: str, log: Path) -> None:
        super().__init__(f"{problem}; its log is {log}")
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
        self.log_tail = tuple(lines[-TAIL:])
        """The last lines of its log."""


class Stopped(Exception):  # noqa: N818 -- not an error: somebody asked to stop
    """Somebody asked to stop while the programs were starting."""


class ProcessGroup:
    """Programs in the order of their start. Leaving the block stops them in reverse order, with all descendants."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []
        self._descendants: dict[int, psutil.Process] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._find_descendants()
        while self._running:
            service, process = self._running.pop()
            _end(process, service.stop_timeout)
        self._end_descendants()

    def start(self, service: Service) -> subprocess.Popen[bytes]:
        """Start a program in its own session and return its process; its output goes to its log."""
        service.log.parent.mkdir(parents=True, exist_ok=True)
        with service.log.open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 -- the command is ours
                list(service.command),
                env=dict(service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((service, process))
        return process

    def wait_until_healthy(self, service: Service) -> None:
        """Return as soon as a started program responds.

        Raises:
            Stopped: somebody asked to stop.
            ServiceError: a program ended, or this one does not respond in time.
        """
        deadline = time.monotonic() + service.start_timeout
        while not service.healthy():
            self.check()
            if time.monotonic() > deadline:
                raise ServiceError(f"{service.name} did not respond within {service.start_timeout:g} s", service.log)
            if self._stop.wait(_TICK):
                raise Stopped

    def wait(self) -> None:
        """Return when somebody asks to stop.

        Raises:
            ServiceError: a program ended.
        """
        while not self._stop.wait(1.0):
            self.check()
            self._find_descendants()

    def check(self) -> None:
        """Check that every program still runs.

        Raises:
            ServiceError: one has ended.
        """
        for service, process in self._running:
            code = process.poll()
            if code is not None:
                raise ServiceError(f"{service.name} ended with code {code}", service.log)

    def _find_descendants(self) -> None:
        """Remember every descendant, because one whose parent has ended can no longer be found."""
        for _, process in self._running:
            try:
                children = psutil.Process(process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            self._descendants.update({child.pid: child for child in children})
        self._descendants = {pid: child for pid, child in self._descendants.items() if alive(child)}

    def _end_descendants(self) -> None:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            left = [child for child in self._descendants.values() if alive(child)]
            for child in left:
                _ignore_missing(partial(end, child))
            deadline = time.monotonic() + 5.0
            while any(map(alive, left)) and time.monotonic() < deadline:
                time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def run(command: Sequence[str], environment: Mapping[str, str], log: Path, *, name: str, stop: Event) -> None:
    """Run a program to its end.

    Raises:
        Stopped: somebody asked to stop; the program is stopped too.
        ServiceError: it failed.
    """
    with ProcessGroup(stop) as group:
        process = group.start(Service(name, command, environment, log, healthy=lambda: False))
        while process.poll() is None:
            if stop.wait(_TICK):
                raise Stopped
        if process.returncode:
            group.check()


def _end(process: subprocess.Popen[bytes], timeout: float) -> None:
    """Ask the process group to stop, wait, and kill what is left of it."""
    for wanted, seconds in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        _ignore_missing(partial(os.killpg, process.pid, wanted))
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        _ignore_missing(partial(os.killpg, process.pid, signal.SIGKILL))
        return


def _ignore_missing(action: Callable[[], object]) -> None:
    """Do something to a process that may have ended already."""
    try:
        action()
    except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
        return
