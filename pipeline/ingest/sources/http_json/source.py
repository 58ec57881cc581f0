"""The `http-json` source: any service that answers in JSON, asked by window, by location and by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import SecretStr

from pipeline.config import Feed
from pipeline.config.sources.http_json import HttpJsonSource
from pipeline.errors import NightcastError, SourceError
from pipeline.ingest.sources.base import About, Decoded, Payload, secret
from pipeline.ingest.sources.http import MEDIA_TYPE, Client, Clock, Request, read_document
from pipeline.ingest.sources.http_json.answers import Columns, decode_document, find_rows
from pipeline.ingest.sources.http_json.requests import Ask, Requests
from pipeline.locations import Locations


class HttpJson:
    """Reads a service that answers in JSON for one feed.

    Raises:
        ConfigError: a secret is not set, or the columns do not fit the feed.
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
        """What the product declares of the service."""
        units = {name: spec.source_units or self._feed.variable(name)[0] for name, spec in self._feed.variables.items()}
        return About(windowed=self._spec.windowed, archive=self._spec.archive, units=units, secrets=self._spec.secrets)

    def fetch(self, since: datetime | None, until: datetime | None, *, at: datetime) -> Iterator[Payload | SourceError]:
        """Yield the pages of each window and location, the oldest window first.

        A page that cannot be had or read is the last of its window and location.
        """
        with Client(self._spec, self._spec.url, self._secrets.values(), clock=self._clock) as client:
            for ask in self._asks(since, until, at):
                if client.given_up:
                    yield SourceError(
                        f"{self._spec.url}: not asked for {ask.since:%Y-%m-%d %H:%M} and later, "
                        "too many requests failed"
                    )
                    return
                yield from self._pages(client, ask, at)

    def decode(self, payload: Payload) -> Decoded:
        """Return the rows of a page.

        Raises:
            SourceError: it is no JSON, or not what the provider said it is.
            NoDataError: it is empty.
            ContractError: there is no list of rows, or no row has a column of the product.
        """
        document = read_document(payload, media_types=self._spec.media_types)
        return decode_document(document, payload, self._feed, self._spec, self._locations, self._columns)

    def _asks(self, since: datetime | None, until: datetime | None, at: datetime) -> Iterator[Ask]:
        """Yield what is asked for: the windows, the oldest first, and in each the locations."""
        spec = self._spec
        last = until or at + spec.ahead
        first = since or at - (self._feed.history or spec.archive or spec.window)
        if spec.archive is not None:
            first = max(first, at - spec.archive)
        if spec.time.label == "start":  # the service counts by the start of a period, and a window by its end
            first -= self._feed.step
        whole = not {"since", "until"} <= spec.placeholders
        width = last - first if whole else spec.window
        places = range(len(self._locations)) if spec.by_location else (None,)
        while first <= last:
            end = min(first + width, last)
            for place in places:
                yield Ask(first.astimezone(UTC), end.astimezone(UTC), place)
            if end == last:
                return
            first = end

    def _pages(self, client: Client, ask: Ask, at: datetime) -> Iterator[Payload | SourceError]:
        try:
            request: Request | None = self._requests.first(ask)
            asked: set[str] = set()
            while request is not None:
                if request.url.get_secret_value() in asked or len(asked) >= self._spec.max_pages:
                    raise SourceError(f"{request.shown}: the pages go in circles, or are more than {len(asked)}")
                asked.add(request.url.get_secret_value())
                answer = client.get(request)
                payload = Payload.of(request.shown, answer.content, self._context(ask, at, answer.media_type))
                if self._spec.paging is None:
                    yield payload
                    return
                try:
                    document = read_document(payload, media_types=self._spec.media_types)
                    rows = len(find_rows(document, self._spec))
                except NightcastError as error:  # decoding the page will say so too
                    yield payload
                    raise SourceError(f"{request.shown}: the page after it is not asked for, {error}") from error
                if rows or len(asked) == 1:  # a further page without rows only says that the last was the last
                    yield payload
                request = self._requests.next(ask, request, document, len(asked) - 1, rows)
        except SourceError as error:
            yield error

    def _context(self, ask: Ask, at: datetime, media_type: str) -> dict[str, str]:
        context = {MEDIA_TYPE: media_type}
        if ask.location is not None:
            context["location"] = self._locations.ids[ask.location]
        if self._feed.is_covariate and self._spec.known_at is None:
            context["at"] = at.astimezone(UTC).isoformat()
        return context
