import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pipeline.config.sources.open_meteo import OpenMeteoSource
from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.ingest.feed import OpenFeed
from pipeline.ingest.fetch import fetch_payloads, time_ranges_to_query
from pipeline.ingest.payload import PayloadResult, ingest_payload
from pipeline.ingest.sources import Decoded, Payload, open_source
from pipeline.ingest.sources.open_meteo.source import OpenMeteo
from pipeline.locations import Locations
from tests.http_world import PLACES, FakeClock, make_feed
from tests.unit.ingest.conftest import only_payloads
from tests.world import make_settings

AT = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ALPHA, BETA, GAMMA = ((50.1, 0.1), (51.1, 1.1), (52.1, -0.9))  # the middle of a cell is near its point
SIX = int(datetime(2026, 11, 20, 6, tzinfo=UTC).timestamp())


def opened(
    covariate: str = "",
    *,
    locations: Locations = PLACES,
    secrets: dict[str, SecretStr] | None = None,
    fields: dict[str, Any] | None = None,
    **source: Any,
) -> OpenMeteo:
    feed = make_feed({"kind": "open-meteo", "endpoint": "historical"} | source, covariate=covariate, **(fields or {}))
    assert isinstance(feed.source, OpenMeteoSource)
    return OpenMeteo(feed, feed.source, locations, secrets or {}, clock=FakeClock().clock)


def point(
    place: tuple[float, float],
    number: int = 0,
    *,
    times: list[Any] | None = None,
    units: dict[str, str | None] | None = None,
    block: str = "hourly",
    **columns: Any,
) -> dict[str, Any]:
    """Return an object as in a response of Open-Meteo."""
    columns = columns or {"wind_speed_10m": [3.5, 4.25]}
    units_by_kind = {"wind": "m/s", "temperature": "°C", "precipitation": "mm"}
    usual = {name: "°" if "direction" in name else units_by_kind[name.partition("_")[0]] for name in columns}
    return {
        "latitude": place[0],
        "longitude": place[1],
        "generationtime_ms": 0.1,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 38.0,
        **({"location_id": number} if number else {}),
        f"{block}_units": {"time": "unixtime", **usual, **(units or {})},
        block: {"time": times or [SIX, SIX + 3600], **columns},
    }


def payload(answer: Any, *, locations: tuple[str, ...] = ("A", "B", "C"), at: datetime = AT, **context: str) -> Payload:
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    defaults = {"at": at.isoformat(), "locations": json.dumps(locations), "media_type": "application/json"}
    return Payload.of("x", content, defaults | context)


def as_bytes(answer: Any) -> bytes:
    return json.dumps(answer).encode()


def one(answer: dict[str, Any] | bytes, **context: Any) -> Payload:
    return payload(answer, locations=("A",), **context)


def rows(decoded: Decoded) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in decoded.rows.to_pylist()]


def stamp(hours: int = 0) -> datetime:
    return datetime(2026, 11, 20, 6, tzinfo=UTC) + hours * HOUR


Ask = Callable[..., list[dict[str, str]]]


