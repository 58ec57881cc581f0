"""The errors that Nightcast raises on purpose, and the exit code with which each ends a command.

The class says who has to act: the caller for a `UsageError`, the provider for an `UpstreamError`, nobody for a
`RefusedError`, which is a decision, and the developers of Nightcast for everything else.
"""

from __future__ import annotations

from typing import Any, ClassVar

from models.errors import first_line as first_line


class NightcastError(Exception):
    """A fault of Nightcast: a broken invariant, an unreadable store. Exit code 1."""

    exit_code: ClassVar[int] = 1


class StoreError(NightcastError):
    """A store cannot be read or written."""


class UsageError(NightcastError):
    """A usage error: an invalid argument, product file or setting. Exit code 2."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """One mistake in a file or setting: where it is, what is wrong, and how to correct it."""

    def __init__(self, file: str, field: str, problem: str, remedy: str = "") -> None:
        self.file, self.field, self.problem, self.remedy = file, field, problem, remedy
        where = f"{file}: {field}" if field else file
        super().__init__(f"{where}: {_joined(problem, remedy)}")


class InvalidValueError(ValueError):
    """A value that a field does not accept: what is wrong with it, and what to write instead.

    `field` names the field at fault where a check looks at several, by its path below the object that was checked.
    """

    def __init__(self, problem: str, remedy: str = "", *, field: str = "") -> None:
        self.problem, self.remedy, self.field = problem, remedy, field
        super().__init__(_joined(f"{field}: {problem}" if field else problem, remedy))


class UpstreamError(NightcastError):
    """An upstream failure: a source is down or has no data. Exit code 3."""

    exit_code: ClassVar[int] = 3


class SourceError(UpstreamError):
    """A source cannot be reached, or its payload cannot be read."""


class UnusablePayloadsError(SourceError):
    """No payload of a feed could be used: the first error, and how many more there are."""

    def __init__(self, first: Exception, *, more: int) -> None:
        self.first, self.more = first, more
        super().__init__(f"{more + 1} payloads cannot be used; the first: {first}")


class NoDataError(UpstreamError):
    """A job needs observations, and there are none."""


class RefusedError(NightcastError):
    """A gate or a contract refused; nothing was changed. Exit code 4."""

    exit_code: ClassVar[int] = 4


class ContractError(RefusedError):
    """A whole batch or forecast broke its data contract."""


class BatchError(ContractError):
    """A whole batch of rows was refused; `report` holds the result of every check."""

    def __init__(self, message: str, report: dict[str, Any]) -> None:
        self.report = report
        super().__init__(message)


class RefusedPayloadsError(ContractError):
    """Every payload of a feed was refused: the first refusal, and how many more there are."""

    def __init__(self, first: Exception, *, more: int) -> None:
        self.first, self.more = first, more
        super().__init__(f"{more + 1} payloads were refused; the first: {first}")


class GateError(RefusedError):
    """A model may not become the champion."""


def _joined(problem: str, remedy: str) -> str:
    return f"{problem}; {remedy}" if remedy else problem
