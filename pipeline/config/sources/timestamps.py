"""How a payload writes time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.base import Duration, Strict
from pipeline.errors import InvalidValueError
from pipeline.names import check_zone


class TimeStamps(Strict):
    """How the payload writes time, and how to derive a UTC valid_time from it."""

    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=5)] = ("time",)
    """One column with the complete time stamp; or a date column and a column that starts with the hour; or numeric
    columns in this order: year, month, day and, optionally, hour and minute. For months, also year and month."""
    format: str = ""
    """strptime format of the time stamp if it is not ISO 8601, e.g. "%d/%m/%Y %H:%M" or %Y%m%d; several columns are
    joined by a space. %s alone means seconds since 1970 in UTC. Months and quarters need no day: 2024-01, 2024-Q1,
    or e.g. %m/%Y."""
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """IANA time zone of time stamps without an offset. Default: that of a calendar step, else UTC. In the hour that
    occurs twice when clocks go back, the order of a location's rows decides: if its stamps step back or repeat, the
    earlier rows come first. If the order does not decide, the first occurrence is assumed and a note is kept. Times in
    the hour skipped in spring are refused."""
    label: Literal["start", "end"] = "end"
    """Whether a time stamp marks the start or the end of its period. valid_time is always the end, the earliest time at
    which the value can be known; an instantaneous value is stamped with its own time. Default: end; start for a
    calendar step, such as a month. There every time stamp within the step means it, and end differs only for one on
    the boundary: 2024-02-01 00:00 is then January."""
    day_starts: Duration = timedelta(0)
    """Time of day at which a labelled day begins: with 6h, hours 0 to 5 belong to the calendar day after their
    label."""
    hours: Literal["0-23", "1-24"] = "0-23"
    """How a separate hour column counts: 1-24 labels each hour by its end."""
    resample: Duration = timedelta(0)
    """For irregular time stamps: the last observation before each time step is used for that step, if it is no older
    than this. The others are counted as downsampled. 0: time stamps must fall on the time steps."""

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) < len(columns):
            raise InvalidValueError(f"{list(columns)} names a column twice")
        return columns

    @field_validator("format")
    @classmethod
    def _check_format(cls, form: str) -> str:
        day = datetime(1978, 12, 14, 18, tzinfo=UTC)
        try:
            read = day if form in ("", "%s") else datetime.strptime(day.strftime(form), form)  # noqa: DTZ007
        except ValueError:
            read = None
        if read is None or read.date() not in (day.date(), day.date().replace(day=1)):
            raise InvalidValueError(f"{form!r} is not a strptime format with a date", "write e.g. '%d/%m/%Y %H:%M'")
        return form

    @property
    def names_days(self) -> bool:
        """Whether the format has a day, as it must for steps shorter than a month."""
        day = datetime(1978, 12, 14, 18, tzinfo=UTC)
        return self.format in ("", "%s") or datetime.strptime(day.strftime(self.format), self.format).day == day.day  # noqa: DTZ007

    @model_validator(mode="after")
    def _check_hours(self) -> Self:
        if self.format == "%s" and len(self.columns) > 1:
            raise InvalidValueError("'%s' is a single number", "name one column", field="format")
        if self.hours == "1-24":
            if self.format or len(self.columns) not in (2, 4):
                raise InvalidValueError(
                    "'1-24' needs a separate hour column", "name it second, or fourth after the date", field="hours"
                )
            if self.label == "start":
                raise InvalidValueError("'1-24' labels hours by their end", "leave out label: start", field="hours")
        return self
