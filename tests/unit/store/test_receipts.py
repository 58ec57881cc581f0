from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, open_store
from pipeline.store.receipts import Receipts

ONE, TWO, THREE = "ab" * 32, "cd" * 32, "ef" * 32
AT = datetime(2001, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(open_store(tmp_path / "receipts"))


def receipt(digest: str, at: datetime = AT, **more: Any) -> dict[str, Any]:
    return {"payload": digest, "at": at.isoformat(), **more}


def file_of(receipts: Receipts) -> Path:
    assert isinstance(receipts.store, LocalStore)
    return next(receipts.store.path.glob("*/*.json"))


def test_a_payload_is_contained_once_its_receipt_is_written(receipts: Receipts) -> None:
    assert ONE not in receipts
    receipts.write(ONE, receipt(ONE, refused=1))
    assert ONE in receipts
    assert TWO not in receipts
    assert 7 not in receipts


def test_every_receipt_is_read_back(receipts: Receipts) -> None:
    assert list(receipts) == []
    for digest in (TWO, ONE):
        receipts.write(digest, receipt(digest, name="wind é.csv"))
    assert sorted(one["payload"] for one in receipts) == [ONE, TWO]
    receipts.write(ONE, receipt(ONE, name="again"))
    assert len(list(receipts)) == 2


def test_a_receipt_holds_only_for_its_description(receipts: Receipts) -> None:
    receipts.write(ONE, receipt(ONE))
    other = Receipts(receipts.store, "limits corrected")
    assert ONE not in other
    other.write(ONE, receipt(ONE))
    assert ONE in other and ONE in receipts


def test_recent_receipts_are_found_without_reading_older_days(receipts: Receipts) -> None:
    receipts.write(ONE, receipt(ONE, AT - timedelta(days=40)))
    receipts.write(TWO, receipt(TWO, AT - timedelta(hours=1)))
    receipts.write(THREE, receipt(THREE, AT))
    assert [one["payload"] for one in receipts.recent(AT)] == [THREE]
    assert [one["payload"] for one in receipts.recent(AT - timedelta(hours=12))] == [TWO, THREE]
    assert [one["payload"] for one in receipts.recent(datetime.min.replace(tzinfo=UTC))] == [ONE, TWO, THREE]
    assert list(receipts.recent(AT + timedelta(microseconds=1))) == []
    read: list[str] = []
    get = receipts.store.get

    def noted(name: str) -> bytes | None:
        read.append(name)
        return get(name)

    receipts.store.get = noted  # type: ignore[method-assign]
    list(receipts.recent(AT - timedelta(days=1)))
    assert len(read) == 2


def test_days_are_days_of_utc(receipts: Receipts) -> None:
    at = datetime.fromisoformat("2001-03-01T23:30:00-05:00")  # the second of March in UTC
    receipts.write(ONE, receipt(ONE, at))
    assert [one["payload"] for one in receipts.recent(datetime(2001, 3, 2, tzinfo=UTC))] == [ONE]
    assert list(receipts.recent(datetime(2001, 3, 3, tzinfo=UTC))) == []


def test_a_payload_ingested_twice_has_one_receipt(receipts: Receipts) -> None:
    receipts.write(ONE, receipt(ONE, AT - timedelta(days=3)))
    receipts.write(ONE, receipt(ONE, AT))
    assert [one["at"] for one in receipts.recent(AT - timedelta(days=9))] == [AT.isoformat()]


def test_a_receipt_that_could_not_be_written_does_not_exist(
    receipts: Receipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            receipts.write(ONE, receipt(ONE))
    assert ONE not in receipts
    assert list(receipts) == []


@pytest.mark.parametrize("damage", ["torn", "flipped", "emptied"])
def test_a_damaged_receipt_is_reported_with_its_path(receipts: Receipts, damage: str) -> None:
    receipts.write(ONE, receipt(ONE, accepted=12))
    path = file_of(receipts)
    content = path.read_bytes()
    path.write_bytes({"torn": content[:-3], "flipped": content.replace(b"12", b"13"), "emptied": b""}[damage])
    with pytest.raises(StoreError, match=str(path)):
        list(receipts)
    with pytest.raises(StoreError, match=str(path)):
        list(receipts.recent(AT))
