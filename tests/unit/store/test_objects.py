from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, ObjectStore, open_store
from pipeline.store.objects.s3 import S3Store


@pytest.fixture(params=["local", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_store(tmp_path / "deep" / "store")
    return open_store(request.getfixturevalue("bucket")) / "deep" / "store"


def test_a_file_is_written_read_listed_and_deleted(store: ObjectStore) -> None:
    assert (store.get("a/b.json"), store.stat("a/b.json"), store.exists("a/b.json")) == (None, None, False)
    assert (store.list_files(), store.list_files("a"), store.list_folders()) == ([], [], [])
    store.put("a/b.json", b"1")
    store.put("a/c/d.json", b"22")
    store.put(".hidden", b"")
    store.put("a/b.json", b"333")
    assert store.read("a/b.json") == b"333"
    assert [(entry.name, entry.size) for entry in store.list_files()] == [
        (".hidden", 0),
        ("a/b.json", 3),
        ("a/c/d.json", 2),
    ]
    assert [entry.name for entry in store.list_files("a/c")] == ["a/c/d.json"]
    assert [entry.name for entry in store.list_files(after="a/b.json")] == ["a/c/d.json"]
    assert store.list_folders() == ["a"]
    assert (store / "a").list_folders() == ["c"]
    assert (store / "a" / "c").read("d.json") == b"22"
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert not store.exists("a/b.json")


def test_the_tag_changes_when_a_file_is_written_again(store: ObjectStore) -> None:
    store.put("x", b"1")
    first = store.stat("x")
    store.put("x", b"2")
    second = store.stat("x")
    assert first is not None and second is not None
    assert (first.tag != second.tag, first.size, second.modified >= first.modified) == (True, 1, True)
    assert store.list_files() == [second]


def test_one_of_several_concurrent_creators_wins(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: store.create("one", b"%d" % n), range(8)))
    assert won.count(True) == 1
    assert store.read("one") == b"%d" % won.index(True)
    assert [entry.name for entry in store.list_files()] == ["one"]


def test_new_files_are_written_together(store: ObjectStore) -> None:
    store.put_new_files((f"{n}.parquet", b"x" * n) for n in range(20))
    assert sorted(entry.size for entry in store.list_files()) == list(range(20))


def test_a_missing_file_cannot_be_read(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match=r"deep/store/none: no such file$"):
        store.read("none")


def test_checking_a_writable_store_leaves_no_file(store: ObjectStore) -> None:
    store.check_writable()
    assert store.list_files() == []


def test_stores_are_equal_if_their_addresses_are(tmp_path: Path) -> None:
    assert open_store(tmp_path) / "a" == open_store(tmp_path / "a")
    assert open_store("s3://bucket/a/") == open_store("s3://bucket") / "a"
    assert open_store(tmp_path) != str(tmp_path)
    assert len({open_store(tmp_path), open_store(str(tmp_path))}) == 1
    assert str(open_store("s3://bucket/a")) == "s3://bucket/a"
    assert isinstance(open_store("s3://bucket/a"), S3Store)


def test_create_never_shows_a_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The content is flushed before the name appears.
    seen: list[str] = []
    sync, link = os.fsync, os.link

    def synced(handle: int) -> None:
        seen.append("flushed")
        sync(handle)

    def linked(source: Path, target: Path) -> None:
        seen.append("named")
        link(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    open_store(tmp_path).create("x", b"1")
    assert seen == ["flushed", "named", "flushed"]


def test_new_folders_are_flushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the name of its folder the file would be lost.
    flushed: set[str] = set()
    sync = os.fsync

    def synced(handle: int) -> None:
        flushed.add(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    open_store(tmp_path).put("a/b/c", b"1")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= flushed


def test_an_error_is_one_line_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = open_store(tmp_path / "file")
    for write in (
        lambda: store.put("x", b""),
        lambda: store.create("x", b""),
        lambda: store.put_new_files([("x", b"")]),
    ):
        with pytest.raises(StoreError, match=r"^[^\n]*file/x: cannot write, (File exists|Not a directory)$"):
            write()
    with pytest.raises(StoreError, match=r"^[^\n]*/file: is not writable \(cannot write, [^\n]+\)$"):
        store.check_writable()
    assert isinstance(store, LocalStore)
    assert store.stat("x") is None


def test_a_missing_bucket_is_a_one_line_error(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/x: cannot write, [^\n]+$"):
        open_store("s3://no-such-bucket").put("x", b"")


def test_a_repeated_create_with_equal_content_succeeds_on_s3(bucket: str) -> None:
    # The first response was lost, and the second attempt finds the object of the first.
    store = open_store(bucket)
    assert store.create("x", b"mine")
    assert store.create("x", b"mine")
    assert not store.create("x", b"another's")
