"""Every error Nightcast raises on purpose, and the exit code that each one ends a command with.

The tree answers one question: whose turn is it? Wrong use is the caller's, a world fault is the provider's, a refusal
is a decision and not a failure, and everything else is ours.
"""

from __future__ import annotations

from typing import Any, ClassVar


class NightcastError(Exception):
    """Our own fault: a broken invariant, an unreadable store. Exit code 1."""

    exit_code: ClassVar[int] = 1


class StoreError(NightcastError):
    """A store cannot be read or written as it promises."""


class UsageError(NightcastError):
    """Wrong use: an argument, a product file or a setting that cannot be meant. Exit code 2."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """One mistake in a file or setting, told in one line: where, what, and what would be right."""

    def __init__(self, file: str, field: str, problem: str, remedy: str = "") -> None:
        self.file, self.field, self.problem, self.remedy = file, field, problem, remedy
        where = f"{file}: {field}" if field else file
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))


class UpstreamError(NightcastError):
    """The world's fault: a source is down or has nothing to give. Exit code 3."""

    exit_code: ClassVar[int] = 3


class SourceError(UpstreamError):
    """A source cannot be reached, or its payload cannot be read."""


class NoDataError(UpstreamError):
    """There are no observations where the job needs some."""


class RefusedError(NightcastError):
    """A gate or a contract said no; nothing was changed. Exit code 4."""

    exit_code: ClassVar[int] = 4


class ContractError(RefusedError):
    """A batch or a forecast broke its data contract as a whole."""


class BatchError(ContractError):
    """A batch of rows was refused as a whole; `report` has what every check found."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        self.report = report
        super().__init__(message)


class GateError(RefusedError):
    """A model may not take the place it was proposed for."""