class TestRequests:
    @pytest.fixture
    def queries(self, httpserver: HTTPServer) -> Ask:
        """Fetch from a server without data and return the query parameters of each request."""
        httpserver.expect_request("/v1").respond_with_json({})

        def ask(
            covariate: str = "",
            since: datetime | None = None,
            until: datetime | None = None,
            *,
            at: datetime = AT,
            **arguments: Any,
        ) -> list[dict[str, str]]:
            source = opened(covariate, url=httpserver.url_for("/v1"), **arguments)
            list(source.fetch(since, until, at=at))
            return [request.args.to_dict() for request, _ in httpserver.log]

        return ask

    def test_many_locations_are_requested_at_once(self, queries: Ask) -> None:
        (query,) = queries(since=AT - 3 * DAY, fields={"variables": {"wind_speed": {}, "air_temperature": {}}})
        assert query == {
            "latitude": "50.00000,51.00000,52.00000",
            "longitude": "0.00000,1.00000,-1.00000",
            "hourly": "wind_speed_10m,temperature_2m",
            "start_date": "2026-11-18",
            "end_date": "2026-11-20",
            "timeformat": "unixtime",
            "timezone": "GMT",
            "wind_speed_unit": "ms",
            "cell_selection": "land",
        }

    def test_a_time_range_is_divided_into_days_and_locations(self, queries: Ask) -> None:
        since, until = datetime(2026, 1, 30, 23, tzinfo=UTC), datetime(2026, 2, 3, 0, tzinfo=UTC)
        asked = queries(since=since, until=until, chunk="2d", points=2)
        windows = [(query["start_date"], query["end_date"], query["latitude"].count(",") + 1) for query in asked]
        assert windows == [
            ("2026-01-30", "2026-01-31", 2),
            ("2026-01-30", "2026-01-31", 1),
            ("2026-02-01", "2026-02-02", 2),
            ("2026-02-01", "2026-02-02", 1),
            ("2026-02-03", "2026-02-03", 2),
            ("2026-02-03", "2026-02-03", 1),
        ]

    @pytest.mark.parametrize(
        ("covariate", "endpoint", "first", "last"),
        [
            ("", "forecast", "2026-08-21", "2026-11-21"),  # 92 days back, and nothing that is yet to be observed
            ("nwp", "forecast", "2026-08-21", "2026-11-28"),
            ("", "historical", "1940-12-12", "2026-11-20"),  # today is refused by the archive
            ("", "historical-forecast", "2021-11-22", "2026-11-21"),
            ("nwp", "previous-runs", "2024-02-25", "2026-11-23"),
        ],
    )
    def test_an_open_range_is_what_the_endpoint_keeps(
        self, queries: Ask, covariate: str, endpoint: str, first: str, last: str
    ) -> None:
        asked = queries(covariate, endpoint=endpoint, chunk="40000d")
        assert [query["end_date"] for query in asked] == [last]
        assert asked[0]["start_date"].startswith(first)

    @pytest.mark.parametrize(
        ("endpoint", "first"),
        [("forecast", "2026-08-21"), ("historical", "1940-01-01"), ("historical-forecast", "2016-01-01")],
    )
    def test_days_before_the_archive_are_not_requested(self, queries: Ask, endpoint: str, first: str) -> None:
        (query,) = queries(since=datetime(1900, 1, 1, tzinfo=UTC), endpoint=endpoint, chunk="50000d")
        assert query["start_date"] == first

    def test_a_range_without_data_is_an_error(self, queries: Ask) -> None:
        with pytest.raises(SourceError, match=r"has no data for 2025-01-01 00:00 to 2025-01-02 00:00"):
            since = datetime(2025, 1, 1, tzinfo=UTC)
            queries(since=since, until=since + DAY, endpoint="forecast")

    def test_forecasts_are_requested_up_to_the_horizon(self, queries: Ask) -> None:
        assert queries("nwp", since=AT, endpoint="forecast", horizon="3d")[0]["end_date"] == "2026-11-24"

    def test_previous_runs_are_requested_by_day(self, queries: Ask) -> None:
        (query,) = queries("nwp", since=AT - DAY, endpoint="previous-runs", previous_days=[1, 3])
        assert query["hourly"] == "wind_speed_10m_previous_day1,wind_speed_10m_previous_day3"
        assert query["end_date"] == "2026-11-24"

    def test_quarter_hours_have_a_separate_block(self, queries: Ask) -> None:
        (query,) = queries(since=AT - DAY, endpoint="forecast", fields={"step": "15min"})
        assert (query.get("minutely_15"), query.get("hourly")) == ("wind_speed_10m", None)

    def test_model_and_cell_are_those_of_the_product(self, queries: Ask) -> None:
        (query,) = queries(since=AT - DAY, model="ecmwf_ifs025", cell="sea")
        assert (query["models"], query["cell_selection"]) == ("ecmwf_ifs025", "sea")

    def test_wind_components_request_speed_and_direction_once(self, queries: Ask) -> None:
        variables: dict[str, Any] = {"eastward_wind": {}, "northward_wind": {}, "wind_speed": {}}
        (query,) = queries(since=AT - DAY, fields={"variables": variables})
        assert query["hourly"] == "wind_speed_10m,wind_direction_10m"


