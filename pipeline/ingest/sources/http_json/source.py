"""The `http-json` source: any web service that returns JSON, requested by time range, location and page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.config.sources.http_json import HttpJsonSource
from pipeline.errors import NightcastError, SourceError
from pipeline.ingest.sources.base import About, Decoded, Payload, secret
from pipeline.ingest.sources.http import MEDIA_TYPE, Client, Clock, Request, read_document
from pipeline.ingest.sources.http_json.requests import Ask, Requests
from pipeline.ingest.sources.http_json.responses import Columns, decode_document, find_rows
from pipeline.locations import Locations
from pipeline.steps import longest


class HttpJson:
    """Read a web service that returns JSON for one feed.

    Raises:
        ConfigError: a secret is not set, or the columns do not match the feed.
    """

    def __init__(
        self,
        feed: Feed,
        spec: HttpJsonSource,
        locations: Locations,
        secrets: Mapping[str, SecretStr],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._feed, self._spec, self._locations, self._clock = feed, spec, locations, clock
        self._secrets = {name: SecretStr(secret(secrets, name, feed)) for name in spec.secrets}
        self._columns = Columns.of(feed, spec)
        self._requests = Requests(spec, locations, self._secrets)

    @property
    def about(self) -> About:
        """Properties of the service as declared in the product file."""
        units = {
            name: spec.source_units or self._feed.variable(name).units for name, spec in self._feed.variables.items()
        }
        return About(
            supports_time_range=self._spec.supports_time_range,
            archive=self._spec.archive,
            units=units,
            secrets=self._spec.secrets,
        )

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the pages for each time range and location, the oldest range first.

        After a page that cannot be fetched or read, the rest of its range and location is skipped.
        """
        with Client(self._spec, self._spec.url, self._secrets.values(), clock=self._clock) as client:
            for ask in self._asks(since, until, at):
                if client.given_up:
                    yield SourceError(
                        f"{self._spec.url}: too many requests failed; "
                        f"{ask.since:%Y-%m-%d %H:%M} and later was not requested"
                    )
                    return
                yield from self._pages(client, ask, at)

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a page.

        Raises:
            SourceError: the page is not valid JSON, or has another media type.
            NoDataError: the page is empty.
            ContractError: there is no list of rows, or no row has a column of the product.
        """
        document = read_document(payload, media_types=self._spec.media_types)
        return decode_document(document, payload, self._feed, self._spec, self._locations, self._columns)

    def _asks(self, since: datetime | None, until: datetime | None, at: datetime) -> Iterator[Ask]:
        """Yield the time ranges to request, the oldest first, and the locations within each."""
        spec = self._spec
        last = until or at + spec.ahead
        first = since or at - (self._feed.history or spec.archive or spec.window)
        if spec.archive is not None:
            first = max(first, at - spec.archive)
        if spec.time.label == "start" or not isinstance(self._feed.step, timedelta):
            first -= longest(self._feed.step)  # the service counts by the start of a period, or a time within it
        whole = not {"since", "until"} <= spec.placeholders
        width = last - first if whole else spec.window
        positions = range(len(self._locations)) if spec.by_location else (None,)
        while first <= last:
            end = min(first + width, last)
            for position in positions:
                yield Ask(first.astimezone(UTC), end.astimezone(UTC), position)
            if end == last:
                return
            first = end

    def _pages(self, client: Client, ask: Ask, at: datetime) -> Iterator[Payload | SourceError]:
        try:
            request: Request | None = self._requests.first(ask)
            requested: set[str] = set()
            while request is not None:
                if request.url.get_secret_value() in requested or len(requested) >= self._spec.max_pages:
                    raise SourceError(f"{request.shown}: the pages repeat, or are more than {len(requested)}")
                requested.add(request.url.get_secret_value())
                response = client.get(request)
                payload = Payload.of(request.shown, response.content, self._context(ask, at, response.media_type))
                if self._spec.paging is None:
                    yield payload
                    return
                try:
                    document = read_document(payload, media_types=self._spec.media_types)
                    rows = len(find_rows(document, self._spec))
                except NightcastError as error:  # decoding the page reports it too
                    yield payload
                    raise SourceError(f"{request.shown}: the next page was not requested, {error}") from error
                if rows or len(requested) == 1:  # an empty further page only marks the end
                    yield payload
                request = self._requests.next(ask, request, document, len(requested) - 1, rows)
        except SourceError as error:
            yield error

    def _context(self, ask: Ask, at: datetime, media_type: str) -> dict[str, str]:
        context = {MEDIA_TYPE: media_type}
        if ask.location is not None:
            context["location"] = self._locations.ids[ask.location]
        if self._feed.is_covariate and self._spec.known_at is None:
            context["at"] = at.astimezone(UTC).isoformat()
        return context
