"""The time step of a feed in a product file: a duration, or a calendar step."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from models.steps import PATTERN, CalendarStep
from pipeline.config.base import DURATION_PATTERN, format_duration, parse_duration
from pipeline.errors import InvalidValueError
from pipeline.names import check_zone
from pipeline.steps import Step

_DAY = timedelta(days=1)


def parse_step(text: object) -> Step:
    """Return the time step that text such as ``1h``, ``month`` or ``day in Europe/Dublin`` means.

    Raises:
        InvalidValueError: the text is not a step, or a duration that does not divide a day into equal steps.
    """
    if isinstance(text, CalendarStep):
        return text
    if isinstance(text, str) and re.fullmatch(PATTERN, text):
        return _calendar_step(text)
    if isinstance(text, str) and not re.fullmatch(DURATION_PATTERN, text):
        raise InvalidValueError(
            f"{text!r} is not a duration or a calendar step",
            "write e.g. 10min, 1h, 1d, week, month, quarter, day in Europe/Dublin, month in Europe/Dublin",
        )
    step = parse_duration(text)
    if not step or step % timedelta(seconds=1) or (_DAY % step and step % _DAY):
        raise InvalidValueError(
            "does not divide a day into equal steps of whole seconds",
            "use e.g. 10min, 1h, 6h, 1d, or a calendar step such as month",
        )
    return step


def format_step(step: Step) -> str:
    """Return the text that `parse_step` reads as the same step."""
    return format_duration(step) if isinstance(step, timedelta) else str(step)


def _calendar_step(text: str) -> CalendarStep:
    step = CalendarStep.parse(text)
    check_zone(step.zone)
    if step == CalendarStep("day"):
        raise InvalidValueError("a day in UTC is a fixed step", "write 1d, or name a zone: day in Europe/Dublin")
    return step


StepField = Annotated[
    Step,
    PlainValidator(parse_step),
    PlainSerializer(format_step, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"{DURATION_PATTERN}|{PATTERN}",
            "examples": ["10min", "1h", "1d", "week", "month", "quarter", "day in Europe/Dublin"],
        }
    ),
]
"""A time step, written as in ``1h`` or ``month``."""
