from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from pipeline.config import Product
from pipeline.config.sources.sql import SqlSource
from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.sources.sql import Sql
from pipeline.ingest.sources.sql.results import as_table
from pipeline.ingest.sources.sql.time_ranges import TimeRange, bounds, split_range
from pipeline.locations import Locations

QUERY = "select * from obs where time >= :since and time < :until"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
STATIONS = Locations(("A", "B"), ("Ay", "Bee"), (0.0, 1.0), (50.0, 51.0))
Open = Callable[..., Sql]


@pytest.fixture
def base(tmp_path: Path) -> sqlite3.Connection:
    """A SQLite file beside the product file, with three days of hours at two stations."""
    connection = sqlite3.connect(tmp_path / "obs.db", isolation_level=None)
    connection.execute("create table obs (time text, location text, wind_speed real, published text)")
    cells = [
        (
            f"{START + hour * HOUR:%Y-%m-%d %H:%M:%S}",
            station,
            hour / part,
            f"{START + (hour + 2) * HOUR:%Y-%m-%dT%H:%MZ}",
        )
        for hour in range(1, 73)
        for station, part in (("A", 10), ("B", 5))
    ]
    connection.execute("begin")
    connection.executemany("insert into obs values (?, ?, ?, ?)", cells)
    connection.execute("commit")
    return connection


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Opens a source whose fields are the keywords; `step`, `variables`, `covariate` and `secrets` are not its own."""

    def make(
        *,
        step: str = "1h",
        variables: dict[str, Any] | None = None,
        covariate: bool = False,
        secrets: Mapping[str, SecretStr] | None = None,
        **source: Any,
    ) -> Sql:
        feed = {
            "source": {"kind": "sql", "url": "sqlite:///obs.db", "query": QUERY} | source,
            "step": step,
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": variables or {"wind_speed": {}},
        }
        fields = {"name": "test", "feed": feed, "forecast": {"targets": list(feed["variables"])}}
        if covariate:
            fields["covariates"] = {"nwp": feed}
        product = Product.model_validate_json(json.dumps(fields)).within(tmp_path)
        source_ = open_source(product.feeds[-1], STATIONS, secrets)
        assert isinstance(source_, Sql)
        return source_

    return make


def fetch(source: Sql, since: datetime | None = None, until: datetime | None = None) -> list[Payload]:
    payloads = list(source.fetch(since, until, at=NOW))
    for payload in payloads:
        if isinstance(payload, SourceError):
            raise payload
    return payloads  # type: ignore[return-value]


def rows(source: Sql, *payloads: Payload) -> list[dict[str, Any]]:
    return [row for payload in payloads for row in source.decode(payload).rows.to_pylist()]


def test_a_time_range_includes_both_ends(base: sqlite3.Connection, opened: Open) -> None:
    source = opened(time={"format": "%Y-%m-%d %H:%M:%S"})
    (payload,) = fetch(source, START + 5 * HOUR, START + 7 * HOUR)
    assert [tuple(row.values()) for row in rows(source, payload)] == [
        (START + 5 * HOUR, "A", 0.5),
        (START + 5 * HOUR, "B", 1.0),
        (START + 6 * HOUR, "A", 0.6),
        (START + 6 * HOUR, "B", 1.2),
        (START + 7 * HOUR, "A", 0.7),
        (START + 7 * HOUR, "B", 1.4),
    ]
    assert payload.name == "sqlite:///obs.db 2024-01-01T05:00Z to 2024-01-01T07:00Z"


@pytest.mark.parametrize("written", ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ"])
def test_sqlite_is_queried_by_whole_days_for_every_time_format(
    base: sqlite3.Connection, opened: Open, written: str
) -> None:
    base.execute("update obs set time = strftime(?, time)", (written,))
    source = opened(chunk="1d")
    payload, following = fetch(source, START + 5 * HOUR, START + 24 * HOUR)
    assert [row["valid_time"] for row in rows(source, payload)][::2] == [START + n * HOUR for n in range(1, 24)]
    assert [row["valid_time"] for row in rows(source, following)][::2] == [START + n * HOUR for n in range(24, 48)]


def test_an_open_range_covers_all_rows_and_chunks_do_not_overlap(base: sqlite3.Connection, opened: Open) -> None:
    source = opened(chunk="1d")
    payloads = fetch(source)
    assert [source.decode(payload).rows.num_rows for payload in payloads] == [46, 48, 48, 2]
    assert len({(row["valid_time"], row["location"]) for row in rows(source, *payloads)}) == 144


def test_equal_results_have_equal_bytes_in_any_order_of_rows(base: sqlite3.Connection, opened: Open) -> None:
    (before,) = fetch(opened(), START, START + DAY)
    base.execute("create table other as select * from obs order by location desc, time desc")
    base.execute("drop table obs")
    base.execute("alter table other rename to obs")
    (after,) = fetch(opened(), START, START + DAY)
    assert after.digest == before.digest
    base.execute("update obs set wind_speed = 9 where time = '2024-01-01 03:00:00' and location = 'A'")
    (changed,) = fetch(opened(), START, START + DAY)
    assert changed.digest != before.digest


def test_rows_may_carry_known_at(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("update obs set published = null where time = '2024-01-01 01:00:00' and location = 'B'")
    source = opened(known_at="published")
    (payload,) = fetch(source, START, START + HOUR)
    decoded = source.decode(payload)
    assert decoded.rows.num_rows == 45
    assert decoded.rows.to_pylist()[0] == {
        "valid_time": START + HOUR,
        "location": "A",
        "known_at": START + 3 * HOUR,
        "wind_speed": 0.1,
    }
    assert decoded.refused["reason"].to_pylist() == [
        "published has no time stamp, so it is unknown when the row became known"
    ]
    assert json.loads(decoded.refused["values"][0].as_py())["wind_speed"] == 0.2


def test_known_at_in_a_repeated_hour_is_the_later_time(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("update obs set published = '2023-10-29 01:30'")  # 00:30 and 01:30 UTC
    source = opened(known_at="published", time={"zone": "Europe/Dublin"})
    (payload,) = fetch(source, START, START + HOUR)
    assert {row["known_at"] for row in rows(source, payload)} == {datetime(2023, 10, 29, 1, 30, tzinfo=UTC)}


def test_covariates_need_known_at(opened: Open) -> None:
    with pytest.raises(ConfigError, match=r"test.nwp: source.known_at: missing.*name the column"):
        opened(covariate=True)
    assert opened(covariate=True, known_at="published").about.supports_time_range


def test_days_labelled_by_their_start_are_queried_by_it(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("create table days (day text, location text, wind_speed real)")
    base.executemany("insert into days values (?, 'A', ?)", [("2024-01-01", 1), ("2024-01-02", 2), ("2024-01-03", 3)])
    source = opened(
        step="1d",
        query="select * from days where day >= :since and day < :until",
        time={"columns": ["day"], "label": "start"},
    )
    (payload,) = fetch(source, START + 2 * DAY, START + 2 * DAY)
    assert rows(source, payload) == [{"valid_time": START + 2 * DAY, "location": "A", "wind_speed": 2.0}]


@pytest.mark.parametrize("label", ["start", "end"])
def test_months_are_queried_by_every_time_stamp_within_them(base: sqlite3.Connection, opened: Open, label: str) -> None:
    base.execute("create table months (day text, location text, wind_speed real)")
    days = ["2023-12-15", "2024-01-02", "2024-01-31", "2024-02-02", "2024-03-29", "2024-04-15"]
    base.executemany("insert into months values (?, 'A', ?)", [(day, index) for index, day in enumerate(days)])
    source = opened(
        step="month",
        query="select * from months where day >= :since and day < :until",
        time={"columns": ["day"], "label": label},
    )
    february, april = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    found = [row for payload in fetch(source, february, april) for row in rows(source, payload)]
    within = [row["wind_speed"] for row in found if february <= row["valid_time"] <= april]
    assert within == [1.0, 2.0, 3.0, 4.0]


def test_a_date_and_an_hour_column_are_queried_by_whole_days(base: sqlite3.Connection, opened: Open) -> None:
    base.execute(
        "create table split as select substr(time, 1, 10) day, substr(time, 12, 2) hour, location, wind_speed from obs"
    )
    source = opened(
        query="select * from split where day >= :since and day < :until", time={"columns": ["day", "hour"]}, chunk="1d"
    )
    found = rows(source, *fetch(source, START + 30 * HOUR, START + 31 * HOUR))
    assert {row["valid_time"] for row in found} >= {START + 30 * HOUR, START + 31 * HOUR}
    assert len({(row["valid_time"], row["location"]) for row in rows(source, *fetch(source))}) == 144


def test_seconds_since_1970_are_queried_as_numbers(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("create table seconds as select unixepoch(time) time, location, wind_speed from obs")
    source = opened(query=QUERY.replace("obs", "seconds"), time={"format": "%s"})
    assert len(rows(source, *fetch(source, START + 5 * HOUR, START + 6 * HOUR))) == 4
    assert len(rows(source, *fetch(source))) == 144


def test_words_in_a_numeric_column_are_refused_row_by_row(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("update obs set wind_speed = 'calm?' where time = '2024-01-01 01:00:00' and location = 'B'")
    source = opened()
    (payload,) = fetch(source, START, START + HOUR)
    decoded = source.decode(payload)
    assert decoded.rows["wind_speed"].to_pylist()[:2] == [0.1, 0.2]
    assert decoded.refused["reason"].to_pylist() == ["wind_speed: 'calm?' is not a number"]


def test_a_tidy_result(base: sqlite3.Connection, opened: Open) -> None:
    base.execute("create table tidy as select time, location, 'wind_speed' variable, wind_speed value from obs")
    source = opened(query=QUERY.replace("obs", "tidy"), layout="tidy")
    assert len(rows(source, *fetch(source, START, START + 2 * HOUR))) == 46


def test_a_range_without_rows_gives_no_payload(base: sqlite3.Connection, opened: Open) -> None:
    assert fetch(opened(), datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 2, 1, tzinfo=UTC)) == []
    base.execute("delete from obs")
    assert fetch(opened()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"url": "sqlite:///none.db"}, "sqlite:///none.db: cannot connect, unable to open database file"),
        ({"query": QUERY.replace("obs", "obz")}, "sqlite:///obs.db: the query failed, no such table: obz"),
        ({"query": QUERY.replace("*", "speed")}, "sqlite:///obs.db: the query failed, no such column: speed"),
        ({"query": "delete from obs where time >= :since and time < :until"}, "attempt to write a readonly database"),
    ],
)
def test_a_database_error_is_one_line(
    base: sqlite3.Connection, opened: Open, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(opened(**source), START, START + DAY)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert base.execute("select count(*) from obs").fetchone() == (144,)


def test_a_missing_file_is_not_created(tmp_path: Path, opened: Open) -> None:
    with pytest.raises(SourceError):
        fetch(opened())
    assert list(tmp_path.iterdir()) == []


def test_a_result_with_too_many_rows_is_an_error_and_the_next_chunk_follows(
    base: sqlite3.Connection, opened: Open
) -> None:
    base.execute("delete from obs where time > '2024-01-02 00:00:00' and location = 'A'")
    first, *others = opened(chunk="1d", max_rows=40).fetch(None, None, at=NOW)
    assert str(first) == (
        "sqlite:///obs.db: more than 40 rows; shorten feed.source.chunk or increase max_rows "
        "(time stamps 2024-01-01T00:00Z to 2024-01-01T23:59Z)"
    )
    assert [isinstance(other, Payload) for other in others] == [True, True, True]


def test_an_endless_query_ends(base: sqlite3.Connection, opened: Open) -> None:
    endless = (
        "with recursive n(x) as (select 1 union all select x + 1 from n) select x, :since, :until from n where x < 0"
    )
    source = opened(query=endless, timeout="1s")
    (error,) = source.fetch(START, START + DAY, at=NOW)
    assert "the query took longer than 1 s; shorten feed.source.chunk or increase timeout" in str(error)


def test_a_truncated_and_an_empty_payload(base: sqlite3.Connection, opened: Open) -> None:
    source = opened()
    (payload,) = fetch(source, START, START + DAY)
    with pytest.raises(SourceError, match="not readable as parquet"):
        source.decode(Payload.of("torn", payload.content[:-50]))
    with pytest.raises(NoDataError, match="empty"):
        source.decode(Payload.of("empty", b""))


def test_a_missing_column(base: sqlite3.Connection, opened: Open) -> None:
    for fields, message in (
        ({"location": "station"}, "no column 'station'"),
        ({"known_at": "publish"}, "did you mean 'published'"),
    ):
        source = opened(**fields)
        (payload,) = fetch(source, START, START + DAY)
        with pytest.raises(ContractError, match=message):
            source.decode(payload)


def test_two_columns_of_one_name_are_refused(base: sqlite3.Connection, opened: Open) -> None:
    with pytest.raises(ConfigError, match="'time'; rename one with AS"):
        fetch(opened(query=QUERY.replace("*", "time, location, wind_speed, time")), START, START + DAY)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    with pytest.raises(
        ConfigError, match=r"source.url: the Python package oracledb is not installed; install oracledb"
    ):
        fetch(opened(url="oracle+oracledb://reader@host/base"))
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"package psycopg is not installed; .*pip install 'nightcast\[postgres\]'"):
        fetch(opened(url="postgresql://reader@host/base"))
    with pytest.raises(ConfigError, match="SQLAlchemy does not support 'nonsense'"):
        fetch(opened(url="nonsense://reader@host/base"))
    with pytest.raises(ConfigError, match="the URL has no file name"):
        fetch(opened(url="sqlite://"))


def test_a_password_is_a_secret(opened: Open) -> None:
    source = opened(url="postgresql://reader@127.0.0.1:1/base", password="pg")  # noqa: S106
    assert source.about.secrets == ("pg",)
    with pytest.raises(ConfigError, match="the secret 'pg' is not set; set NIGHTCAST_SECRETS__PG"):
        fetch(source)
    hush = {"pg": SecretStr("127.0.0.1")}  # as if the driver repeated it
    with pytest.raises(SourceError, match="cannot connect") as caught:
        fetch(opened(url="postgresql://reader@127.0.0.1:1/base", password="pg", secrets=hush))  # noqa: S106
    assert "127.0.0.1" not in str(caught.value).removeprefix("postgresql://127.0.0.1:1/base")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "postgresql://reader:hush@host/base"}, "contains a password; store it as a secret"),
        ({"url": "postgresql://host/base?password=hush"}, "contains a password; store it as a secret"),
        ({"url": "obs.db"}, "not a valid URL; write e.g. postgresql"),
        ({"url": "postgresql://[/base"}, "not a valid URL; write e.g. postgresql"),
        ({"query": "select :since::date, :until"}, "':since' is missing; limit the query in time"),
        ({"query": "select 1"}, "':since' is missing; limit the query in time"),
        ({"query": "select :since"}, "':until' is missing; limit the query in time"),
        ({"query": "select :since, :until, :at"}, "':at' is not a known parameter; use :since and :until"),
        ({"chunk": "0.5s"}, "0.5 s is too short"),
    ],
)
def test_mistakes_in_the_product_file(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlSource.model_validate_json(json.dumps({"kind": "sql", "url": "sqlite:///obs.db", "query": QUERY} | fields))
    assert message in caught.value.errors()[0]["msg"]


def test_times_of_day_and_casts_are_not_parameters() -> None:
    query = "select time::date, '06:30' from obs where time >= :since and time < :until and note = '\\:x'"
    spec = SqlSource(kind="sql", url="sqlite:///obs.db", query=query)
    assert spec.query == query


def spec_of(**fields: Any) -> SqlSource:
    return SqlSource.model_validate_json(
        json.dumps({"kind": "sql", "url": "sqlite:///obs.db", "query": QUERY} | fields)
    )


@given(
    seconds=st.integers(0, 2_000_000_000),
    span=st.timedeltas(timedelta(0), timedelta(days=90)),
    chunk=st.sampled_from(["1h", "1d", "7d", "30d"]),
)
def test_ranges_join_without_gap_or_overlap_and_cut_at_the_same_edges(
    seconds: int, span: timedelta, chunk: str
) -> None:
    first = datetime.fromtimestamp(seconds, UTC)
    last = first + span
    if chunk == "1h":
        last = min(last, first + 5 * DAY)
    found = list(split_range(spec_of(chunk=chunk), "postgresql", HOUR, first, last))
    assert found[0].after < first
    assert found[0].after == first - timedelta(microseconds=1)
    assert found[-1].by == last
    assert [one.by for one in found[:-1]] == [one.after for one in found[1:]]
    width = spec_of(chunk=chunk).chunk
    assert all((one.by - datetime(1970, 1, 1, tzinfo=UTC)) % width == timedelta(0) for one in found[:-1])


@pytest.mark.parametrize(
    ("time_", "backend", "since", "until"),
    [
        ({}, "postgresql", datetime(2024, 7, 1, 0, 0, 0, 1, UTC), datetime(2024, 7, 2, 0, 0, 0, 1, UTC)),
        ({"zone": "Europe/Dublin"}, "mysql", datetime(2024, 7, 1, 1, 0, 0, 1), datetime(2024, 7, 2, 1, 0, 0, 1)),  # noqa: DTZ001
        ({"format": "%Y-%m-%d %H"}, "sqlite", "2024-07-01 01", "2024-07-02 01"),
        ({"format": "%Y-%m-%dT%H:%MZ"}, "postgresql", "2024-07-01T00:01Z", "2024-07-02T00:01Z"),
        ({"format": "%s"}, "sqlite", 1719792001, 1719878401),
    ],
)
def test_bounds_have_the_form_of_the_columns(time_: dict[str, Any], backend: str, since: object, until: object) -> None:
    stamps = TimeRange(datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 7, 2, tzinfo=UTC))
    assert bounds(spec_of(time=time_), backend, stamps) == {"since": since, "until": until}


@pytest.mark.parametrize(
    ("time_", "since", "until"),
    [
        ({}, "2024-06-30", "2024-07-02"),
        ({"zone": "Pacific/Auckland"}, "2024-06-30", "2024-07-02"),
        ({"zone": "America/Lima"}, "2024-06-29", "2024-07-01"),
        ({"format": "%d/%m/%Y"}, "30/06/2024", "02/07/2024"),
        ({"columns": ["day", "hour"]}, "2024-06-30", "2024-07-02"),
    ],
)
def test_whole_days_are_those_of_the_zone(time_: dict[str, Any], since: str, until: str) -> None:
    spec = spec_of(time=time_)
    first, last = datetime(2024, 6, 30, 1, tzinfo=UTC), datetime(2024, 7, 1, 4, tzinfo=UTC)
    found = [bounds(spec, "sqlite", one) for one in split_range(spec, "sqlite", HOUR, first, last)]
    assert found == [{"since": since, "until": until}]


def test_labels_zones_and_resampling_query_earlier_time_stamps() -> None:
    def first(step: timedelta, **fields: Any) -> datetime:
        (stamps,) = split_range(spec_of(time=fields), "postgresql", step, START + 6 * HOUR, START + 6 * HOUR)
        return stamps.after + timedelta(microseconds=1)

    assert first(HOUR) == START + 6 * HOUR
    assert first(HOUR, label="start") == START + 5 * HOUR
    assert first(HOUR, resample="30min") == START + timedelta(hours=5, minutes=30)
    assert first(HOUR, zone="Europe/Dublin") == START + 5 * HOUR
    assert first(DAY, label="start", day_starts="6h") == START - 42 * HOUR


def test_results_keep_their_types() -> None:
    batches: list[list[tuple[Any, ...]]] = [
        [(datetime(2024, 1, 2, tzinfo=UTC), date(2024, 1, 2), time(6, 30), Decimal("1.50"), 1, "b", None, True)],
        [(datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1), None, Decimal("10.25"), 2.5, "a", 7, None)],
    ]
    table = as_table(["at", "day", "hour", "exact", "number", "name", "late", "flag"], batches, ["at"])
    assert table.to_pylist() == [
        {
            "at": datetime(2024, 1, 1, tzinfo=UTC),
            "day": date(2024, 1, 1),
            "hour": None,
            "exact": Decimal("10.25"),
            "number": 2.5,
            "name": "a",
            "late": 7,
            "flag": None,
        },
        {
            "at": datetime(2024, 1, 2, tzinfo=UTC),
            "day": date(2024, 1, 2),
            "hour": "06:30:00.000000",
            "exact": Decimal("1.50"),
            "number": 1.0,
            "name": "b",
            "late": None,
            "flag": "True",
        },
    ]
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert pa.types.is_decimal(table.schema.field("exact").type)


def test_values_without_a_common_type_are_text_also_across_batches() -> None:
    table = as_table(["mixed", "huge", "nan"], [[(1, 2**70, Decimal("NaN"))], [("x", 1, Decimal(1))]], [])
    assert table.to_pylist() == [
        {"mixed": "1", "huge": "1180591620717411303424", "nan": "NaN"},
        {"mixed": "x", "huge": "1", "nan": "1"},
    ]


def test_an_empty_result_has_its_columns() -> None:
    assert as_table(["a", "b"], [], ["a"]).column_names == ["a", "b"]
