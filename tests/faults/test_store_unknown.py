"""F34: the answer to a write is lost. Whether it took place is read again, and the write is not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from pipeline.errors import StoreError
from pipeline.store.objects import open_store, s3
from pipeline.store.raw import Payload, RawStore
from tests.faults.proxy import How, Proxy, proxy_before
from tests.faults.samples import add, keys, table_at


@pytest.fixture
def proxy(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy_before(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


PUTS = {
    "commit": r"PUT .*/_delta_log/0+2\.json",
    "record": r"PUT .*/_manifest/commits/0+2\.json",
    "data": r"PUT .*\.parquet",
}


@pytest.mark.parametrize("what", PUTS)
@pytest.mark.parametrize("how", ["503 after", "cut after", "503 before"])
def test_f34_a_lost_answer_leaves_each_row_once(bucket: str, proxy: Proxy, what: str, how: How) -> None:
    table = table_at(open_store(bucket) / "table")
    add(table, 1)
    proxy.spoil(PUTS[what], how)
    assert add(table, 2, 3) == [2, 3]
    assert len(proxy.seen) == 2  # sent again once, by one layer
    fresh = table_at(table.place)
    assert (keys(fresh), fresh.version, fresh.fault) == ([1, 2, 3], 2, None)
    assert fresh.verify() == []


@pytest.mark.parametrize("what", ["commit", "record"])
def test_f34_a_service_that_stays_away_is_one_error_and_the_next_run_converges(
    bucket: str, proxy: Proxy, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRIES", 1)
    table = table_at(open_store(bucket) / "table")
    add(table, 1)
    proxy.spoil(PUTS[what], "503 after", times=99)
    try:
        assert add(table, 2) == [2]  # it is read again, and there
    except StoreError as error:
        assert "\n" not in str(error)
        assert what == "record"
    proxy.spoil("a^", "503 after")
    fresh = table_at(table.place)
    assert keys(fresh) == [1, 2]
    assert add(fresh, 2, 3) == [3]
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3], None, [])


def test_f34_a_payload_whose_answer_was_lost_is_kept_once(bucket: str, proxy: Proxy) -> None:
    store, payload = RawStore(open_store(bucket) / "raw"), Payload.of("x", b"content")
    proxy.spoil(r"PUT .*\.zst", "503 after")
    store.put(payload)
    assert list(store.digests()) == [payload.digest]
    assert store.get(payload.digest) == payload


@pytest.mark.parametrize("fault", [CommitFailedError("timed out"), DeltaError("timed out"), OSError("timed out")])
@pytest.mark.parametrize("landed", [True, False])
def test_f34_on_a_disk_too_the_log_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, landed: bool
) -> None:
    table = table_at(open_store(tmp_path))
    add(table, 1)
    commit = DeltaTable.create_write_transaction

    def unknown(*given: Any, **named: Any) -> None:
        if landed:
            commit(*given, **named)
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(DeltaTable, "create_write_transaction", unknown)
        if landed:
            assert add(table, 2) == [2]
        else:
            with pytest.raises(StoreError, match=r"cannot commit version 2, timed out$"):
                add(table, 2)
    assert keys(table_at(table.place)) == ([1, 2] if landed else [1])
    assert add(table, 2) == ([] if landed else [2])
    assert (keys(table), table.fault) == ([1, 2], None)
