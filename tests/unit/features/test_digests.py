from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.features.digests import digests_known_by
from pipeline.workspace import Workspace
from tests.world import end_of, fill, make_product, make_rows, make_settings, take_snapshot

DAY = timedelta(days=1)


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    product, settings = make_product(tmp_path, days=60, feed={"mode": "live"}), make_settings(tmp_path)
    fill(product, settings)
    return Workspace(product, settings)


def test_later_data_change_only_the_digests_of_later_instants(ws: Workspace) -> None:
    end = end_of(ws.product)
    instants = [end - 30 * DAY, end - 20 * DAY, end - 10 * DAY, end]
    before = digests_known_by(take_snapshot(ws, known_by=end), instants)
    assert len(set(before)) == 4
    # A correction of an old value, known ten days before the end; and a new value, known when it arrives.
    day = end.replace(hour=0)
    ws.feed.observations.append(make_rows((day - 40 * DAY, "S1", 9.0)), at=end - 10 * DAY, payload="1" * 64)
    ws.feed.observations.append(make_rows((day, "S1", 9.0)), at=end + DAY, payload="2" * 64)
    after = digests_known_by(take_snapshot(ws, known_by=end + 2 * DAY), instants)
    assert after[:2] == before[:2]
    assert (after[2] != before[2], after[3] != before[3]) == (True, True)


def test_a_digest_does_not_depend_on_the_other_instants_or_on_when_the_snapshot_was_taken(ws: Workspace) -> None:
    end = end_of(ws.product)
    middle = end - 20 * DAY
    (alone,) = digests_known_by(take_snapshot(ws, known_by=end), [middle])
    assert digests_known_by(take_snapshot(ws, known_by=end), [end - 40 * DAY, middle, end])[1] == alone
    assert digests_known_by(take_snapshot(ws, known_by=middle), [middle]) == [alone]
