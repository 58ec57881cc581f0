"""The `http-json` source in a product file: what is asked, and where rows and cells are in the answer."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from pipeline.config.base import Duration, Strict
from pipeline.config.sources.base import TimeLabel
from pipeline.config.sources.http import HttpSpec, check_url
from pipeline.config.sources.timestamps import TimeStamps
from pipeline.names import check_zone

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
"""A place to fill: {since}, {until}, {location}, {latitude}, {longitude} or {secret:NAME}."""
_WINDOW, _PLACE = ("since", "until"), ("location", "latitude", "longitude")


def _expression(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        said = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{text[:80]!r} is no JMESPath expression, {said}; write e.g. data.rows or station.id"
        ) from None
    return text


Expression = Annotated[str, AfterValidator(_expression)]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]$-]{1,80}$")]


class NextLink(Strict):
    """The answer holds the address of the next page."""

    kind: Literal["next"]
    link: Expression
    """Where it is; null or nothing on the last page. Only the host of `url` is asked."""


class Cursor(Strict):
    """The answer holds a word that asks for the next page."""

    kind: Literal["cursor"]
    cursor: Expression
    """Where it is; null, nothing or empty on the last page."""
    parameter: Parameter = "cursor"
    """Query parameter that takes it."""


class PageNumber(Strict):
    """Pages are asked by number until one has no rows."""

    kind: Literal["page"]
    parameter: Parameter = "page"
    """Query parameter that takes the number."""
    first: Annotated[int, Field(ge=0)] = 1
    """Number of the first page."""


class Offset(Strict):
    """Pages are asked by the number of rows before them, until one has fewer rows than asked for."""

    kind: Literal["offset"]
    limit: Annotated[int, Field(ge=1, le=1_000_000)]
    """Rows asked at once."""
    parameter: Parameter = "offset"
    """Query parameter that takes the number of rows before the page."""
    limit_parameter: Parameter = "limit"
    """Query parameter that takes the number of rows asked for."""


class HttpJsonSource(HttpSpec):
    """Any service that answers in JSON.

    `url`, `query` and `headers` may hold places to fill: {since} and {until}, the window, in UTC as in
    2020-01-01T00:00:00Z; {since:%Y-%m-%d} by codes of strftime; {since:s} and {since:ms}, numbers since 1970;
    {location}, {latitude} and {longitude} of each location in turn; and, in query and headers only, {secret:NAME}.
    """

    kind: Literal["http-json"]
    url: str
    """Address that is asked."""
    query: dict[str, str] = {}
    """Query parameters."""
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")], str] = {}
    """Headers, e.g. {Authorization: "Bearer {secret:token}"}."""
    window: Duration = timedelta(days=30)
    """Longest time asked at once. Where neither history nor archive is said, also what the first ingest asks for."""
    window_zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """IANA zone in which {since} and {until} are written by codes of strftime."""
    archive: Duration | None = None
    """How far back the service can be asked."""
    ahead: Duration = timedelta(0)
    """How far beyond the fetch is asked, for feeds that are known in advance."""
    paging: Annotated[NextLink | Cursor | PageNumber | Offset, Field(discriminator="kind")] | None = None
    """How more than one page is asked for."""
    max_pages: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """Pages after which paging is taken to go in circles."""
    rows: Expression = "@"
    """Where the list of rows is."""
    layout: Literal["wide", "long", "tidy"] = "long"
    """long: a row per time and location, a column per variable. wide: a column per location, one variable. tidy: a row
    per time, location and variable."""
    columns: dict[str, Expression] = {}
    """Where a column is in a row, by its name, e.g. {time: observed.at, location: station.id}. Default: its name."""
    time: TimeStamps = TimeStamps()
    milliseconds: bool = False
    """Numbers of `time.format: "%s"` are milliseconds."""
    location: str | None = "location"
    """Column with the location id. Not needed where {location} is asked for; null where the feed has one station."""
    known_at: str | None = None
    """Column that says when a row became known, written as the time stamps are. Default: for a covariate, the instant
    of the fetch."""
    variable: str = "variable"
    """Column that names the variable, in a tidy layout."""
    value: str = "value"
    """Column with the value, in a tidy layout."""
    ignore: tuple[str, ...] = ()
    """Columns of a wide payload that are no locations."""
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null")
    """Texts that mean no value; a number, such as -9999, also where the column holds numbers."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of numbers that are text."""
    media_types: tuple[str, ...] = ()
    """Names under which the service sends JSON besides application/json, e.g. text/plain."""

    @field_validator("url")
    @classmethod
    def _addressed(cls, url: str, info: ValidationInfo) -> str:
        if any(place.startswith("secret") for place in PLACEHOLDER.findall(url)):
            raise ValueError("it has a secret, which would be told wherever the address is; put it into query")
        return _check_places(check_url(url, insecure=info.data.get("insecure", False)))

    @field_validator("query", "headers")
    @classmethod
    def _placed(cls, texts: dict[str, str]) -> dict[str, str]:
        return {name: _check_places(text) for name, text in texts.items()}

    @field_validator("window")
    @classmethod
    def _wide_enough(cls, window: timedelta) -> timedelta:
        if not window:
            raise ValueError("no time at all; write e.g. 30d")
        return window

    @model_validator(mode="after")
    def _fits(self) -> HttpJsonSource:
        if self.by_location and self.layout == "wide":
            raise ValueError("layout: wide has all locations in one answer, and a place to fill asks for each")
        if self.milliseconds and self.time.format != "%s":
            raise ValueError("milliseconds: needs time: {format: '%s'}")
        return self

    @property
    def places(self) -> frozenset[str]:
        """Names of the places to fill, without their formats."""
        texts = (self.url, *self.query.values(), *self.headers.values())
        return frozenset(place.partition(":")[0] for text in texts for place in PLACEHOLDER.findall(text))

    @property
    def windowed(self) -> bool:
        """Whether the service is asked by time."""
        return bool(self.places & set(_WINDOW))

    @property
    def by_location(self) -> bool:
        """Whether the service is asked for each location in turn."""
        return bool(self.places & set(_PLACE))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secrets that query and headers take."""
        texts = (*self.query.values(), *self.headers.values())
        found = (place.partition(":") for text in texts for place in PLACEHOLDER.findall(text))
        return tuple(dict.fromkeys(name for kind, _, name in found if kind == "secret"))

    @property
    def time_label(self) -> TimeLabel:
        """Which end of its period a stamp of the service marks."""
        return self.time.label


def _check_places(text: str) -> str:
    for place in PLACEHOLDER.findall(text):
        name, _, form = place.partition(":")
        known = name in _WINDOW or (name in _PLACE and not form) or (name == "secret" and form.isidentifier())
        if not known:
            say = "{since}, {until}, {location}, {latitude}, {longitude} or {secret:NAME}"
            raise ValueError(f"'{{{place[:40]}}}' is no place to fill; use {say}")
    rest = PLACEHOLDER.sub("", text)
    if "{" in rest or "}" in rest:
        raise ValueError(f"{text[:80]!r} has a brace that opens or closes nothing")
    return text