class TestFetching:
    def test_a_payload_carries_its_locations_and_time(self, httpserver: HTTPServer) -> None:
        httpserver.expect_request("/v1").respond_with_data(b"[]", content_type="application/json; charset=utf-8")
        (got,) = only_payloads(opened(url=httpserver.url_for("/v1")).fetch(AT - DAY, AT, at=AT))
        assert got.content == b"[]"
        assert got.context == {
            "at": "2026-11-21T10:30:00+00:00",
            "locations": '["A","B","C"]',
            "media_type": "application/json",
        }
        (again,) = only_payloads(opened(url=httpserver.url_for("/v1")).fetch(AT - DAY, AT, at=AT))
        assert again.digest == got.digest

    def test_long_lists_of_locations_are_shortened_in_the_name(self, httpserver: HTTPServer) -> None:
        httpserver.expect_request("/v1").respond_with_json([])
        ids = tuple(f"{n}" for n in range(6))
        source = opened(url=httpserver.url_for("/v1"), locations=Locations(ids, ids, (1.0,) * 6, (2.0,) * 6))
        (got,) = only_payloads(source.fetch(AT - DAY, AT, at=AT))
        assert "latitude=2.00000,2.00000,2.00000,and%203%20more&" in got.name

    def test_the_key_is_sent_but_never_shown(self, httpserver: HTTPServer) -> None:
        httpserver.expect_request("/v1").respond_with_json({"reason": "API key canary-1234 is wrong"}, status=403)
        source = opened(url=httpserver.url_for("/v1"), apikey="meteo", secrets={"meteo": SecretStr("canary-1234")})
        (fault,) = source.fetch(AT - DAY, AT, at=AT)
        assert httpserver.log[0][0].args["apikey"] == "canary-1234"
        assert str(fault).endswith("&apikey=***: 403 Forbidden, API key *** is wrong")
        assert source.about.secrets == ("meteo",)

    def test_a_failed_request_is_an_error_and_the_next_ones_follow(self, httpserver: HTTPServer) -> None:
        def answer(request: Request) -> Response:
            return Response(b"[]") if request.args["latitude"].count(",") else Response(b'{"reason":"no"}', status=400)

        httpserver.expect_request("/v1").respond_with_handler(answer)
        got = list(opened(url=httpserver.url_for("/v1"), points=2, chunk="1d").fetch(AT - 2 * DAY, None, at=AT))
        assert [isinstance(part, SourceError) for part in got] == [False, True, False, True]

    def test_an_exhausted_quota_ends_the_fetch(self, httpserver: HTTPServer) -> None:
        reason = "Daily API request limit exceeded. Please try again tomorrow."
        httpserver.expect_request("/v1").respond_with_json({"error": True, "reason": reason}, status=429)
        source = opened(url=httpserver.url_for("/v1"), chunk="1d")
        first, last = source.fetch(AT - 9 * DAY, None, at=AT)
        assert str(first).endswith(f"429 Too Many Requests, {reason}")
        assert str(last).endswith("/v1: too many requests failed; 2026-11-13 and later was not requested")
        assert len(httpserver.log) == 1


