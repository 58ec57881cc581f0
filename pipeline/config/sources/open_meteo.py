"""The `open-meteo` source in a product file: which endpoint and model, and how requests are split."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.config.base import Duration
from pipeline.config.sources.http import HttpSpec, check_url
from pipeline.errors import InvalidValueError

Endpoint = Literal["forecast", "historical", "historical-forecast", "previous-runs"]
_HOSTS: dict[Endpoint, tuple[str, str]] = {
    "forecast": ("api", "forecast"),
    "historical": ("archive-api", "archive"),
    "historical-forecast": ("historical-forecast-api", "forecast"),
    "previous-runs": ("previous-runs-api", "forecast"),
}
_DAY = timedelta(days=1)


class OpenMeteoSource(HttpSpec):
    """Weather models from Open-Meteo at the locations of the feed, hourly or every 15 minutes, according to
    the feed's step."""

    kind: Literal["open-meteo"]
    endpoint: Endpoint
    """forecast: the latest model run. historical: reanalysis since 1940. historical-forecast: the first hours of past
    runs. previous-runs: forecasts made some days earlier, for covariates only."""
    url: str = ""
    """URL of the endpoint if it is not the public one, e.g. your own server. Default: the public endpoint."""
    apikey: str = ""
    """Name of the secret that holds your API key. With a key, the customer servers are used."""
    model: str = ""
    """Weather model, e.g. ecmwf_ifs025. Default: the best model for each location."""
    cell: Literal["land", "sea", "nearest"] = "land"
    """Which model grid cell represents a location."""
    previous_days: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1, max_length=7)] = (1, 2)
    """For previous-runs: how many days before their valid time the forecasts were made."""
    horizon: Duration = timedelta(days=7)
    """For forecast as a covariate: how far ahead to request, at most 15d."""
    published: Duration | None = None
    """Publication delay: time from the start of a run (for historical, from the valid time) until its values are
    available. Sets known_at of covariates. Default: 6h; historical: 5d."""
    points: Annotated[int, Field(ge=1, le=500)] = 100
    """Locations per request."""
    chunk: Duration = timedelta(days=30)
    """Time range per request, in whole days."""

    @field_validator("chunk")
    @classmethod
    def _check_chunk(cls, chunk: timedelta) -> timedelta:
        if chunk < _DAY or chunk % _DAY:
            raise InvalidValueError("not a whole number of days", "write e.g. 30d")
        return chunk

    @field_validator("horizon")
    @classmethod
    def _check_horizon(cls, horizon: timedelta) -> timedelta:
        if horizon > 15 * _DAY:
            raise InvalidValueError("longer than Open-Meteo forecasts", "write at most 15d")
        return horizon

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        if url and "?" in check_url(url, insecure=info.data.get("insecure", False)):
            raise InvalidValueError(f"{url[:80]!r} contains a query", "leave out everything from the '?' on")
        return url

    @property
    def address(self) -> str:
        """URL of the endpoint."""
        host, path = _HOSTS[self.endpoint]
        customer = "customer-" if self.apikey else ""
        return self.url or f"https://{customer}{host}.open-meteo.com/v1/{path}"

    @property
    def until_published(self) -> timedelta:
        """Publication delay: time from the start of a run, or from the valid time, until its values are available."""
        if self.published is not None:
            return self.published
        return timedelta(days=5) if self.endpoint == "historical" else timedelta(hours=6)
