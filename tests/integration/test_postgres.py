"""The `sql` source on a real PostgreSQL."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from pipeline.config import Product, Settings, load_product
from pipeline.errors import SourceError
from pipeline.ingest.decoding.parquet import from_parquet
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.sources import Payload, open_source
from pipeline.ingest.sources.sql import Sql
from pipeline.locations import read_locations
from pipeline.workspace import Workspace
from tests import jobs
from tests.integration.conftest import Postgres

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
QUERY = "select * from obs where time >= :since and time < :until"
MakeProduct = Callable[..., Product]


@pytest.fixture
def base(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """The database with a fresh table of 60 days of hours at two stations, seen by its owner."""
    login = f"host=127.0.0.1 port={postgres.port} user=owner password={postgres.owner} dbname=obs"
    with psycopg.connect(login, autocommit=True) as connection:
        connection.execute("drop schema public cascade; create schema public; grant all on schema public to reader")
        connection.execute(
            "create table obs (time timestamptz, location text, wind_speed numeric(6, 2), published timestamptz)"
        )
        connection.execute(
            "insert into obs select t, s, extract(hour from t at time zone 'UTC') + n, t + interval '2 hours' "
            "from generate_series(%s, %s, interval '1 hour') t, (values ('A', 0), ('B', 0.25)) as station (s, n)",
            (START + HOUR, START + 60 * DAY),
        )
        connection.execute("grant all on all tables in schema public to reader")
        yield connection


@pytest.fixture
def make(postgres: Postgres, tmp_path: Path) -> MakeProduct:
    """Writes and loads a product whose source fields are the keywords."""

    def product(*, step: str = "1h", **source: Any) -> Product:
        (tmp_path / "stations.csv").write_text("id,name,longitude,latitude\nA,Ay,0,50\nB,Bee,1,51\n")
        feed = {
            "source": {"kind": "sql", "url": postgres.url, "password": "pg", "query": QUERY} | source,
            "step": step,
            "delay": "2h",
            "locations": {"kind": "stations", "path": "stations.csv"},
            "variables": {"wind_speed": {}},
        }
        fields = {"name": "test", "feed": feed, "forecast": {"targets": ["wind_speed"]}}
        (tmp_path / "product.yaml").write_text(json.dumps(fields))
        return load_product(tmp_path / "product.yaml")

    return product


def opened(product: Product, password: str = "reader-password") -> Sql:  # noqa: S107
    source = open_source(product.feed, read_locations(product.feed), {"pg": SecretStr(password)})
    assert isinstance(source, Sql)
    return source


def fetch(source: Sql, since: datetime | None = None, until: datetime | None = None) -> list[Payload]:
    payloads = []
    for one in source.fetch(since, until, at=NOW):
        assert not isinstance(one, SourceError), one
        payloads.append(one)
    return payloads


def keys(source: Sql, payloads: list[Payload]) -> list[tuple[datetime, str]]:
    decoded = [source.decode(payload).rows for payload in payloads]
    return [(row["valid_time"], row["location"]) for rows in decoded for row in rows.to_pylist()]


def test_answers_are_typed_and_become_rows(base: psycopg.Connection[Any], make: MakeProduct) -> None:
    source = opened(make(known_at="published"))
    (payload,) = fetch(source, START + 5 * HOUR, START + 6 * HOUR)
    table = from_parquet(payload)
    assert table.schema.field("time").type == pa.timestamp("us", tz="UTC")
    assert table["wind_speed"].to_pylist() == [Decimal("5.00"), Decimal("5.25"), Decimal("6.00"), Decimal("6.25")]
    assert [tuple(row.values()) for row in source.decode(payload).rows.to_pylist()] == [
        (START + 5 * HOUR, "A", START + 7 * HOUR, 5.0),
        (START + 5 * HOUR, "B", START + 7 * HOUR, 5.25),
        (START + 6 * HOUR, "A", START + 8 * HOUR, 6.0),
        (START + 6 * HOUR, "B", START + 8 * HOUR, 6.25),
    ]


def test_an_open_window_gives_every_row_once_in_chunks(base: psycopg.Connection[Any], make: MakeProduct) -> None:
    source = opened(make(chunk="7d"))
    payloads = fetch(source)
    assert len(payloads) == 9  # cut on Thursdays, as 1970 began on one: 7 March to 25 April
    assert sorted(keys(source, payloads)) == [(START + n * HOUR, s) for n in range(1, 60 * 24 + 1) for s in "AB"]


def test_equal_answers_have_equal_bytes_whatever_order_the_server_has(
    base: psycopg.Connection[Any], make: MakeProduct
) -> None:
    before = fetch(opened(make()))
    base.execute("create index by_speed on obs (wind_speed, location desc)")
    base.execute("cluster obs using by_speed")
    assert [payload.digest for payload in fetch(opened(make()))] == [payload.digest for payload in before]


@pytest.mark.parametrize("time_zone", ["UTC", "Europe/Dublin", "Pacific/Auckland"])
def test_times_without_a_zone_are_compared_in_the_zone_of_the_feed(
    base: psycopg.Connection[Any], make: MakeProduct, time_zone: str
) -> None:
    base.execute(f"create table naive as select time at time zone '{time_zone}' as time, location, wind_speed from obs")  # noqa: S608
    base.execute("grant select on naive to reader; alter role reader set timezone to 'America/Lima'")
    source = opened(make(query=QUERY.replace("obs", "naive"), time={"zone": time_zone}, chunk="1d"))
    since, until = START + 29 * DAY, START + 31 * DAY  # over the switch to summer time in Dublin
    found = keys(source, fetch(source, since, until))
    assert set(found) >= {(since + n * HOUR, s) for n in range(49) for s in "AB"}
    assert len(found) == len(set(found))
    assert min(found)[0] >= since - HOUR
    assert max(found)[0] == until


def test_days_that_are_named_by_their_start_end_at_midnight_of_the_zone(
    base: psycopg.Connection[Any], make: MakeProduct
) -> None:
    base.execute(
        "create table days as select (time at time zone 'Europe/Dublin')::date as time, location, "
        "avg(wind_speed) as wind_speed from obs group by 1, 2"
    )
    base.execute("grant select on days to reader")
    query = QUERY.replace("obs", "days")
    source = opened(make(step="1d", query=query, time={"zone": "Europe/Dublin", "label": "start"}))
    midnights = [
        datetime(2024, 3, 31, tzinfo=UTC),
        datetime(2024, 3, 31, 23, tzinfo=UTC),
        datetime(2024, 4, 1, 23, tzinfo=UTC),
    ]
    found = keys(source, fetch(source, midnights[0], midnights[2]))
    assert [key for key in found if key[0] >= midnights[0]] == [(at, s) for at in midnights for s in "AB"]


def test_nothing_can_be_written(base: psycopg.Connection[Any], make: MakeProduct) -> None:
    base.execute("create sequence count; grant all on sequence count to reader")
    base.execute("create function wipe() returns int language sql as 'delete from obs; select 1'")
    base.execute("grant execute on function wipe to reader")
    for column, said in (("nextval('count')", "nextval()"), ("wipe()", "DELETE")):
        source = opened(make(query=QUERY.replace("*", f"{column}, obs.*")))
        with pytest.raises(SourceError, match="in a read-only transaction") as caught:
            fetch(source, START, START + DAY)
        assert said in str(caught.value)
    for query in (
        "delete from obs where time >= :since and time < :until returning *",
        QUERY.replace(":until", ":until; delete from obs"),
    ):
        with pytest.raises(SourceError, match="the query failed"):
            fetch(opened(make(query=query)), START, START + DAY)
    assert base.execute("select count(*) from obs").fetchone() == (2 * 60 * 24,)


def test_a_slow_query_is_stopped_and_the_next_chunk_follows(
    base: psycopg.Connection[Any], make: MakeProduct, postgres: Postgres
) -> None:
    slow = "select obs.* from obs, lateral (select case when time = '2024-03-02 12:00Z' then pg_sleep(30) end) s "
    source = opened(make(query=f"{slow} where time >= :since and time < :until", timeout="1s", chunk="1d"))
    found = list(source.fetch(START, START + 3 * DAY, at=NOW))
    assert [isinstance(one, Payload) for one in found] == [True, False, True]
    assert str(found[1]) == (
        f"postgresql://127.0.0.1:{postgres.port}/obs: the query took longer than 1 s; shorten feed.source.chunk or "
        "increase timeout (time stamps 2024-03-02T00:00Z to 2024-03-03T00:00Z)"
    )


def test_the_server_keeps_what_was_not_fetched_yet(base: psycopg.Connection[Any], make: MakeProduct) -> None:
    source = opened(make(query=QUERY.replace("*", "time, location, (select count(*) from pg_cursors) as cursors")))
    (payload,) = fetch(source, START, START + HOUR)
    assert from_parquet(payload)["cursors"].to_pylist() == [1, 1]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (QUERY.replace("obs", "obz"), 'the query failed, relation "obz" does not exist'),
        (QUERY.replace("*", "speed"), 'the query failed, column "speed" does not exist'),
        (QUERY.replace("where", "were"), "the query failed, syntax error at or near"),
    ],
)
def test_what_the_server_refuses_is_one_line(
    base: psycopg.Connection[Any], make: MakeProduct, query: str, said: str
) -> None:
    for window in ((START, START + DAY), (None, None)):
        with pytest.raises(SourceError) as caught:
            fetch(opened(make(query=query)), *window)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_no_password_is_in_any_error(base: psycopg.Connection[Any], make: MakeProduct, postgres: Postgres) -> None:
    with pytest.raises(SourceError, match=r"cannot connect, .*password authentication failed") as caught:
        fetch(opened(make(), password="hush" * 2))
    assert "hushhush" not in "".join(traceback.format_exception(caught.value))
    elsewhere = postgres.url.replace(f":{postgres.port}", ":1")
    with pytest.raises(SourceError, match=r"cannot connect, .*Connection refused"):
        fetch(opened(make(url=elsewhere)))


def test_a_percent_sign_and_a_colon_are_what_they_are(base: psycopg.Connection[Any], make: MakeProduct) -> None:
    source = opened(make(query=f"{QUERY} and location like '%B' and time::date <> '2024-03-02' and '6:30' > '6'"))
    found = keys(source, fetch(source, START, START + 2 * DAY))
    assert {station for _, station in found} == {"B"}
    assert len(found) == 24


def test_ingest_takes_in_what_is_new_late_or_changed(
    base: psycopg.Connection[Any], make: MakeProduct, tmp_path: Path
) -> None:
    product = make()
    settings = Settings.model_construct(
        home=tmp_path / "home", tracking_uri="", secrets={"pg": SecretStr("reader-password")}
    )
    first = START + 30 * DAY
    assert jobs.ingest(Workspace(product, settings), at=first).added == 2 * 30 * 24
    again = jobs.ingest(Workspace(product, settings), at=first)
    assert (again.payloads, again.added, again.unchanged) == (1, 0, 2 * 49)  # the last two days are asked for again
    assert jobs.ingest(Workspace(product, settings), at=first).payloads == 0

    base.execute("update obs set wind_speed = 99 where time = %s and location = 'A'", (first - 5 * HOUR,))
    later = jobs.ingest(Workspace(product, settings), at=first + 6 * HOUR)
    assert (later.added, later.revised, later.refused) == (2 * 6, 1, 0)
    rows = (
        OpenFeed(product.feed, settings).observations.read(since=first - 5 * HOUR, until=first - 5 * HOUR).to_pylist()
    )
    assert [(row["location"], row["wind_speed"], row["known_at"]) for row in rows] == [
        ("A", 19.0, first - 3 * HOUR),
        ("A", 99.0, first + 6 * HOUR),
        ("B", 19.25, first - 3 * HOUR),
    ]