class TestDecoding:
    def test_one_point_is_one_object(self) -> None:
        decoded = opened().decode(one(point(ALPHA)))
        assert rows(decoded) == [(stamp(), "A", 3.5), (stamp(1), "A", 4.25)]
        assert (decoded.refused.num_rows, decoded.notes) == (0, ())

    def test_several_points_are_identified_by_their_number(self) -> None:
        answer = [point(place, n, wind_speed_10m=[n, None]) for n, place in enumerate((ALPHA, BETA, GAMMA))]
        shuffled = [answer[2], answer[0], answer[1]]
        assert sorted(rows(opened().decode(payload(answer)))) == sorted(rows(opened().decode(payload(shuffled))))
        assert rows(opened().decode(payload(answer))) == [(stamp(), name, n) for n, name in enumerate("ABC")]

    def test_points_without_numbers_are_in_the_requested_order(self) -> None:
        answer = [point(place, wind_speed_10m=[n, n]) for n, place in enumerate((ALPHA, BETA, GAMMA))]
        assert [row[1:] for row in rows(opened().decode(payload(answer)))][::2] == [("A", 0), ("B", 1), ("C", 2)]

    def test_a_missing_point_is_noted(self) -> None:
        decoded = opened().decode(payload([point(ALPHA), point(GAMMA, 2)]))
        assert decoded.rows.column("location").to_pylist() == ["A", "A", "C", "C"]
        assert decoded.notes == ("1 of 3 locations are missing in the response: B",)

    @pytest.mark.parametrize(
        "answer",
        [
            [point(ALPHA), point(BETA)],
            [point(ALPHA), point(BETA, 1), point(GAMMA, 1)],
            [point(ALPHA), point(BETA, 1), point(GAMMA, 3)],
            [point(ALPHA), point(BETA, 1) | {"location_id": "1"}],
        ],
    )
    def test_an_ambiguous_response_is_refused(self, answer: list[dict[str, Any]]) -> None:
        with pytest.raises(SourceError, match=r"locations in the response for 3 requested, and it is unclear which"):
            opened().decode(payload(answer))

    def test_a_response_for_another_position_is_refused(self) -> None:
        with pytest.raises(SourceError, match=r"the response for A is for 51\.1 N 3\.1 E, which is too far away"):
            opened().decode(one(point((51.1, 3.1))))
        with pytest.raises(SourceError, match="lacks its latitude and longitude"):
            opened().decode(one({**point(ALPHA), "latitude": None}))

    def test_longitudes_across_the_date_line(self) -> None:
        fiji = Locations(("F",), ("Fiji",), (180.1,), (-17.0,))
        assert opened(locations=fiji).decode(payload(point((-17.0, -179.8)), locations=("F",))).rows.num_rows == 2
        assert opened().decode(payload([point(GAMMA)], locations=("C",))).rows.num_rows == 2  # 359 E is -1 E

    def test_an_hour_without_any_value_is_left_out(self) -> None:
        source = opened(fields={"variables": {"wind_speed": {}, "air_temperature": {}}})
        answer = point(
            ALPHA, times=[SIX, SIX + 3600, SIX + 7200], wind_speed_10m=[1, None, None], temperature_2m=[None, 2, None]
        )
        assert rows(source.decode(one(answer))) == [(stamp(), "A", 1.0, None), (stamp(1), "A", None, 2.0)]

    def test_future_hours_are_not_observations(self) -> None:
        answer = point(ALPHA)
        assert rows(opened(endpoint="forecast").decode(one(answer, at=stamp()))) == [(stamp(), "A", 3.5)]

    def test_quarters_of_an_hour(self) -> None:
        source = opened(endpoint="forecast", fields={"step": "15min"})
        answer = point(ALPHA, times=[SIX, SIX + 900], block="minutely_15")
        assert [row[0] for row in rows(source.decode(one(answer)))] == [stamp(), stamp() + timedelta(minutes=15)]

    @pytest.mark.parametrize(
        ("unit", "value"), [("km/h", 36.0), ("mp/h", 10.0 / 0.44704), ("kn", 10.0 / (1852 / 3600)), ("m/s", 10.0)]
    )
    def test_another_unit_than_usual_is_converted_and_noted(self, unit: str, value: float) -> None:
        decoded = opened().decode(one(point(ALPHA, units={"wind_speed_10m": unit}, wind_speed_10m=[value, None])))
        assert rows(decoded)[0][2] == pytest.approx(10.0)
        noted = f"wind_speed_10m is in {unit} instead of m/s; it was converted"
        assert decoded.notes == (() if unit == "m/s" else (noted,))

    def test_values_are_converted_to_the_unit_of_the_product(self) -> None:
        source = opened(fields={"variables": {"air_temperature": {"units": "K"}, "precipitation_amount": {}}})
        answer = point(ALPHA, temperature_2m=[10.0, None], precipitation=[0.5, None])
        assert rows(source.decode(one(answer)))[0][2:] == pytest.approx((283.15, 0.5))

    @pytest.mark.parametrize("unit", ["°C", "wmo code", "undefined", "", None])
    def test_a_response_with_an_incompatible_unit_is_refused(self, unit: str | None) -> None:
        with pytest.raises(ContractError, match=rf"cannot convert 'wind_speed_10m' from {unit} to m s-1"):
            opened().decode(one(point(ALPHA, units={"wind_speed_10m": unit})))

    def test_a_variable_without_values_needs_no_unit(self) -> None:
        answer = point(ALPHA, units={"wind_speed_10m": "undefined"}, wind_speed_10m=[None, None])
        assert opened().decode(one(answer)).rows.num_rows == 0

    @pytest.mark.parametrize("cell", ["3.5 m/s", True, [1], {}, "NaN"])
    def test_a_row_with_a_cell_that_is_not_a_number_is_refused(self, cell: Any) -> None:
        decoded = opened().decode(one(point(ALPHA, wind_speed_10m=[cell, 4.25])))
        assert rows(decoded) == [(stamp(1), "A", 4.25)]
        (refused,) = decoded.refused.to_pylist()
        assert (refused["valid_time"], refused["location"]) == (stamp(), "A")
        assert refused["reason"] == f"wind_speed_10m: {str(cell)!r} is not a number"
        assert json.loads(refused["values"])["time"] == SIX

    @pytest.mark.parametrize(
        ("degrees", "east", "north"), [(0, 0, -10), (90, -10, 0), (180, 0, 10), (270, 10, 0), (225, 7.0711, 7.0711)]
    )
    def test_wind_components_from_speed_and_direction(self, degrees: float, east: float, north: float) -> None:
        source = opened(
            fields={"variables": {"eastward_wind": {}, "northward_wind": {"source_name": "wind_speed_100m"}}}
        )
        twice: dict[str, Any] = {
            f"wind_{kind}_{high}": [value, None]
            for kind, value in (("speed", 10.0), ("direction", degrees))
            for high in ("10m", "100m")
        }
        assert rows(source.decode(one(point(ALPHA, **twice))))[0][2:] == pytest.approx((east, north), abs=1e-4)

    @pytest.mark.parametrize(
        ("content", "error", "message"),
        [
            (b"", NoDataError, "the payload is empty"),
            (b'[{"latitude": 1', SourceError, "not valid JSON, unexpected end of data"),
            (as_bytes(point(ALPHA)) + b"Unexpected error while streaming", SourceError, "not valid JSON"),
            (b'{"error": true, "reason": "Value of type is wrong"}', SourceError, "x: Value of type is wrong"),
            (b'{"error": true}', SourceError, "x: error without a reason"),
            (b"[1]", SourceError, "it does not consist of objects"),
            (b"null", SourceError, "it does not consist of objects"),
            (
                as_bytes({**point(ALPHA), "hourly": None}),
                ContractError,
                "no 'hourly' with units; the response has latitude",
            ),
            (
                as_bytes(point(ALPHA, precipitation=[1])),
                ContractError,
                "no variable 'wind_speed_10m'; the response has time, pre",
            ),
            (as_bytes(point(ALPHA, wind_speed_10m=[1])), SourceError, "'wind_speed_10m' has 1 values for 2 times"),
            (as_bytes(point(ALPHA, times=["2026-11-20", None])), SourceError, "times of 'hourly' are not seconds"),
            (as_bytes(point(ALPHA, times=[10**12, 0])), SourceError, "times of 'hourly' are not seconds"),
        ],
    )
    def test_invalid_responses(self, content: bytes, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            opened().decode(one(content))

    def test_an_html_page_is_refused(self) -> None:
        with pytest.raises(SourceError, match="x: the response is 'text/html', not JSON"):
            opened().decode(one(point(ALPHA), media_type="text/html"))

    def test_a_payload_without_context_is_refused(self) -> None:
        with pytest.raises(SourceError, match="its context lacks the requested locations or the time"):
            opened().decode(Payload.of("x", json.dumps(point(ALPHA)).encode()))

    @given(st.data())
    def test_every_cell_is_a_row_or_refused_or_missing(self, data: st.DataObject) -> None:
        cells = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-9999, 9999), st.text(max_size=3), st.booleans())
        values = data.draw(st.lists(cells, min_size=1, max_size=8))
        answer = point(ALPHA, times=[SIX + 3600 * n for n in range(len(values))], wind_speed_10m=values)
        decoded = opened().decode(one(answer))
        numbers = [n for n, value in enumerate(values) if type(value) in (int, float)]
        assert {stamp(n) for n in numbers} <= {row[0] for row in rows(decoded)}
        assert decoded.rows.num_rows + decoded.refused.num_rows == sum(value is not None for value in values)


