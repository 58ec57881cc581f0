"""The `open-meteo` source in a product file."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipeline.config.base import Duration
from pipeline.config.sources.http import HttpSpec, check_url

Endpoint = Literal["forecast", "historical", "historical-forecast", "previous-runs"]
_HOSTS: dict[Endpoint, tuple[str, str]] = {
    "forecast": ("api", "forecast"),
    "historical": ("archive-api", "archive"),
    "historical-forecast": ("historical-forecast-api", "forecast"),
    "previous-runs": ("previous-runs-api", "forecast"),
}
_DAY = timedelta(days=1)


class OpenMeteoSource(HttpSpec):
    """Weather models by Open-Meteo, at the points of the feed: hourly, or every 15 minutes where the feed steps so."""

    kind: Literal["open-meteo"]
    endpoint: Endpoint
    """forecast: the newest run. historical: reanalysis since 1940. historical-forecast: the first hours of past runs.
    previous-runs: what was forecast some days before, for covariates only."""
    url: str = ""
    """Address of the endpoint where it is not the public one: your own server's, or a customer's."""
    apikey: str = ""
    """Name of the secret that holds a customer's key; with it, the customers' servers are asked."""
    model: str = ""
    """Weather model, e.g. ecmwf_ifs025. Default: the best one for each point."""
    cell: Literal["land", "sea", "nearest"] = "land"
    """Which cell of the model stands for a point."""
    previous_days: Annotated[tuple[Annotated[int, Field(ge=1, le=7)], ...], Field(min_length=1, max_length=7)] = (1, 2)
    """For previous-runs: how many days before their valid time the forecasts were made."""
    horizon: Duration = timedelta(days=7)
    """For forecast, as a covariate: how far ahead is asked; at most 15d."""
    published: Duration | None = None
    """From the start of a run, or for historical from the time described, until its values can be had. It sets known_at
    of covariates. Default: 6h; historical: 5d."""
    points: Annotated[int, Field(ge=1, le=500)] = 100
    """Points asked at once."""
    chunk: Duration = timedelta(days=30)
    """Time asked at once, in whole days."""

    @field_validator("chunk")
    @classmethod
    def _whole(cls, chunk: timedelta) -> timedelta:
        if chunk < _DAY or chunk % _DAY:
            raise ValueError("not whole days; write e.g. 30d")
        return chunk

    @field_validator("horizon")
    @classmethod
    def _ahead(cls, horizon: timedelta) -> timedelta:
        if horizon > 15 * _DAY:
            raise ValueError("further than Open-Meteo forecasts; at most 15d")
        return horizon

    @field_validator("url")
    @classmethod
    def _addressed(cls, url: str, info: ValidationInfo) -> str:
        if url and "?" in check_url(url, insecure=info.data.get("insecure", False)):
            raise ValueError(f"{url[:80]!r} has a query of its own; end it before the '?'")
        return url

    @property
    def address(self) -> str:
        """Where the endpoint is asked."""
        host, path = _HOSTS[self.endpoint]
        customer = "customer-" if self.apikey else ""
        return self.url or f"https://{customer}{host}.open-meteo.com/v1/{path}"

    @property
    def until_published(self) -> timedelta:
        """From the start of a run, or the time described, until its values can be had."""
        if self.published is not None:
            return self.published
        return timedelta(days=5) if self.endpoint == "historical" else timedelta(hours=6)
