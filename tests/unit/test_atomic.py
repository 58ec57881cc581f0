from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.atomic import new_folder, replace_symlink, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def during(work: Callable[[], None], look: Callable[[], None]) -> int:
    """Call `look` again and again while `work` runs in a thread; return how often."""
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


def test_a_file_is_created_with_its_folder_and_readable_by_everyone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_file(path, b"content")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["file"]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
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
    path = tmp_path / "file"
    write_file(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120)
    write_file(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_folder_appears_once_it_is_complete(tmp_path: Path) -> None:
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


def test_a_folders_content_is_flushed_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        order.append("RENAMED")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
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
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), new_folder(tmp_path / "folder") as fresh:
        (fresh / "file").write_text("x")
    assert names(tmp_path) == []


def test_the_first_of_two_folders_with_one_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with new_folder(path) as one, new_folder(path) as two:
        (one / "file").write_text("one")
        (two / "file").write_text("two")
    assert (path / "file").read_text() == "two"  # the inner block ended first
    assert names(tmp_path) == ["folder"]


def test_a_file_with_the_name_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(OSError, match="folder"), new_folder(tmp_path / "folder") as fresh:
        (fresh / "file").write_text("x")
    assert names(tmp_path) == ["folder"]
    assert (tmp_path / "folder").read_text() == "in the way"


def test_a_symlink_always_has_a_target(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    link = tmp_path / "latest"
    replace_symlink(link, "a")
    assert link.readlink() == Path("a")

    def look() -> None:
        assert (link / "file").read_text() in ("a", "b")

    def work() -> None:
        for n in range(200):
            replace_symlink(link, "ab"[n % 2])

    assert during(work, look) > 0
    assert (link / "file").read_text() == "b"
    assert names(tmp_path) == ["a", "b", "latest"]


def test_several_threads_may_replace_a_symlink_at_once(tmp_path: Path) -> None:
    faults: list[Exception] = []

    def move(target: str) -> None:
        try:
            for _ in range(100):
                replace_symlink(tmp_path / "latest", target)
        except OSError as error:
            faults.append(error)

    movers = [threading.Thread(target=move, args=(name,)) for name in "abcd"]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    assert faults == []
    assert names(tmp_path) == ["latest"]


def test_a_failed_symlink_replacement_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OSError, match="latest"):
        replace_symlink(tmp_path / "latest", "a")
    assert names(tmp_path) == ["latest"]
