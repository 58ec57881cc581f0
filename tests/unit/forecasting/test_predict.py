from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import NoDataError
from pipeline.workspace import Workspace
from tests.world import TIME, issue, make_product, make_settings, record_rows

ISSUE = datetime(2001, 1, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "reason"), [(5, "there are no training windows"), (20, "every training value is missing")]
)
def test_a_young_product_without_a_model_needs_more_data(tmp_path: Path, hours: int, reason: str) -> None:
    schedule = {"forecast": "0 7 * * *"}
    product = make_product(tmp_path, days=5, step="1h", horizon=48, schedule=schedule, feed={"mode": "live"})
    ws = Workspace(product, make_settings(tmp_path))
    recent = pc.field("valid_time") >= pa.scalar(ISSUE - timedelta(hours=hours), TIME)
    ws.feed.observations.append(record_rows(product).filter(recent), at=ISSUE, payload="0" * 64, history=True)
    with pytest.raises(NoDataError, match=rf"at 2001-01-05 07:00 UTC \(climatology: {reason}\); ingest older ones"):
        issue(ws, ISSUE)
