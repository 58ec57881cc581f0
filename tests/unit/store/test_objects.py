from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.store.objects import LocalStore, ObjectStore, open_store
from pipeline.store.objects.s3 import S3Store


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_store(tmp_path / "deep" / "place")
    return open_store(request.getfixturevalue("bucket")) / "deep" / "place"


def test_a_file_is_written_read_listed_and_removed(place: ObjectStore) -> None:
    assert (place.find("a/b.json"), place.look("a/b.json"), place.exists("a/b.json")) == (None, None, False)
    assert (place.entries(), place.entries("a"), place.folders()) == ([], [], [])
    place.write("a/b.json", b"1")
    place.write("a/c/d.json", b"22")
    place.write(".hidden", b"")
    place.write("a/b.json", b"333")
    assert place.read("a/b.json") == b"333"
    assert [(entry.name, entry.size) for entry in place.entries()] == [
        (".hidden", 0),
        ("a/b.json", 3),
        ("a/c/d.json", 2),
    ]
    assert [entry.name for entry in place.entries("a/c")] == ["a/c/d.json"]
    assert [entry.name for entry in place.entries(after="a/b.json")] == ["a/c/d.json"]
    assert place.folders() == ["a"]
    assert (place / "a").folders() == ["c"]
    assert (place / "a" / "c").read("d.json") == b"22"
    place.remove("a/b.json")
    place.remove("a/b.json")
    assert not place.exists("a/b.json")


def test_a_tag_tells_that_a_file_was_written_again(place: ObjectStore) -> None:
    place.write("x", b"1")
    first = place.look("x")
    place.write("x", b"2")
    second = place.look("x")
    assert first is not None and second is not None
    assert (first.tag != second.tag, first.size, second.modified >= first.modified) == (True, 1, True)
    assert place.entries() == [second]


def test_of_many_that_create_at_once_one_wins(place: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: place.create("one", b"%d" % n), range(8)))
    assert won.count(True) == 1
    assert place.read("one") == b"%d" % won.index(True)
    assert [entry.name for entry in place.entries()] == ["one"]


def test_files_are_added_together(place: ObjectStore) -> None:
    place.add((f"{n}.parquet", b"x" * n) for n in range(20))
    assert sorted(entry.size for entry in place.entries()) == list(range(20))


def test_what_is_not_there_cannot_be_read(place: ObjectStore) -> None:
    with pytest.raises(StoreError, match=r"deep/place/none: no such file$"):
        place.read("none")


def test_a_writable_place_is_left_as_it_was(place: ObjectStore) -> None:
    place.check_writable()
    assert place.entries() == []


def test_places_are_equal_by_where_they_are(tmp_path: Path) -> None:
    assert open_store(tmp_path) / "a" == open_store(tmp_path / "a")
    assert open_store("s3://bucket/a/") == open_store("s3://bucket") / "a"
    assert open_store(tmp_path) != str(tmp_path)
    assert len({open_store(tmp_path), open_store(str(tmp_path))}) == 1
    assert str(open_store("s3://bucket/a")) == "s3://bucket/a"
    assert isinstance(open_store("s3://bucket/a"), S3Store)


def test_create_never_shows_a_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F1, F4: when the name appears, the content is flushed.
    seen: list[str] = []
    sync, link = os.fsync, os.link
    monkeypatch.setattr(os, "fsync", lambda handle: (seen.append("flushed"), sync(handle))[1])
    monkeypatch.setattr(os, "link", lambda *paths: (seen.append("named"), link(*paths))[1])
    open_store(tmp_path).create("x", b"1")
    assert seen == ["flushed", "named", "flushed"]


def test_new_folders_are_flushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F4: the file would be gone with the name of its folder.
    flushed: set[str] = set()
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (flushed.add(str(Path(f"/proc/self/fd/{handle}").readlink())), sync(handle))[1]
    )
    open_store(tmp_path).write("a/b/c", b"1")
    assert {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")} <= flushed


def test_an_error_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    place = open_store(tmp_path / "file")
    for deed in (lambda: place.write("x", b""), lambda: place.create("x", b""), lambda: place.add([("x", b"")])):
        with pytest.raises(StoreError, match=r"^[^\n]*file/x: cannot write, (File exists|Not a directory)$"):
            deed()
    with pytest.raises(StoreError, match=r"^[^\n]*/file: is not writable \(cannot write, [^\n]+\)$"):
        place.check_writable()
    assert isinstance(place, LocalStore)
    assert place.look("x") is None


def test_a_bucket_that_is_not_there_is_one_line(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/x: cannot write, [^\n]+$"):
        open_store("s3://no-such-bucket").write("x", b"")


def test_a_bucket_confirms_a_put_that_was_sent_twice(bucket: str) -> None:
    # F34: the first answer was lost, the second attempt meets the first one's object.
    place = open_store(bucket)
    assert place.create("x", b"mine")
    assert place.create("x", b"mine")
    assert not place.create("x", b"another's")
