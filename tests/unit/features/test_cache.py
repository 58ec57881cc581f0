from __future__ import annotations

import logging
import os
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Product, Settings
from pipeline.errors import NoDataError, StoreError
from pipeline.features import cache
from pipeline.features.arrays import Frames
from pipeline.features.cache import FrameCache, load_history
from pipeline.features.files import METADATA
from pipeline.features.frames import build_frames
from pipeline.ingest.feed import OpenFeed
from pipeline.store.observations import Observations
from pipeline.workspace import Workspace
from tests.world import end_of, fill, make_product, make_rows, make_settings, record_rows

DAY = timedelta(days=1)


class ProductHome:
    """A product with its observations, and how often its frames were made."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.product: Product = make_product(folder, days=70, stations=2)
        self.settings: Settings = make_settings(folder)
        fill(self.product, self.settings)
        self.end = end_of(self.product)
        self.made = 0
        real = cache._write

        def counted(*args: object, **options: object) -> None:
            self.made += 1
            real(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(cache, "_write", counted)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.product, self.settings)

    @property
    def folder(self) -> Path:
        return self.settings.home / "cache" / "frames" / "tiny-wind"

    def keys(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def frames(self, **options: object) -> Frames:
        arguments = {"known_by": self.end} | options
        return load_history(self.workspace.feed, **arguments)[0]  # type: ignore[arg-type]

    def at_once(self) -> Frames:
        rows = self.workspace.feed.observations.read(known_by=self.end)
        return build_frames(rows, locations=("S0", "S1"), variables=("wind_speed",), step=DAY)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProductHome:
    monkeypatch.setattr("pipeline.features.files._verified", {})
    return ProductHome(tmp_path, monkeypatch)


def test_frames_are_built_once_and_equal_those_built_in_memory(place: ProductHome) -> None:
    first, second = place.frames(), place.frames()
    assert place.made == 1
    assert first.digest() == second.digest() == place.at_once().digest()
    assert isinstance(first.first.base, np.memmap)
    (key,) = place.keys()
    assert len(key) == 64
    assert sorted(path.name for path in (place.folder / key).iterdir())[:2] == ["complete_at.npy", "first.npy"]
    assert (place.folder / key / METADATA).is_file()


def test_frames_do_not_depend_on_the_parts_that_are_read(place: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever pieces the store reads in, the frames are the same.
    whole = place.frames().digest()
    real = Observations.scan

    def by_week(self: Observations, **options: object):  # type: ignore[no-untyped-def]
        (rows,) = list(real(self, **options))  # type: ignore[arg-type]
        rows = rows.sort_by([("valid_time", "ascending")])
        yield from (rows.slice(start, 14) for start in range(0, rows.num_rows, 14))

    monkeypatch.setattr(Observations, "scan", by_week)
    shutil.rmtree(place.folder)
    assert place.frames().digest() == whole
    assert place.made == 2


def test_another_instant_version_or_product_has_another_key(place: ProductHome, tmp_path: Path) -> None:
    before = place.frames(known_by=place.end - 30 * DAY)
    assert len(before.times) < len(place.frames().times)
    store = place.workspace.feed.observations
    newest = store.newest()
    assert newest is not None
    store.append(make_rows((newest, "S0", 9.5)), at=place.end, payload="p")
    later = place.end + DAY
    revised = place.frames(known_by=later)
    assert len(revised.revisions.time_index) == 1
    assert place.made == 3
    fewer = make_product(tmp_path, days=70, stations=1)
    load_history(OpenFeed(fewer.feed, place.settings), known_by=later)
    assert place.made == 4
    assert len(place.keys()) == cache.KEPT


def test_a_recreated_table_has_another_key(place: ProductHome) -> None:
    place.frames()
    shutil.rmtree(place.settings.home / "products")
    rows = record_rows(place.product)
    place.workspace.feed.observations.append(rows.slice(0, 40), at=place.end, payload="p")
    assert len(place.frames().times) == 20
    assert place.made == 2


@pytest.mark.parametrize("name", ["first.npy", "known_at.npy", METADATA])
def test_damaged_frames_are_logged_and_rebuilt(place: ProductHome, caplog: pytest.LogCaptureFixture, name: str) -> None:
    whole = place.frames().digest()
    path = place.folder / place.keys()[0] / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "pipeline.features"):
        assert place.frames().digest() == whole
    assert place.made == 2
    assert len(caplog.records) == 1
    assert str(place.folder) in caplog.text
    assert "rebuilding the frames" in caplog.text
    assert len(place.keys()) == 1
    assert place.frames().digest() == whole
    assert place.made == 2


def test_the_cache_may_be_deleted_while_its_frames_are_in_use(place: ProductHome) -> None:
    frames = place.frames()
    whole = frames.first.copy()
    shutil.rmtree(place.settings.home / "cache")
    np.testing.assert_array_equal(frames.first, whole)
    assert place.frames().digest() == place.at_once().digest()


def test_the_most_recently_used_frames_are_kept(place: ProductHome) -> None:
    instants = [place.end - n * DAY for n in range(4)]
    for age, instant in enumerate(instants[:3]):
        before = set(place.keys()) if place.folder.exists() else set()
        place.frames(known_by=instant)
        (new,) = set(place.keys()) - before
        os.utime(place.folder / new, (1e9 - age, 1e9 - age))  # the first is the one used last
    place.frames(known_by=instants[3])
    assert place.made == 4
    place.frames(known_by=instants[0])
    assert place.made == 4
    place.frames(known_by=instants[2])
    assert place.made == 5


def test_a_new_entry_stays_even_if_the_clock_went_back(place: ProductHome) -> None:
    for n in range(3):
        place.frames(known_by=place.end - n * DAY)
    for path in place.folder.iterdir():
        os.utime(path, (4e9, 4e9))
    place.frames(known_by=place.end - 5 * DAY)
    assert place.made == 4
    assert len(place.keys()) == cache.KEPT


def test_leftovers_of_killed_writers_are_deleted_after_a_day(place: ProductHome) -> None:
    place.frames()
    (key,) = place.keys()
    now = (place.folder / key).stat().st_mtime
    for name, age in ((".old", 90_000), (".young", 80_000)):
        (place.folder / name).mkdir()
        os.utime(place.folder / name, (now - age, now - age))
    (place.folder / "note.txt").write_text("not a folder, so it stays")
    assert FrameCache(place.folder).evict() == [".old"]
    assert place.keys() == [".young", key, "note.txt"]
    assert FrameCache(place.folder).evict(keep=0) == [key]
    assert FrameCache(place.folder / "none").evict() == []


def test_without_observations_no_entry_is_left(place: ProductHome, tmp_path: Path) -> None:
    with pytest.raises(NoDataError, match="tiny-wind: nothing was known by 1990-"):
        place.frames(known_by=place.end.replace(year=1990))
    others = make_product(tmp_path, days=70, stations=2)
    stations = others.folder / "stations.csv"
    stations.write_text(stations.read_text().replace("S0", "X0").replace("S1", "X1"))
    with pytest.raises(NoDataError, match="tiny-wind: no observations of any location of the product"):
        load_history(OpenFeed(others.feed, place.settings), known_by=place.end)
    assert not place.folder.exists() or place.keys() == []


def test_a_commit_during_the_build_starts_it_again(place: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    store = place.workspace.feed.observations
    real = Observations.scan
    newest = store.newest()
    assert newest is not None
    news = [make_rows((newest, "S0", 50.0))]

    def disturbed(self: Observations, **options: object):  # type: ignore[no-untyped-def]
        if news:  # another process commits between reading the version and reading the rows
            store.append(news.pop(), at=place.end, payload="p")
        yield from real(self, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Observations, "scan", disturbed)
    place.end += DAY
    assert place.frames().revisions.values.tolist() == [[50.0]]
    assert place.made == 1
    assert place.frames().digest() == place.at_once().digest()
    assert place.made == 1


def test_frames_that_keep_disappearing_are_an_error(place: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FrameCache, "find", lambda self, key: None)
    with pytest.raises(StoreError, match="missing or damaged 5 times"):
        place.frames()


def test_a_full_disk_is_a_one_line_error(place: ProductHome, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.features.files import ArrayFile

    def full(self: ArrayFile, part: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrayFile, "append", full)
    with pytest.raises(StoreError, match="cannot write frames, No space left on device") as caught:
        place.frames()
    assert "\n" not in str(caught.value)
    assert place.keys() == []
