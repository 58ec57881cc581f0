"""The parameters that people fill in: their types, and the titles of the form that Prefect makes of them.

Descriptions are the `Args:` of each flow. Parameters stay flat, so that `prefect deployment run -p` can set
one of them and keep the deployment's defaults for the others.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import Flow
from prefect.utilities.callables import ParameterSchema, parameter_schema
from pydantic import AfterValidator, Field, StringConstraints


def _in_utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_in_utc)]
"""An instant; without an offset it is UTC."""

ProductFile = Annotated[str, StringConstraints(min_length=1)]
"""Path of a product file on the worker's machine."""

Version = Annotated[int, Field(ge=1)]
"""Registry version of a model."""

Reason = Annotated[str, StringConstraints(min_length=3, max_length=500, strip_whitespace=True)]
"""Why somebody does a thing, kept for ever."""

Part = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""A part of a text."""

Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A number from 1."""

TITLES = {
    "product": "Product file",
    "at": "Now of the job",
    "since": "From",
    "until": "Until",
    "version": "Version of the model",
    "why": "Reason",
    "who": "Your name",
    "part": "Part",
    "parts": "Of how many parts",
    "repair": "Repair damage",
    "reason": "Part of the reason for refusal",
    "override": "Override the contract",
}


def form(flow: Flow[..., Any]) -> ParameterSchema:
    """Return the schema of a flow's parameters with the titles that people read."""
    schema = parameter_schema(flow)
    for name, field in schema.properties.items():
        field["title"] = TITLES[name]
    return schema