class TestKnownAt:
    def test_a_forecast_is_known_when_it_is_fetched(self) -> None:
        source = opened("nwp", endpoint="forecast")
        later = point(ALPHA, times=[SIX, SIX + 5 * 86400])
        assert rows(source.decode(one(later))) == [(stamp(), "A", AT, 3.5), (stamp(120), "A", AT, 4.25)]

    def test_a_previous_run_is_known_from_when_it_was_published(self) -> None:
        source = opened("nwp", endpoint="previous-runs", previous_days=[1, 2], published="6h")
        answer = point(ALPHA, times=[SIX], wind_speed_10m_previous_day1=[1.0], wind_speed_10m_previous_day2=[2.0])
        # Run of 19 November 06:00 at the latest, published six hours on; and the day before.
        assert rows(source.decode(one(answer))) == [
            (stamp(), "A", datetime(2026, 11, 19, 12, tzinfo=UTC), 1.0),
            (stamp(), "A", datetime(2026, 11, 18, 12, tzinfo=UTC), 2.0),
        ]

    def test_values_not_published_yet_are_left_to_the_next_fetch(self) -> None:
        source = opened("nwp", endpoint="previous-runs", previous_days=[1], published="6h")
        hours = point(ALPHA, times=[SIX, SIX + 3600], wind_speed_10m_previous_day1=[1.0, 2.0])
        at = datetime(2026, 11, 19, 12, 30, tzinfo=UTC)
        assert [row[0] for row in rows(source.decode(one(hours, at=at)))] == [stamp()]

    @pytest.mark.parametrize(
        ("endpoint", "delay", "known"),
        [("historical", "0h", 5 * DAY), ("historical", "7d", 7 * DAY), ("historical-forecast", "0h", 6 * HOUR)],
    )
    def test_reanalysis_is_known_once_it_is_published(self, endpoint: str, delay: str, known: timedelta) -> None:
        source = opened("reanalysis", endpoint=endpoint, fields={"delay": delay})
        decoded = source.decode(one(point(ALPHA, times=[SIX], wind_speed_10m=[1.0]), at=AT + 30 * DAY))
        assert rows(decoded) == [(stamp(), "A", stamp() + known, 1.0)]

    @given(st.integers(0, 400), st.integers(1, 7), st.integers(0, 48))
    def test_nothing_is_known_before_its_run_started_nor_after_the_fetch(
        self, hours: int, days: int, late: int
    ) -> None:
        source = opened("nwp", endpoint="previous-runs", previous_days=[days], published=f"{late}h")
        name = f"wind_speed_10m_previous_day{days}"
        columns: dict[str, Any] = {name: [1.0] * max(hours, 1)}
        answer = point(ALPHA, times=[SIX + 3600 * n for n in range(hours)] or [SIX], **columns)
        decoded = source.decode(one(answer))
        known = decoded.rows.column("known_at").to_numpy()
        valid = decoded.rows.column("valid_time").to_numpy()
        assert (known <= np.datetime64(AT.replace(tzinfo=None))).all()
        assert (valid - known == np.timedelta64(24 * days - late, "h")).all()


