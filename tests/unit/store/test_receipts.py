from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import atomic
from pipeline.errors import StoreError
from pipeline.store.receipts import Receipts

ONE, TWO = "ab" * 32, "cd" * 32


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path / "receipts")


def test_a_payload_is_known_once_its_receipt_is_written(receipts: Receipts) -> None:
    assert ONE not in receipts
    receipts.write(ONE, {"payload": ONE, "refused": 1})
    assert ONE in receipts
    assert TWO not in receipts
    assert 7 not in receipts


def test_every_receipt_is_read_back(receipts: Receipts) -> None:
    assert list(receipts) == []
    for digest in (TWO, ONE):
        receipts.write(digest, {"payload": digest, "name": "wind é.csv"})
    assert sorted(receipt["payload"] for receipt in receipts) == [ONE, TWO]
    receipts.write(ONE, {"payload": ONE, "name": "again"})
    assert len(list(receipts)) == 2


def test_a_receipt_that_could_not_be_written_is_not_there(receipts: Receipts, monkeypatch: pytest.MonkeyPatch) -> None:
    # F6
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            receipts.write(ONE, {"payload": ONE})
    assert ONE not in receipts
    assert list(receipts) == []


def test_a_damaged_receipt_is_told_with_its_path(receipts: Receipts) -> None:
    # F5
    receipts.write(ONE, {"payload": ONE})
    (path,) = receipts.root.glob("*/*.json")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StoreError, match=str(path)):
        list(receipts)
