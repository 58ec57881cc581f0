"""A feed with its locations, its source and its stores, each opened at first use."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from functools import cached_property

from pydantic_core import to_json

from pipeline.config import Feed, Settings
from pipeline.config.renamed import with_old_names
from pipeline.ingest.quarantine import Quarantine
from pipeline.ingest.sources.base import Source
from pipeline.ingest.sources.registry import open_source
from pipeline.locations import Locations, read_locations
from pipeline.store.last_payloads import LastPayloads
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import Observations
from pipeline.store.progress import Progress
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts


class OpenFeed:
    """One feed of a product. A part is opened at first use and then kept.

    A test may put a fake in the place of any part before it is used: ``feed.source = FakeSource()``.
    """

    def __init__(self, spec: Feed, settings: Settings) -> None:
        self.spec = spec
        self.layout = FeedLayout.of(spec, settings)
        self._secrets = settings.secrets

    @property
    def title(self) -> str:
        """The name of the product, followed by that of the covariate if it is one."""
        return self.spec.title

    @cached_property
    def locations(self) -> Locations:
        """Stations or grid cells, in the order of all arrays."""
        return read_locations(self.spec)

    @cached_property
    def source(self) -> Source:
        """The provider of the observations."""
        return open_source(self.spec, self.locations, self._secrets)

    @cached_property
    def observations(self) -> Observations:
        """Accepted rows, bitemporal."""
        spec = self.spec
        units = tuple(spec.variable(name).units for name in spec.variables)
        variables = tuple(spec.variables)
        return Observations(self.layout.observations, variables, delay=spec.delay, mode=spec.mode, units=units)

    def with_row_checks_only(self) -> OpenFeed:
        """Return the same feed with checks that refuse single rows but never a whole payload."""
        feed = copy(self)
        feed.spec = self.spec.model_copy(update={"quality": self.spec.quality.by_row()})
        return feed

    @cached_property
    def raw(self) -> RawStore:
        """Payloads as received."""
        return RawStore(self.layout.raw)

    @cached_property
    def quarantine(self) -> Quarantine:
        """Refused rows, and the decisions to release or drop them."""
        return Quarantine(self.layout.quarantine, self.layout.quarantine_decisions)

    @cached_property
    def last_payloads(self) -> LastPayloads:
        """The digest of the last payload ingested under each name."""
        return LastPayloads(self.layout.receipts)

    @cached_property
    def receipts(self) -> Receipts:
        """Receipts of the payloads ingested with the current description of the feed."""
        return self.receipts_for(None, None)

    def receipts_for(self, since: datetime | None, until: datetime | None) -> Receipts:
        """Return the receipts of payloads ingested for a window of valid times.

        A receipt holds for the feed as it was described then: a payload that was refused because of a mistake in the
        product file is read again once the mistake is corrected.
        """
        window = f" {since} {until}" if since or until else ""
        return Receipts(self.layout.receipts, self._description("quality") + window)

    @cached_property
    def progress(self) -> Progress:
        """How far the source has been read with the current description of the feed."""
        return Progress(self.layout.receipts, self._description("history"))

    def _description(self, *further: str) -> str:
        """Return the fields of the product file that decide what payloads mean, without those at their default."""
        fields = {"source", "step", "locations", "variables", *further}
        only_models = {"locations": {"static"}}
        where = "" if self.locations.shape else ",".join(self.locations.ids)
        described = self.spec.model_dump(mode="json", include=fields, exclude=only_models, exclude_defaults=True)
        return f"{to_json(with_old_names(described)).decode()} {where}"
