"""Progress of training on the terminal: one live line per model, or a line now and then where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from models.base import Epoch

QUIET_SECONDS = 10.0


class EpochLines:
    """Shows each epoch that training reports; use as a context."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._tasks: dict[str, TaskID] = {}
        self._last = time.monotonic()
        self._progress = Progress(
            TextColumn("training {task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, model: str, epoch: Epoch) -> None:
        """Show one epoch of one model."""
        loss = (
            f"epoch {epoch.epoch}/{epoch.epochs}, loss {epoch.train_loss:.4f}, validation {epoch.validation_loss:.4f}"
        )
        if self.console.is_terminal:
            if model not in self._tasks:
                self._tasks[model] = self._progress.add_task(model, total=epoch.epochs, loss="")
            self._progress.update(self._tasks[model], completed=epoch.epoch, loss=loss)
        elif time.monotonic() - self._last > QUIET_SECONDS or epoch.epoch == epoch.epochs:
            self._last = time.monotonic()
            self.console.print(f"training {model}: {loss}")
