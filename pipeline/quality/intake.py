"""Taking in one payload: decoded, judged by its contract, stored or quarantined, and receipted last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import atomic
from pipeline.config import Product, Settings
from pipeline.errors import ContractError, NoDataError, SourceError
from pipeline.locations import read_locations
from pipeline.quality.quarantine import Quarantine
from pipeline.quality.reasons import count_reasons
from pipeline.quality.report import quality_page
from pipeline.quality.run import check_rows
from pipeline.sources.base import Payload, refused_table
from pipeline.sources.registry import open_source
from pipeline.store.layout import Layout
from pipeline.store.observations import TIME, Appended, Observations
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts


@dataclass(frozen=True)
class Taken:
    """What became of the rows of one payload."""

    appended: Appended
    refused: int
    reasons: dict[str, int]
    fault: Exception | None = field(default=None)
    """Why nothing of the payload could be used."""


def fetch_payloads(
    product: Product, settings: Settings, *, since: datetime | None = None, until: datetime | None = None
) -> list[Payload]:
    """Fetch what was not taken in before, and keep it as it came.

    With a window, payloads taken in before are looked at again: they may hold rows of the window.

    Raises:
        SourceError: the source cannot be reached or has no payload at all.
    """
    layout = Layout.of(product, settings)
    source = open_source(product, read_locations(product))
    windowed = since is not None or until is not None
    raw = RawStore(layout.raw)
    payloads = []
    for payload in source.fetch(frozenset() if windowed else _receipts(product, layout), since, until):
        raw.put(payload)
        payloads.append(payload)
    return payloads


def take_in(
    payload: Payload,
    product: Product,
    settings: Settings,
    *,
    at: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Taken:
    """Store the good rows of a payload as learnt at `at` and quarantine the others.

    A payload that cannot be used at all is quarantined as one row that says why; it is kept in the raw store.
    Doing this twice changes nothing.

    Raises:
        StoreError: a store cannot be written.
    """
    layout = Layout.of(product, settings)
    locations = read_locations(product)
    windowed = since is not None or until is not None
    report: dict[str, object] = {}
    fault: Exception | None = None
    try:
        decoded = open_source(product, locations).decode(payload)
        refused = _within(decoded.refused, since, until)
        rows = _within(decoded.rows, since, until)
        accepted = rows
        if not (decoded.rows.num_rows or decoded.refused.num_rows):
            raise NoDataError(f"{payload.name}: no rows")
        if rows.num_rows:
            checked = check_rows(rows, product, locations, now=at)
            accepted, report = checked.accepted, checked.report
            refused = pa.concat_tables([refused, checked.refused])
    except (SourceError, NoDataError, ContractError) as error:
        fault = error
        accepted = None
        refused = refused_table([(None, None, "{}", f"the whole payload: {error}")])
    Quarantine.of(product, settings).add(refused, at=at, payload=payload.digest)
    appended = Appended(0, 0, 0)
    if accepted is not None and accepted.num_rows:
        appended = Observations.of(product, settings).append(accepted, at=at, payload=payload.digest, history=windowed)
    taken = Taken(appended, refused.num_rows, count_reasons(refused), fault)
    if report:
        atomic.write_file(layout.quality_page, quality_page(report).encode())
    if not windowed:
        receipt = {
            "payload": payload.digest,
            "name": payload.name,
            "at": at.isoformat(),
            "accepted": appended.accepted,
            "revised": appended.revised,
            "unchanged": appended.unchanged,
            "refused": taken.refused,
            "reasons": taken.reasons,
            "checks": report,
        }
        _receipts(product, layout).write(payload.digest, receipt)
    return taken


def _receipts(product: Product, layout: Layout) -> Receipts:
    stations = ",".join(read_locations(product).ids)
    return Receipts(layout.receipts, f"{product.feed.model_dump_json()} {stations}")


def _within(rows: pa.Table, since: datetime | None, until: datetime | None) -> pa.Table:
    if since is not None:
        rows = rows.filter(pc.field("valid_time") >= pa.scalar(since, TIME))
    if until is not None:
        rows = rows.filter(pc.field("valid_time") <= pa.scalar(until, TIME))
    return rows
