from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, open_store
from pipeline.store.raw import Payload, RawStore


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(open_store(tmp_path / "raw"))


def files(store: RawStore) -> list[str]:
    return [entry.name for entry in store.store.list_files()]


def root(store: RawStore) -> Path:
    assert isinstance(store.store, LocalStore)
    return store.store.path


def content_file(store: RawStore) -> Path:
    return next(root(store).rglob("*.zst"))


def file_names(digest: str) -> list[str]:
    return [f"{digest[:2]}/{digest}.json", f"{digest[:2]}/{digest}.zst"]


def test_a_payload_is_stored_once_and_read_back(store: RawStore) -> None:
    payload = Payload.of("wind.csv", b"time,A\n" * 1000)
    assert payload.digest not in store
    assert store.put(payload)
    assert not store.put(Payload.of("another name", payload.content))
    assert payload.digest in store
    assert store.get(payload.digest) == payload
    assert files(store) == file_names(payload.digest)
    assert content_file(store).stat().st_size < 100  # compressed


def test_the_digest_is_sha256() -> None:
    # printf 'abc' | sha256sum, the first test vector of FIPS 180-4
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert Payload.of("x", b"abc").digest == expected


@given(st.text(max_size=300) | st.sampled_from(["../../x", "/etc/passwd", "a\0b", "con", "\u202egnp.exe"]))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_hostile_name_never_becomes_a_path(store: RawStore, name: str) -> None:
    payload = Payload.of(name, b"content")
    store.put(payload)
    assert files(store) == file_names(payload.digest)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "a" * 63, "A" * 64, "\u0660" * 64, f"{'a' * 64}\n", 7])
def test_a_malformed_digest_is_not_contained(store: RawStore, digest: object) -> None:
    assert digest not in store


def test_an_unknown_digest_is_refused(store: RawStore) -> None:
    with pytest.raises(StoreError, match="no payload 'aaa"):
        store.get("a" * 64)


@pytest.mark.parametrize("end", [".zst", ".json"])
def test_every_flipped_bit_and_every_truncation_is_noticed(store: RawStore, end: str) -> None:
    # A payload is read back unchanged or not at all.
    payload = Payload.of("x", bytes(range(50)), {"station": "S1"})
    store.put(payload)
    (path,) = root(store).rglob(f"*{end}")
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    for bit in range(0, len(whole) * 8, 3):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    noticed = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            assert store.get(payload.digest) == payload
        except StoreError as error:
            noticed += 1
            assert str(path) in str(error)
    assert noticed > 0.9 * len(damaged)  # a few bits of the frame header and of white space have no meaning


def test_the_context_is_part_of_the_digest_and_read_back(store: RawStore) -> None:
    bare, north, south = (Payload.of("x", b"7.5", context) for context in ({}, {"at": "north"}, {"at": "south"}))
    assert len({bare.digest, north.digest, south.digest}) == 3
    assert bare.digest == hashlib.sha256(b"7.5").hexdigest()
    assert north.digest == hashlib.sha256(b'7.5\0{"at":"north"}').hexdigest()
    assert [store.put(one) for one in (bare, north, south, north)] == [True, True, True, False]
    assert store.get(north.digest) == north
    assert store.get(south.digest).context == {"at": "south"}
    assert sorted(store.digests()) == sorted([bare.digest, north.digest, south.digest])


def test_a_lost_context_is_noticed(store: RawStore) -> None:
    payload = Payload.of("x", b"7.5", {"at": "north"})
    store.put(payload)
    next(root(store).rglob("*.json")).unlink()
    with pytest.raises(StoreError, match="its SHA-256 does not match its name"):
        store.get(payload.digest)
    assert store.put(payload)
    assert store.get(payload.digest) == payload


def test_a_payload_without_a_stored_name_is_named_by_its_digest(store: RawStore) -> None:
    payload = Payload.of("wind.csv", b"content")
    store.put(payload)
    next(root(store).rglob("*.json")).unlink()
    assert store.get(payload.digest) == Payload(payload.digest, b"content", payload.digest)


def test_a_payload_whose_writer_was_killed_is_not_contained(store: RawStore) -> None:
    payload = Payload.of("x", b"content")
    store.put(payload)
    content_file(store).unlink()
    assert payload.digest not in store
    assert list(store.digests()) == []
    assert store.put(payload)


def test_a_torn_file_is_replaced_when_the_payload_is_stored_again(store: RawStore) -> None:
    payload = Payload.of("x", b"content")
    store.put(payload)
    content_file(store).write_bytes(b"")
    assert store.put(payload)
    assert store.get(payload.digest).content == b"content"


def test_a_wrong_digest_is_refused(store: RawStore) -> None:
    with pytest.raises(StoreError, match="does not match its content"):
        store.put(Payload("x", b"content", hashlib.sha256(b"other").hexdigest()))
    assert not root(store).exists()


def test_a_failed_write_leaves_nothing_and_can_be_repeated(store: RawStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    payload = Payload.of("x", b"content")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="cannot write, No space left on device"):
            store.put(payload)
    assert payload.digest not in store
    assert files(store) == []
    assert store.put(payload)


def test_the_content_is_on_disk_before_its_name(store: RawStore, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        order.append("fsync")
        sync(handle)

    def replaced(path: Path, target: Path) -> Path:
        order.append("name")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    store.put(Payload.of("x", b"content"))
    assert [step for step in order if step == "name"] == ["name", "name"]
    for index, step in enumerate(order):
        if step == "name":
            assert order[index - 1 : index + 2] == ["fsync", "name", "fsync"]
