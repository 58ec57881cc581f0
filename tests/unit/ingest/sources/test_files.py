import io
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.config import Product
from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.ingest.sources import Payload, open_source
from pipeline.locations import Locations, read_locations
from tests.unit.ingest.conftest import MakeProduct, only_payloads
from tests.unit.ingest.decoding.grids import make_dataset, make_feed, zarr_folder

AT = datetime(2020, 1, 2, tzinfo=UTC)
CSV = b"time,A,B\n2020-01-01 06:00,1,2\n"


def fetch(product: Product, locations: Locations) -> list[Payload]:
    return list(only_payloads(fetch_with_errors(product, locations)))


def fetch_with_errors(product: Product, locations: Locations) -> list[Payload | SourceError]:
    return list(open_source(product.feed, locations).fetch(None, None, at=AT))


def test_one_file_is_fetched_by_its_path(make_product: MakeProduct, locations: Locations, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(CSV)
    (payload,) = fetch(make_product(), locations)
    assert (payload.name, payload.content) == ("data.csv", CSV)
    # printf 'time,A,B\n2020-01-01 06:00,1,2\n' | sha256sum
    assert payload.digest == "dd2e0c6cf9bc2d729880c0a2a6d7cf5386a094ea8d55d8b8e8dce37ba2880ffd"


def test_a_glob_is_fetched_in_order_without_hidden_files(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    for name in ("b/2.csv", "b/10.csv", "a/1.csv", "a/.part.csv", "a/x.txt", "c.csv/no"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [payload.name for payload in fetch(make_product(path="**/*.csv"), locations)]
    assert names == ["a/1.csv", "b/10.csv", "b/2.csv"]


def test_brackets_in_a_folder_are_not_a_pattern(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    folder = tmp_path / "run [1]"
    folder.mkdir()
    (folder / "data [2].csv").write_bytes(CSV)
    product = make_product(path="*.csv").within(folder)
    assert [payload.name for payload in fetch(product, locations)] == ["data [2].csv"]
    assert len(fetch(make_product(path="data [2].csv").within(folder), locations)) == 1


def test_equal_content_has_one_digest_under_any_name(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    (tmp_path / "1.csv").write_bytes(CSV)
    product = make_product(path="*.csv")
    (first,) = fetch(product, locations)
    (tmp_path / "1.csv").rename(tmp_path / "2.csv")
    assert [payload.digest for payload in fetch(product, locations)] == [first.digest]
    (tmp_path / "2.csv").write_bytes(CSV + b"2020-01-01 07:00,1,2\n")
    assert [payload.digest for payload in fetch(product, locations)] != [first.digest]


@pytest.mark.parametrize("path", ["none.csv", "none/*.csv", "*.parquet"])
def test_no_match_names_the_absolute_pattern(
    make_product: MakeProduct, locations: Locations, tmp_path: Path, path: str
) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(make_product(path=path), locations)
    assert str(caught.value) == f"{tmp_path / path}: no file matches; correct feed.source.path"


def test_a_file_that_cannot_be_read_is_named_and_the_next_one_follows(
    make_product: MakeProduct, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == "1.csv":
            raise PermissionError(13, "Permission denied")
        return read(path)

    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_bytes(CSV)
    monkeypatch.setattr(Path, "read_bytes", fail)
    error, payload = fetch_with_errors(make_product(path="*.csv"), locations)
    assert isinstance(error, SourceError)
    assert isinstance(payload, Payload)
    assert str(error) == f"{tmp_path / '1.csv'}: cannot be read, Permission denied"
    assert payload.name == "2.csv"


def test_a_file_above_the_limit_is_refused_without_being_read(
    make_product: MakeProduct, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.csv").write_bytes(bytes(101))
    (tmp_path / "2.csv").write_bytes(bytes(100))
    monkeypatch.setattr(Path, "read_bytes", lambda path: bytes(100) if path.name == "2.csv" else pytest.fail("read"))
    error, payload = fetch_with_errors(make_product(path="*.csv", max_bytes=100), locations)
    assert isinstance(payload, Payload)
    assert str(error) == f"{tmp_path / '1.csv'}: 101 bytes, more than feed.source.max_bytes, 100"
    assert payload.name == "2.csv"


@pytest.mark.parametrize(
    "name", ["x.tmp", "x.csv.part", "x.partial", "x.filepart", "x.crdownload", "x.csv~", ".x.csv.q2"]
)
def test_names_of_unfinished_files_are_left_for_the_next_time(
    make_product: MakeProduct, locations: Locations, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(CSV)
    with pytest.raises(SourceError, match="no file matches"):
        fetch(make_product(path="*"), locations)
    (tmp_path / name).rename(tmp_path / "x.csv")
    assert [payload.name for payload in fetch(make_product(path="*"), locations)] == ["x.csv"]


def test_an_unfinished_name_is_read_if_it_is_the_path(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    (tmp_path / "x.part").write_bytes(CSV)
    assert len(fetch(make_product(path="x.part"), locations)) == 1


@pytest.mark.parametrize("change", [CSV * 2, CSV.replace(b"1,2", b"3,4")], ids=["longer", "of the same size"])
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(
    make_product: MakeProduct, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    read = Path.read_bytes

    def write_meanwhile(path: Path) -> bytes:
        content = read(path)
        if path.name == "2.csv":
            path.write_bytes(change)
            os.utime(path, ns=(0, 1))
        return content

    for name in ("1.csv", "2.csv", "3.csv"):
        (tmp_path / name).write_bytes(CSV + name.encode())
    product = make_product(path="*.csv")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", write_meanwhile)
        first = fetch(product, locations)
    assert [payload.name for payload in first] == ["1.csv", "3.csv"]
    later = fetch(product, locations)[1]
    assert (later.name, later.content) == ("2.csv", change)


def test_a_file_that_grew_since_it_was_listed_is_left_for_the_next_time(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_bytes(CSV + name.encode())
    source = open_source(make_product(path="*.csv").feed, locations)
    payloads = only_payloads(source.fetch(None, None, at=AT))
    assert next(payloads).name == "1.csv"
    (tmp_path / "2.csv").write_bytes(CSV * 2)
    assert list(payloads) == []


def test_a_zarr_folder_is_one_payload(tmp_path: Path) -> None:
    for name in ("b", "a"):
        folder = tmp_path / name / "x.zarr"
        (folder / "t" / "0").mkdir(parents=True)
        for part in ("t/.zarray", ".zgroup", "t/0/0") if name == "a" else ("t/0/0", ".zgroup", "t/.zarray"):
            (folder / part).write_text(part)
        (tmp_path / name / "none.zarr").mkdir()
    feed = make_feed(tmp_path, format="zarr", path="*/*.zarr")
    first, second = only_payloads(open_source(feed, read_locations(feed)).fetch(None, None, at=AT))
    assert (first.name, second.name) == ("a/x.zarr", "b/x.zarr")
    assert first.content == second.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            name: name for name in (".zgroup", "t/.zarray", "t/0/0")
        }
    (tmp_path / "a/x.zarr/t/0/0").write_text("other")
    changed, same = only_payloads(open_source(feed, read_locations(feed)).fetch(None, None, at=AT))
    assert changed.digest != same.digest == second.digest


def test_a_zarr_folder_without_a_pattern(tmp_path: Path) -> None:
    content = zarr_folder(make_dataset(), tmp_path / "x.zarr")
    feed = make_feed(tmp_path, format="zarr", path="x.zarr")
    source = open_source(feed, read_locations(feed))
    (payload,) = only_payloads(source.fetch(None, None, at=AT))
    assert source.decode(payload).rows.num_rows == 24
    limited = make_feed(tmp_path, format="zarr", path="x.zarr", max_bytes=100)
    (error,) = open_source(limited, read_locations(limited)).fetch(None, None, at=AT)
    size = sum(part.stat().st_size for part in content.rglob("*") if part.is_file())
    assert str(error) == f"{tmp_path / 'x.zarr'}: {size} bytes, more than feed.source.max_bytes, 100"


def test_a_link_out_of_the_folder_of_the_pattern_is_not_read(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "real.csv").write_bytes(CSV + folder.name.encode())
    (inside / "1.csv").symlink_to(outside / "real.csv")
    (inside / "2.csv").symlink_to("real.csv")
    (inside / "deep").symlink_to(outside)
    error, *payloads = fetch_with_errors(make_product(path="in/*.csv"), locations)
    assert str(error) == f"{inside / '1.csv'}: cannot be read, it is a link to a file outside {inside}"
    assert [payload.content for payload in only_payloads(payloads)] == [CSV + b"in"] * 2
    (deep,) = fetch_with_errors(make_product(path="in/*/*.csv"), locations)
    assert str(deep) == f"{inside / 'deep/real.csv'}: cannot be read, it is a link to a file outside {inside}"


def test_a_link_that_the_path_names_is_followed(
    make_product: MakeProduct, locations: Locations, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.csv").write_bytes(CSV)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "x.csv")
    (tmp_path / "data").symlink_to(tmp_path / "real")
    for path in ("link.csv", "data/*.csv"):
        (payload,) = fetch(make_product(path=path), locations)
        assert payload.content == CSV


@pytest.mark.parametrize("path", ["x.zarr", "*.zarr"])
def test_a_link_out_of_a_zarr_folder_is_not_read(tmp_path: Path, path: str) -> None:
    folder = zarr_folder(make_dataset(), tmp_path / "stores" / "x.zarr")
    (tmp_path / "secret").write_text("secret")
    (folder / "more").symlink_to(tmp_path / "secret")
    feed = make_feed(tmp_path, format="zarr", path=f"stores/{path}")
    (error,) = open_source(feed, read_locations(feed)).fetch(None, None, at=AT)
    home = folder if path == "x.zarr" else folder.parent
    assert str(error) == f"{folder}: cannot be read, more is a link to a file outside {home}"


def test_decoding_errors_name_the_payload(make_product: MakeProduct, locations: Locations) -> None:
    source = open_source(make_product().feed, locations)
    with pytest.raises(NoDataError, match=r"^x: the payload is empty"):
        source.decode(Payload.of("x", b""))
    with pytest.raises(ContractError, match=r"^x: column 'D' is not a station"):
        source.decode(Payload.of("x", b"time,D\n2020-01-01,1\n"))
    with pytest.raises(SourceError, match=r"^x: not readable as csv"):
        source.decode(Payload.of("x", b"\xff\n\xff\n"))


def test_ragged_lines_are_refused_beside_good_rows(make_product: MakeProduct, locations: Locations) -> None:
    decoded = open_source(make_product().feed, locations).decode(Payload.of("x", CSV + b"2020-01-01 07:00,1\n"))
    assert decoded.rows.num_rows == 2
    (row,) = decoded.refused.to_pylist()
    assert row["reason"] == "line 3 has 2 columns, not 3"
    assert json.loads(row["values"]) == {"line": "2020-01-01 07:00,1"}
    assert row["valid_time"] is None
    assert row["location"] is None


def test_the_long_layout(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(layout="long", location="station")
    content = b"station,time,wind_speed\nA,2020-01-01 06:00,1\n"
    rows = open_source(product.feed, locations).decode(Payload.of("x", content)).rows
    assert rows.column("location").to_pylist() == ["A"]


def test_a_header_alone_gives_no_rows_and_no_refusals(make_product: MakeProduct, locations: Locations) -> None:
    for layout, header in {"wide": b"time,A\n", "long": b"time,location,wind_speed\n"}.items():
        decoded = open_source(make_product(layout=layout).feed, locations).decode(Payload.of("x", header))
        assert (decoded.rows.num_rows, decoded.refused.num_rows) == (0, 0)


def test_a_wide_layout_holds_one_variable(make_product: MakeProduct, locations: Locations) -> None:
    product = make_product(variables={"wind_speed": {}, "air_temperature": {}})
    with pytest.raises(ConfigError, match=r"test: feed\.source\.layout: wide holds one variable"):
        open_source(product.feed, locations)
