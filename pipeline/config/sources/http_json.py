"""The `http-json` source in a product file: what to request, and where rows and cells are in the response."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.config.base import Duration, Strict
from pipeline.config.sources.base import TimeLabel
from pipeline.config.sources.http import HttpSpec, check_url
from pipeline.config.sources.timestamps import TimeStamps
from pipeline.errors import InvalidValueError
from pipeline.names import check_zone

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
"""A placeholder: {since}, {until}, {location}, {latitude}, {longitude} or {secret:NAME}."""
_WINDOW, _LOCATION = ("since", "until"), ("location", "latitude", "longitude")


def _check_expression(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        problem = f"{text[:80]!r} is not a valid JMESPath expression, {' '.join(str(error).split())[:120]}"
        raise InvalidValueError(problem, "write e.g. data.rows or station.id") from None
    return text


Expression = Annotated[str, AfterValidator(_check_expression)]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]$-]{1,80}$")]


class NextLink(Strict):
    """The response contains the URL of the next page."""

    kind: Literal["next"]
    link: Expression
    """JMESPath expression for that URL; null or absent on the last page. It must be on the host of `url`."""


class Cursor(Strict):
    """The response contains a cursor that requests the next page."""

    kind: Literal["cursor"]
    cursor: Expression
    """JMESPath expression for the cursor; null, absent or empty on the last page."""
    parameter: Parameter = "cursor"
    """Query parameter for the cursor."""


class PageNumber(Strict):
    """Pages are requested by number until one has no rows."""

    kind: Literal["page"]
    parameter: Parameter = "page"
    """Query parameter for the page number."""
    first: Annotated[int, Field(ge=0)] = 1
    """Number of the first page."""


class Offset(Strict):
    """Pages are requested by row offset until one has fewer rows than requested."""

    kind: Literal["offset"]
    limit: Annotated[int, Field(ge=1, le=1_000_000)]
    """Rows per request."""
    parameter: Parameter = "offset"
    """Query parameter for the offset."""
    limit_parameter: Parameter = "limit"
    """Query parameter for the number of rows."""


class HttpJsonSource(HttpSpec):
    """Any web service that returns JSON.

    `url`, `query` and `headers` may contain placeholders: {since} and {until}, the time range, in UTC as in
    2020-01-01T00:00:00Z; {since:%Y-%m-%d}, in strftime format; {since:s} and {since:ms}, seconds or milliseconds since
    1970; {location}, {latitude} and {longitude}, which cause one request per location; and, in query and headers only,
    {secret:NAME}.
    """

    kind: Literal["http-json"]
    url: str
    """URL to request."""
    query: dict[str, str] = {}
    """Query parameters."""
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")], str] = {}
    """Request headers, e.g. {Authorization: "Bearer {secret:token}"}."""
    window: Duration = timedelta(days=30)
    """Longest time range per request. Also the range of the first ingest, if neither history nor archive is set."""
    window_zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """IANA time zone of {since} and {until} in strftime format."""
    archive: Duration | None = None
    """How far back the service keeps data."""
    ahead: Duration = timedelta(0)
    """How far beyond the current time to request, for feeds that are known in advance."""
    paging: Annotated[NextLink | Cursor | PageNumber | Offset, Field(discriminator="kind")] | None = None
    """How to request further pages; null if there is only one."""
    max_pages: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Maximum number of pages; guards against endless paging."""
    rows: Expression = "@"
    """JMESPath expression for the list of rows."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: one row per time and location, one column per variable. wide: one column per location, a single variable.
    tidy: one row per time, location and variable."""
    columns: dict[str, Expression] = {}
    """JMESPath expression for each column within a row, e.g. {time: observed.at, location: station.id}. Default: the
    column name."""
    time: TimeStamps = TimeStamps()
    """How time stamps are written."""
    milliseconds: bool = False
    """With `time.format: "%s"`: time stamps are in milliseconds instead of seconds."""
    location: str | None = "location"
    """Column with the location id. Not needed if the request contains {location}; null if the feed has one station."""
    known_at: str | None = None
    """Column with the time at which a row became known, in the format of the time stamps. Default: for covariates, the
    time of the request."""
    variable: str = "variable"
    """Column with the variable name, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide response that are not locations."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that stand for a missing value. A number such as -9999 also matches in numeric columns."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of numbers that are text."""
    media_types: tuple[str, ...] = ()
    """Further media types under which the service sends JSON, e.g. text/plain."""

    @field_validator("url")
    @classmethod
    def _check_address(cls, url: str, info: ValidationInfo) -> str:
        if any(place.startswith("secret") for place in PLACEHOLDER.findall(url)):
            raise InvalidValueError("contains a secret, which would appear in logs", "put it into query")
        return _check_placeholders(check_url(url, insecure=info.data.get("insecure", False)))

    @field_validator("query", "headers")
    @classmethod
    def _check_texts(cls, texts: dict[str, str]) -> dict[str, str]:
        return {name: _check_placeholders(text) for name, text in texts.items()}

    @field_validator("window")
    @classmethod
    def _check_window(cls, window: timedelta) -> timedelta:
        if not window:
            raise InvalidValueError("must be longer than 0s", "write e.g. 30d")
        return window

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        if self.by_location and self.layout == "wide":
            raise InvalidValueError(
                "wide has all locations in one response, but a placeholder requests each", field="layout"
            )
        if self.milliseconds and self.time.format != "%s":
            raise InvalidValueError("needs time: {format: '%s'}", field="milliseconds")
        return self

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of the placeholders, without their formats."""
        texts = (self.url, *self.query.values(), *self.headers.values())
        return frozenset(place.partition(":")[0] for text in texts for place in PLACEHOLDER.findall(text))

    @property
    def supports_time_range(self) -> bool:
        """Whether requests contain a time range."""
        return bool(self.placeholders & set(_WINDOW))

    @property
    def by_location(self) -> bool:
        """Whether there is one request per location."""
        return bool(self.placeholders & set(_LOCATION))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets in query and headers."""
        texts = (*self.query.values(), *self.headers.values())
        found = (place.partition(":") for text in texts for place in PLACEHOLDER.findall(text))
        return tuple(dict.fromkeys(name for kind, _, name in found if kind == "secret"))

    @property
    def time_label(self) -> TimeLabel:
        """Whether the time stamps of the service mark the start or the end of a period."""
        return self.time.label


def _check_placeholders(text: str) -> str:
    for place in PLACEHOLDER.findall(text):
        name, _, form = place.partition(":")
        known = name in _WINDOW or (name in _LOCATION and not form) or (name == "secret" and form.isidentifier())
        if not known:
            known_names = "{since}, {until}, {location}, {latitude}, {longitude} or {secret:NAME}"
            raise InvalidValueError(f"'{{{place[:40]}}}' is not a placeholder", f"use {known_names}")
    rest = PLACEHOLDER.sub("", text)
    if "{" in rest or "}" in rest:
        raise InvalidValueError(f"{text[:80]!r} contains an unmatched brace")
    return text