class TestProduct:
    def test_the_source_is_found_by_its_kind(self) -> None:
        feed = make_feed({"kind": "open-meteo", "endpoint": "historical"})
        source = open_source(feed, PLACES)
        assert isinstance(source, OpenMeteo)
        assert source.about.supports_time_range
        assert (source.about.delay, source.about.units) == (5 * DAY, {"wind_speed": "m s-1"})

    @pytest.mark.parametrize(
        ("endpoint", "public", "customer"),
        [
            ("forecast", "https://api.open-meteo.com/v1/forecast", "https://customer-api.open-meteo.com/v1/forecast"),
            ("historical", "https://archive-api.open-meteo.com/v1/archive", "https://customer-archive-api.open-meteo.com/v1/archive"),
            ("previous-runs", "https://previous-runs-api.open-meteo.com/v1/forecast", "https://customer-previous-runs-api.open-meteo.com/v1/forecast"),
        ],
    )  # fmt: skip
    def test_a_key_selects_the_customer_servers(self, endpoint: str, public: str, customer: str) -> None:
        def address(**more: str) -> str:
            source = make_feed({"kind": "open-meteo", "endpoint": endpoint} | more).source
            assert isinstance(source, OpenMeteoSource)
            return source.address

        assert address() == public
        assert address(apikey="k") == customer
        assert address(apikey="k", url="https://own.example/v1") == "https://own.example/v1"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"step": "6h"}, r"feed\.step: Open-Meteo has time steps of 1h and 15min only"),
            ({"variables": {"pedestrian_count": {}, "wind_speed": {}}}, "no Open-Meteo name is known for it"),
            ({"variables": {"wind_speed": {"source_units": "knot"}}}, "Open-Meteo states its units; leave it out"),
            ({"variables": {"wind_speed": {}, "eastward_wind": {"source_name": "u10"}}}, "'u10' is not a wind speed"),
        ],
    )
    def test_a_feed_that_cannot_be_read(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            opened(fields=fields)

    def test_previous_runs_are_not_observations(self) -> None:
        with pytest.raises(ConfigError, match=r"feed\.source\.endpoint: previous-runs has forecasts"):
            opened(endpoint="previous-runs")

    def test_a_missing_key(self) -> None:
        with pytest.raises(ConfigError, match="set NIGHTCAST_SECRETS__METEO"):
            opened(apikey="meteo")

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"url": "http://x.example/v1", "insecure": False}, "http:// is not encrypted"),
            ({"url": "ftp://x.example/v1"}, "ftp:// is not encrypted"),
            ({"url": "https://u:p@x.example/"}, "put secrets into headers"),
            ({"url": "x.example"}, "is not a valid URL"),
            ({"url": "https://x.example/?a=1"}, "contains a query"),
            ({"chunk": "36h"}, "not a whole number of days"),
            ({"deadline": "0s"}, "must be longer than 0s"),
            ({"horizon": "20d"}, "at most 15d"),
            ({"previous_days": [0]}, "greater than or equal to 1"),
        ],
    )
    def test_mistakes_in_the_product_file(self, source: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make_feed({"kind": "open-meteo", "endpoint": "forecast"} | source)


Take = Callable[..., tuple[list[PayloadResult], list[dict[str, Any]]]]


class TestStores:
    """Ingest a response by a job."""

    @pytest.fixture
    def take(self, httpserver: HTTPServer, tmp_path: Path) -> Take:
        (tmp_path / "stations.csv").write_text("id,name,longitude,latitude\nA,Ay,0,50\n")
        settings = make_settings(tmp_path)

        def take(
            answer: Any, covariate: str = "", *, now: datetime = AT, **source: Any
        ) -> tuple[list[PayloadResult], list[dict[str, Any]]]:
            httpserver.expect_oneshot_request("/v1").respond_with_json(answer)
            url = httpserver.url_for("/v1")
            spec = {"kind": "open-meteo", "url": url} | source
            feed = make_feed(spec, covariate=covariate, folder=tmp_path, history="1d")
            ((since, until),) = time_ranges_to_query(OpenFeed(feed, settings), at=now)
            received = fetch_payloads(OpenFeed(feed, settings), at=now, since=since, until=until)
            taken = [ingest_payload(payload, OpenFeed(feed, settings), at=now) for payload in received]
            return taken, OpenFeed(feed, settings).observations.read().to_pylist()

        return take

    def test_observations(self, take: Take) -> None:
        (result,), stored = take(point(ALPHA), endpoint="historical")
        assert (result.fault, result.appended.added, result.refused) == (None, 2, 0)
        assert [(row["valid_time"], row["wind_speed"]) for row in stored] == [(stamp(), 3.5), (stamp(1), 4.25)]

    def test_a_forecast_that_changed_is_a_revision_known_when_it_was_fetched(self, take: Take) -> None:
        hours = [int(AT.timestamp()) // 3600 * 3600 + 3600 * n for n in (1, 2)]
        take(point(ALPHA, times=hours), "nwp", endpoint="forecast")
        changed = point(ALPHA, times=hours, wind_speed_10m=[3.5, 9.0])
        _, stored = take(changed, "nwp", now=AT + HOUR, endpoint="forecast")
        known = {(row["valid_time"].hour, row["known_at"], row["wind_speed"]) for row in stored}
        assert {(11, AT, 3.5), (12, AT, 4.25), (12, AT + HOUR, 9.0)} <= known
