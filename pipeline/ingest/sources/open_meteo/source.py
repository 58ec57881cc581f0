"""The `open-meteo` source: weather models at the locations of a feed, many locations and some weeks per request.

known_at of covariates (observations do not carry it) is:

- `forecast`: the time of the fetch, which is kept in the context of the payload.
- `previous-runs`: valid_time - N days + `published`. Open-Meteo returns for each hour the newest run of N days before,
  which started at the latest N days before the hour and was available `published` after its start.
- `historical` and `historical-forecast`: valid_time + `published`, or + the feed's delay if that is longer.

Values with a known_at after the fetch, and observations after it, are left out; the next fetch returns them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote

import orjson
from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.config.sources.open_meteo import OpenMeteoSource
from pipeline.errors import ConfigError, SourceError
from pipeline.ingest.sources.base import About, Decoded, Payload, secret
from pipeline.ingest.sources.http import MASK, MEDIA_TYPE, Client, Clock, Request
from pipeline.ingest.sources.open_meteo.names import UNITS, columns_of
from pipeline.ingest.sources.open_meteo.responses import decode_response
from pipeline.locations import Locations

_DAY = timedelta(days=1)
_BLOCKS = {timedelta(hours=1): "hourly", timedelta(minutes=15): "minutely_15"}
_FIRST = {
    "forecast": date(2016, 1, 1),
    "historical": date(1940, 1, 1),
    "historical-forecast": date(2016, 1, 1),
    "previous-runs": date(2021, 4, 1),
}
_ARCHIVE = {
    "forecast": 92 * _DAY,
    "historical": 365 * 86 * _DAY,
    "historical-forecast": 365 * 5 * _DAY,
    "previous-runs": 1000 * _DAY,  # since January 2024, and temperature of one model since April 2021
}
_QUOTA = re.compile(r"(Hourly|Daily|Monthly) API request limit")
_SHOWN = 3


class OpenMeteo:
    """Read Open-Meteo for one feed.

    Raises:
        ConfigError: the endpoint does not have the time step or a variable, or is for covariates only.
    """

    def __init__(
        self,
        feed: Feed,
        spec: OpenMeteoSource,
        locations: Locations,
        secrets: Mapping[str, SecretStr],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._feed, self._spec, self._locations, self._clock = feed, spec, locations, clock
        self._columns = columns_of(feed)
        self._key = SecretStr(secret(secrets, spec.apikey, feed)) if spec.apikey else None
        if not isinstance(feed.step, timedelta) or feed.step not in _BLOCKS:
            raise ConfigError(
                feed.title, "feed.step", "Open-Meteo has time steps of 1h and 15min only", "use one of them"
            )
        if spec.endpoint == "previous-runs" and not feed.is_covariate:
            problem = "previous-runs has forecasts, not observations"
            raise ConfigError(feed.title, "feed.source.endpoint", problem, "use it in covariates")
        self._block = _BLOCKS[feed.step]

    @property
    def about(self) -> About:
        """Properties of the endpoint."""
        return About(
            supports_time_range=True,
            delay=self._spec.until_published,
            archive=_ARCHIVE[self._spec.endpoint],
            units={column.variable: UNITS[column.units] for column in self._columns if column.units},
            secrets=(self._spec.apikey,) if self._spec.apikey else (),
        )

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the responses for a time range, divided into whole days and groups of locations, the oldest first.

        Days that the endpoint does not keep are not requested.

        Raises:
            SourceError: the endpoint keeps nothing of the time range.
        """
        first, last = self._days(since, until, at)
        key = [self._key] if self._key else []
        with Client(self._spec, self._spec.address, key, clock=self._clock, permanent=_QUOTA) as client:
            while first <= last:
                end = min(first + self._spec.chunk - _DAY, last)
                for start in range(0, len(self._locations), self._spec.points):
                    if client.given_up:
                        yield SourceError(
                            f"{self._spec.address}: too many requests failed; {first} and later was not requested"
                        )
                        return
                    ids = range(start, min(start + self._spec.points, len(self._locations)))
                    yield self._fetch(client, ids, first, end, at)
                first = end + _DAY

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a response, without hours that have no value; missing locations are noted.

        Raises:
            SourceError: the payload is not an Open-Meteo response, or is for other locations.
            NoDataError: the payload is empty.
            ContractError: a variable is missing, or its unit cannot be converted.
        """
        return decode_response(payload, self._feed, self._spec, self._locations, self._columns, self._block)

    def _fetch(self, client: Client, points: range, first: date, last: date, at: datetime) -> Payload | SourceError:
        request = self._request(points, first, last)
        try:
            response = client.get(request)
        except SourceError as error:
            return error
        context = {
            "at": at.astimezone(UTC).isoformat(),
            "locations": orjson.dumps(self._locations.ids[points.start : points.stop]).decode(),
            MEDIA_TYPE: response.media_type,
        }
        return Payload.of(request.shown, response.content, context)

    def _request(self, points: range, first: date, last: date) -> Request:
        names = [name for column in self._columns for name in column.requested]
        if self._spec.endpoint == "previous-runs":
            names = [f"{name}_previous_day{days}" for name in names for days in self._spec.previous_days]
        latitude = [f"{self._locations.latitude[n]:.5f}" for n in points]
        longitude = [f"{(self._locations.longitude[n] + 180) % 360 - 180:.5f}" for n in points]
        query = {
            self._block: ",".join(dict.fromkeys(names)),
            "start_date": first.isoformat(),
            "end_date": last.isoformat(),
            "timeformat": "unixtime",
            "timezone": "GMT",
            "wind_speed_unit": "ms",
            "cell_selection": self._spec.cell,
            **({"models": self._spec.model} if self._spec.model else {}),
        }
        url = SecretStr(
            self._url({"latitude": ",".join(latitude), "longitude": ",".join(longitude)} | query, self._key)
        )
        shown = self._url({"latitude": _some(latitude), "longitude": _some(longitude)} | query, self._key and MASK)
        return Request(shown, url)

    def _url(self, query: Mapping[str, str], key: SecretStr | str | None) -> str:
        value = key.get_secret_value() if isinstance(key, SecretStr) else key
        pairs = {**query, **({"apikey": value} if value else {})}
        return f"{self._spec.address}?" + "&".join(f"{name}={quote(text, safe=',:.*')}" for name, text in pairs.items())

    def _days(self, since: datetime | None, until: datetime | None, at: datetime) -> tuple[date, date]:
        """Return the first and the last day to request."""
        spec, keeps = self._spec, _ARCHIVE[self._spec.endpoint]
        first = max(_FIRST[spec.endpoint], (at - keeps if since is None else since.astimezone(UTC)).date())
        newest = at
        if spec.endpoint == "forecast":
            first = max(first, (at - keeps).date())
            newest = at + spec.horizon if self._feed.is_covariate else at
        elif spec.endpoint == "historical":
            newest = at - _DAY  # the endpoint refuses today
        elif spec.endpoint == "previous-runs":
            newest = at + max(spec.previous_days) * _DAY
        last = min(newest, until or newest).astimezone(UTC).date()
        if first > last:
            span = f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}" if since and until else f"at {at:%Y-%m-%d %H:%M}"
            raise SourceError(f"{spec.address}: has no data for {span}")
        return first, last


def _some(texts: list[str]) -> str:
    """Return a list as text, shortened to its first entries if it is long."""
    return ",".join(texts if len(texts) <= _SHOWN else [*texts[:_SHOWN], f"and {len(texts) - _SHOWN} more"])
