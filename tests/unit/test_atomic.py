from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import atomic
from pipeline.atomic import new_folder, point, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def during(work: Callable[[], None], look: Callable[[], None]) -> int:
    """Do the work in a thread and look again and again until it has ended; return how often."""
    worker = threading.Thread(target=work)
    worker.start()
    looks = 0
    while worker.is_alive():
        look()
        looks += 1
    worker.join()
    return looks


def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_appears_with_its_folder_and_can_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_file(path, b"content")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["file"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    # F2
    path = tmp_path / "file"
    versions = [bytes([n]) * 200_000 for n in range(60)]
    write_file(path, versions[0])

    def look() -> None:
        assert path.read_bytes() in versions

    def work() -> None:
        for version in versions:
            write_file(path, version)

    assert during(work, look) > 0
    assert path.read_bytes() == versions[-1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F6
    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120)
    write_file(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "made" / "folder"
    with new_folder(path) as fresh:
        (fresh / "inner").mkdir()
        (fresh / "inner" / "deep").write_text("deep")
        (fresh / "flat").write_text("flat")
        assert not path.exists()
    assert names(path) == ["flat", "inner"]
    assert (path / "inner" / "deep").read_text() == "deep"
    assert path.stat().st_mode & 0o777 == 0o755
    assert names(path.parent) == ["folder"]


def test_everything_in_a_folder_is_on_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F4
    order: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        order.append("RENAMED")
        return rename(path, target)

    monkeypatch.setattr(atomic.os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    with new_folder(tmp_path / "folder") as fresh:
        (fresh / "inner").mkdir()
        (fresh / "inner" / "deep").write_text("x")
    before = order[: order.index("RENAMED")]
    assert sorted(before) == sorted(["inner", "deep", fresh.name])
    assert order[-1] == tmp_path.name


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), new_folder(tmp_path / "folder") as fresh:
        (fresh / "file").write_text("x")
        raise RuntimeError("in the middle")
    assert names(tmp_path) == []


def test_a_folder_whose_flush_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # F6
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), new_folder(tmp_path / "folder") as fresh:
        (fresh / "file").write_text("x")
    assert names(tmp_path) == []


def test_the_first_of_two_folders_of_one_name_stays(tmp_path: Path) -> None:
    # F32
    path = tmp_path / "folder"
    with new_folder(path) as one, new_folder(path) as two:
        (one / "file").write_text("one")
        (two / "file").write_text("two")
    assert (path / "file").read_text() == "two"  # the inner block ended first
    assert names(tmp_path) == ["folder"]


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(OSError, match="folder"), new_folder(tmp_path / "folder") as fresh:
        (fresh / "file").write_text("x")
    assert names(tmp_path) == ["folder"]
    assert (tmp_path / "folder").read_text() == "in the way"


def test_the_pointer_always_leads_somewhere(tmp_path: Path) -> None:
    # F2
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    link = tmp_path / "latest"
    point(link, "a")
    assert link.readlink() == Path("a")

    def look() -> None:
        assert (link / "file").read_text() in ("a", "b")

    def work() -> None:
        for n in range(200):
            point(link, "ab"[n % 2])

    assert during(work, look) > 0
    assert (link / "file").read_text() == "b"
    assert names(tmp_path) == ["a", "b", "latest"]


def test_two_threads_may_move_the_pointer_at_once(tmp_path: Path) -> None:
    faults: list[Exception] = []

    def move(target: str) -> None:
        try:
            for _ in range(100):
                point(tmp_path / "latest", target)
        except OSError as error:
            faults.append(error)

    movers = [threading.Thread(target=move, args=(name,)) for name in "abcd"]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    assert faults == []
    assert names(tmp_path) == ["latest"]


def test_a_pointer_that_cannot_move_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OSError, match="latest"):
        point(tmp_path / "latest", "a")
    assert names(tmp_path) == ["latest"]
