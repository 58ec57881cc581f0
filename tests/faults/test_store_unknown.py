"""The response to a write is lost: whether it succeeded is read from the store, and the rows are written once."""

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
from tests.tables import add, keys, open_table


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
def test_a_lost_response_leaves_each_row_once(bucket: str, proxy: Proxy, what: str, how: How) -> None:
    table = open_table(open_store(bucket) / "table")
    add(table, 1)
    proxy.spoil(PUTS[what], how)
    assert add(table, 2, 3) == [2, 3]
    assert len(proxy.seen) == 2  # repeated once, by one layer
    fresh = open_table(table.store)
    assert (keys(fresh), fresh.version, fresh.fault) == ([1, 2, 3], 2, None)
    assert fresh.verify() == []


@pytest.mark.parametrize("what", ["commit", "record"])
def test_a_service_that_stays_down_is_one_error_and_the_next_run_completes(
    bucket: str, proxy: Proxy, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "RETRIES", 1)
    table = open_table(open_store(bucket) / "table")
    add(table, 1)
    proxy.spoil(PUTS[what], "503 after", times=99)
    try:
        assert add(table, 2) == [2]  # the commit is found in the log
    except StoreError as error:
        assert "\n" not in str(error)
        assert what == "record"
    proxy.spoil("a^", "503 after")
    fresh = open_table(table.store)
    assert keys(fresh) == [1, 2]
    assert add(fresh, 2, 3) == [3]
    assert (keys(fresh), fresh.fault, fresh.verify()) == ([1, 2, 3], None, [])


def test_a_payload_whose_response_was_lost_is_stored_once(bucket: str, proxy: Proxy) -> None:
    store, payload = RawStore(open_store(bucket) / "raw"), Payload.of("x", b"content")
    proxy.spoil(r"PUT .*\.zst", "503 after")
    store.put(payload)
    assert list(store.digests()) == [payload.digest]
    assert store.get(payload.digest) == payload


@pytest.mark.parametrize("fault", [CommitFailedError("timed out"), DeltaError("timed out"), OSError("timed out")])
@pytest.mark.parametrize("landed", [True, False])
def test_an_error_of_a_commit_on_disk_is_resolved_by_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, landed: bool
) -> None:
    table = open_table(open_store(tmp_path))
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
    assert keys(open_table(table.store)) == ([1, 2] if landed else [1])
    assert add(table, 2) == ([] if landed else [2])
    assert (keys(table), table.fault) == ([1, 2], None)
