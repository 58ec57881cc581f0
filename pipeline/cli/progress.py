"""Progress of a job on stderr: live lines on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.jobs.job import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

QUIET_SECONDS = 10.0
"""Without a terminal, at most one line is printed in this time."""


class ProgressLines:
    """Shows the progress that a job reports, one line for each task; use as a context."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self._last = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(24),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
            )
            self._bars = Bars(*columns, console=self.console, transient=True)
            self._tasks[""] = self._bars.add_task(self.title, total=None, detail="")
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how far a task of the job has come."""
        task = progress.task
        if self._bars is not None:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=progress.total, detail="")
            self._bars.update(
                self._tasks[task], completed=progress.done, detail=str(progress).removeprefix(task).strip()
            )
        elif time.monotonic() - self._last > QUIET_SECONDS or progress.done == progress.total:
            self._last = time.monotonic()
            self.console.print(str(progress), markup=False)
