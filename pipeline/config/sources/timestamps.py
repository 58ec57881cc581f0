"""How a payload writes time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.base import Duration, Strict
from pipeline.names import check_zone


class TimeStamps(Strict):
    """How the payload writes time, and how that becomes a UTC valid_time."""

    columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=5)] = ("time",)
    """One column with the whole stamp; a date column and a column whose text begins with the hour; or columns of
    numbers: year, month, day and, if need be, hour and minute, in this order."""
    format: str = ""
    """How time is written where it is not ISO 8601, in the codes of strptime, e.g. "%d/%m/%Y %H:%M" or %Y%m%d; several
    columns are joined by a blank. %s: a number, seconds since 1970 in UTC."""
    zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """IANA zone of stamps without an offset. Of an hour that autumn doubles, the order of rows of a location tells
    which is meant: where stamps step back, or stand twice, first the one and then the other. What the order does not
    tell is read as the first, and noted. An hour that spring skipped is refused."""
    label: Literal["start", "end"] = "end"
    """Which end of its period a stamp marks. valid_time is always the end, the instant from which a value can be known;
    an instantaneous value is its own end."""
    day_starts: Duration = timedelta(0)
    """Clock time at which a labelled day begins: with 6h, hours 0 to 5 belong to the calendar day after their label."""
    hours: Literal["0-23", "1-24"] = "0-23"
    """How hours are counted in a column of their own: 1-24 names an hour by its end."""
    gather: Duration = timedelta(0)
    """For irregular stamps: an observation stands for the next point of the feed's time grid if it is not older than
    this by then; the last one before the point is taken, the others are counted as thinned. 0: stamps must be on the
    grid."""

    @field_validator("columns")
    @classmethod
    def _apart(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) < len(columns):
            raise ValueError(f"{list(columns)} names a column twice")
        return columns

    @field_validator("format")
    @classmethod
    def _reads_what_it_writes(cls, form: str) -> str:
        day = datetime(1978, 12, 14, 18, tzinfo=UTC)
        try:
            read = day if form in ("", "%s") else datetime.strptime(day.strftime(form), form)  # noqa: DTZ007
        except ValueError:
            read = None
        if read is None or read.date() != day.date():
            raise ValueError(f"{form!r} does not give a day in the codes of strptime; write e.g. '%d/%m/%Y %H:%M'")
        return form

    @model_validator(mode="after")
    def _hours_have_a_column(self) -> Self:
        if self.format == "%s" and len(self.columns) > 1:
            raise ValueError("format: '%s' is one number; name one column")
        if self.hours == "1-24":
            if self.format or len(self.columns) not in (2, 4):
                raise ValueError("hours: '1-24' counts hours in a column of their own; name it second, or fourth")
            if self.label == "start":
                raise ValueError("hours: '1-24' names hours by their end; leave out label: start")
        return self
