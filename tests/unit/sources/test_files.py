import json
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.locations import Locations
from pipeline.sources import Payload, open_source

CSV = b"time,A,B\n2020-01-01 06:00,1,2\n"


def fetch(product, locations: Locations, seen=frozenset()) -> list[Payload]:
    return list(open_source(product, locations).fetch(seen, None, None))


def test_one_file_is_fetched_by_its_path(make_product, locations: Locations, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(CSV)
    (payload,) = fetch(make_product(), locations)
    assert (payload.name, payload.content) == ("data.csv", CSV)
    # printf 'time,A,B\n2020-01-01 06:00,1,2\n' | sha256sum
    assert payload.digest == "dd2e0c6cf9bc2d729880c0a2a6d7cf5386a094ea8d55d8b8e8dce37ba2880ffd"


def test_a_glob_is_fetched_in_order_without_hidden_files(make_product, locations: Locations, tmp_path: Path) -> None:
    for name in ("b/2.csv", "b/10.csv", "a/1.csv", "a/.part.csv", "a/x.txt", "c.csv/no"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [payload.name for payload in fetch(make_product(path="**/*.csv"), locations)]
    assert names == ["a/1.csv", "b/10.csv", "b/2.csv"]


def test_brackets_in_a_folder_are_no_pattern(make_product, locations: Locations, tmp_path: Path) -> None:
    folder = tmp_path / "run [1]"
    folder.mkdir()
    (folder / "data [2].csv").write_bytes(CSV)
    product = make_product(path="*.csv").within(folder)
    assert [payload.name for payload in fetch(product, locations)] == ["data [2].csv"]
    assert len(fetch(make_product(path="data [2].csv").within(folder), locations)) == 1


def test_seen_content_is_skipped_under_any_name(make_product, locations: Locations, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(CSV)
    product = make_product(path="*.csv")
    (first,) = fetch(product, locations)
    (tmp_path / "1.csv").rename(tmp_path / "2.csv")
    assert fetch(product, locations, {first.digest}) == []
    (tmp_path / "2.csv").write_bytes(CSV + b"2020-01-01 07:00,1,2\n")
    assert len(fetch(product, locations, {first.digest})) == 1


@pytest.mark.parametrize("path", ["none.csv", "none/*.csv", "*.parquet"])
def test_no_match_names_the_absolute_pattern(make_product, locations: Locations, tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(make_product(path=path), locations)
    assert str(caught.value) == f"{tmp_path / path}: no file matches; correct feed.source.path"


def test_a_file_that_cannot_be_read_is_named(
    make_product, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "data.csv").write_bytes(CSV)
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(SourceError, match=r"data\.csv: cannot be read, Permission denied"):
        fetch(make_product(), locations)


def test_decoding_names_the_payload_in_every_complaint(make_product, locations: Locations) -> None:
    source = open_source(make_product(), locations)
    with pytest.raises(NoDataError, match=r"^x: the payload is empty"):
        source.decode(Payload.of("x", b""))
    with pytest.raises(ContractError, match=r"^x: column 'D' is no station"):
        source.decode(Payload.of("x", b"time,D\n2020-01-01,1\n"))
    with pytest.raises(SourceError, match=r"^x: not readable as csv"):
        source.decode(Payload.of("x", b"\xff\n\xff\n"))


def test_ragged_lines_are_refused_beside_good_rows(make_product, locations: Locations) -> None:
    decoded = open_source(make_product(), locations).decode(Payload.of("x", CSV + b"2020-01-01 07:00,1\n"))
    assert decoded.rows.num_rows == 2
    (row,) = decoded.refused.to_pylist()
    assert row["reason"] == "line 3 has 2 columns, not 3"
    assert json.loads(row["values"]) == {"line": "2020-01-01 07:00,1"}
    assert row["valid_time"] is None
    assert row["location"] is None


def test_the_long_layout_is_chosen_by_the_product(make_product, locations: Locations) -> None:
    product = make_product(layout="long", location="station")
    content = b"station,time,wind_speed\nA,2020-01-01 06:00,1\n"
    rows = open_source(product, locations).decode(Payload.of("x", content)).rows
    assert rows.column("location").to_pylist() == ["A"]


def test_a_header_alone_gives_no_rows_and_no_refusals(make_product, locations: Locations) -> None:
    for layout, header in {"wide": b"time,A\n", "long": b"time,location,wind_speed\n"}.items():
        decoded = open_source(make_product(layout=layout), locations).decode(Payload.of("x", header))
        assert (decoded.rows.num_rows, decoded.refused.num_rows) == (0, 0)


def test_a_wide_layout_carries_one_variable(make_product, locations: Locations) -> None:
    product = make_product(variables={"wind_speed": {}, "air_temperature": {}})
    with pytest.raises(ConfigError, match=r"test: feed\.source\.layout: wide carries one variable"):
        open_source(product, locations)
