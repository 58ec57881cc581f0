"""Files in an object store, against an S3 service on this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceError
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.sources.objects import matches
from pipeline.locations import Locations, read_locations
from pipeline.store.objects import open_store
from tests.unit.ingest.conftest import MakeProduct, only_payloads
from tests.unit.ingest.decoding.grids import make_dataset, make_feed, zarr_folder

AT = datetime(2020, 1, 2, tzinfo=UTC)
CSV = b"time,A\n2020-01-01 06:00,1\n"
Fetch = Callable[..., list[Any]]


@pytest.fixture
def fetch(make_product: MakeProduct, locations: Locations) -> Fetch:
    def fetch(path: str, **source: Any) -> list[Any]:
        return list(open_source(make_product(path=path, **source).feed, locations).fetch(None, None, at=AT))

    return fetch


def put(bucket: str, *names: str) -> None:
    for name in names:
        open_store(bucket).put(name, CSV + name.encode())


def names(found: list[Payload], bucket: str) -> list[str]:
    return [payload.name.removeprefix(f"{bucket}/") for payload in found]


def test_one_object_is_fetched_by_its_key(bucket: str, fetch: Fetch) -> None:
    put(bucket, "deep/er/data.csv", "deep/er/data.csv.old")
    (payload,) = fetch(f"{bucket}/deep/er/data.csv")
    assert payload.name == f"{bucket}/deep/er/data.csv"
    assert payload.content == CSV + b"deep/er/data.csv"


def test_a_pattern_is_fetched_in_order_without_hidden_and_unfinished_objects(bucket: str, fetch: Fetch) -> None:
    put(bucket, "in/b/2.csv", "in/b/10.csv", "in/a/1.csv", "in/a/.h.csv", "in/a/x.csv.part", "in/.b/3.csv", "out/4.csv")
    assert names(fetch(f"{bucket}/in/**/*.csv"), bucket) == ["in/a/1.csv", "in/b/10.csv", "in/b/2.csv"]
    assert names(fetch(f"{bucket}/in/*/1*.csv"), bucket) == ["in/a/1.csv", "in/b/10.csv"]
    assert names(fetch(f"{bucket}/*/[4-9].csv"), bucket) == ["out/4.csv"]


@pytest.mark.parametrize("name", ["a b.csv", "ü.csv", "a+b=c.csv", "50%.csv", "x#y.csv", "a%20b.csv"])
def test_keys_may_have_any_letters(bucket: str, fetch: Fetch, name: str) -> None:
    import boto3

    bucket_name = bucket.removeprefix("s3://")
    boto3.client("s3").put_object(Bucket=bucket_name, Key=f"in/{name}", Body=CSV)
    (payload,) = fetch(f"{bucket}/in/*")
    assert (payload.name, payload.content) == (f"{bucket}/in/{name}", CSV)


def test_an_object_above_the_limit_is_refused_and_the_next_one_follows(bucket: str, fetch: Fetch) -> None:
    open_store(bucket).put("1.csv", bytes(1000))
    put(bucket, "2.csv")
    error, payload = fetch(f"{bucket}/*.csv", max_bytes=100)
    assert str(error) == f"{bucket}/1.csv: 1000 bytes, more than feed.source.max_bytes, 100"
    assert payload.name == f"{bucket}/2.csv"


def test_a_missing_object_is_an_error_and_the_next_one_follows(
    bucket: str, make_product: MakeProduct, locations: Locations
) -> None:
    put(bucket, "1.csv", "2.csv", "3.csv")
    payloads = open_source(make_product(path=f"{bucket}/*.csv").feed, locations).fetch(None, None, at=AT)
    first = next(payloads)
    assert isinstance(first, Payload)
    assert first.name == f"{bucket}/1.csv"
    open_store(bucket).delete("2.csv")
    error, third = payloads
    assert str(error) == f"{bucket}/2.csv: no such file"
    assert isinstance(third, Payload)
    assert third.name == f"{bucket}/3.csv"


@pytest.mark.parametrize("path", ["none.csv", "none/*.csv", "*.parquet"])
def test_no_match_names_the_address(bucket: str, fetch: Fetch, path: str) -> None:
    put(bucket, "1.csv")
    with pytest.raises(SourceError) as caught:
        fetch(f"{bucket}/{path}")
    assert str(caught.value) == f"{bucket}/{path}: no object matches; correct feed.source.path"


@pytest.mark.parametrize("path", ["s3://", "s3://bucket", "s3://*/x.csv"])
def test_an_address_needs_a_bucket_and_a_key(fetch: Fetch, path: str) -> None:
    with pytest.raises(SourceError, match="not the address of an object; write s3://bucket/key"):
        fetch(path)


def test_a_refusal_of_the_service_is_one_line(bucket: str, fetch: Fetch) -> None:
    with pytest.raises(SourceError, match=r"^s3://no-such-bucket") as caught:
        fetch("s3://no-such-bucket/in/*.csv")
    assert "\n" not in str(caught.value)


def test_a_zarr_folder_is_one_payload_whether_on_disk_or_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    folder = zarr_folder(make_dataset(), tmp_path / "x.zarr", version=2)
    for part in folder.rglob("*"):
        if part.is_file():
            open_store(bucket).put(f"in/x.zarr/{part.relative_to(folder).as_posix()}", part.read_bytes())
    put(bucket, "in/other.zarr/data.csv")
    payloads: list[Payload] = []
    for path in ("*.zarr", f"{bucket}/in/*.zarr", f"{bucket}/in/x.zarr"):
        feed = make_feed(tmp_path, format="zarr", path=path)
        source = open_source(feed, read_locations(feed))
        payloads += only_payloads(source.fetch(None, None, at=AT))
    local, pattern, exact = payloads
    assert local.content == pattern.content == exact.content
    assert pattern.name == exact.name == f"{bucket}/in/x.zarr"
    assert source.decode(exact).rows.num_rows == 24


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.csv", "*.csv", True),
        ("a/b.csv", "*.csv", False),
        ("a/b.csv", "**/*.csv", True),
        ("b.csv", "**/*.csv", True),
        ("a/b/c.csv", "a/**", True),
        ("a/.b/c.csv", "a/**", False),
        ("a/.b/c.csv", "a/.b/*", True),
        (".c.csv", "*", False),
        (".c.csv", ".*", True),
        ("a/b/c.csv", "**/b/**/c.csv", True),
        ("a/c.csv", "a/**/c.csv", True),
        ("a/x1.csv", "a/x[0-9].csv", True),
        ("a/x1.csv", "a/x?.csv", True),
        ("A.csv", "a.csv", False),
        ("a", "a/**", False),
    ],
)
def test_patterns_by_hand(name: str, pattern: str, expected: bool) -> None:
    assert matches(name.split("/"), pattern.split("/")) is expected


PARTS = st.sampled_from(["a", "b", "ab", ".a", "a.csv", "b.csv"])


@given(
    st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from(["*", "**", "a", "a*", "?.csv", "[ab]", ".a", "*.csv"]), min_size=1, max_size=3),
)
def test_patterns_mean_the_same_as_on_a_disk(
    tmp_path_factory: pytest.TempPathFactory, files: list[str], pattern: list[str]
) -> None:
    import glob

    root = tmp_path_factory.mktemp("disk")
    for name in files:
        path = root / name
        if not any(part.is_file() for part in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    there = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    text = "/".join(pattern)
    found = glob.glob(text, root_dir=root, recursive=True)  # noqa: PTH207
    on_disk = {name for name in found if (root / name).is_file() and not name.endswith("/")}  # a/ is what Python finds
    assert {name for name in there if matches(name.split("/"), pattern)} == on_disk
