import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pipeline.config.sources.http_json import HttpJsonSource
from pipeline.errors import ConfigError, ContractError, NoDataError, SourceError
from pipeline.ingest.sources import Decoded, Payload, open_source
from pipeline.ingest.sources.http_json.source import HttpJson
from pipeline.locations import Locations
from tests.http_world import PLACES, FakeClock, make_feed
from tests.unit.ingest.conftest import only_payloads

AT = datetime(2026, 11, 21, 10, 30, 15, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
URL = "https://api.example.org/v1"


def opened(
    covariate: str = "",
    *,
    locations: Locations = PLACES,
    secrets: dict[str, str] | None = None,
    fields: dict[str, Any] | None = None,
    **source: Any,
) -> HttpJson:
    feed = make_feed({"kind": "http-json", "url": URL} | source, covariate=covariate, **(fields or {}))
    held = {name: SecretStr(text) for name, text in (secrets or {}).items()}
    assert isinstance(feed.source, HttpJsonSource)
    return HttpJson(feed, feed.source, locations, held, clock=FakeClock().clock)


def payload(document: Any, **context: str) -> Payload:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Payload.of("x", content, {"media_type": "application/json"} | context)


def decode(document: Any, *arguments: Any, context: dict[str, str] | None = None, **source: Any) -> Decoded:
    return opened(*arguments, **source).decode(payload(document, **(context or {})))


def rows(decoded: Decoded) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in decoded.rows.to_pylist()]


def refused(decoded: Decoded) -> list[tuple[Any, ...]]:
    return [(row["location"], json.loads(row["values"]), row["reason"]) for row in decoded.refused.to_pylist()]


def at(hour: int) -> datetime:
    return datetime(2026, 11, 20, hour, tzinfo=UTC)


def row(hour: int = 6, location: str = "A", **cells: Any) -> dict[str, Any]:
    return {"time": f"2026-11-20T{hour:02d}:00Z", "location": location, "wind_speed": 3.5} | cells


class Service:
    """A server that sends the given responses in turn and records the requests."""

    def __init__(self, server: HTTPServer, *answers: Any) -> None:
        self.server, self.answers = server, list(answers)
        server.expect_request("/v1").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Response):
            return answer
        return Response(json.dumps(answer), content_type="application/json")

    def fetch(
        self,
        covariate: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        now: datetime = AT,
        path: str = "/v1",
        **arguments: Any,
    ) -> list[Any]:
        url = self.server.url_for(path)
        return list(opened(covariate, url=url, **arguments).fetch(since, until, at=now))

    @property
    def requests(self) -> list[dict[str, str]]:
        return [request.args.to_dict() for request, _ in self.server.log]


Serve = Callable[..., Service]


@pytest.fixture
def service(httpserver: HTTPServer) -> Serve:
    return lambda *answers: Service(httpserver, *(answers or ([],)))


class TestRequests:
    @pytest.mark.parametrize(
        ("place", "written"),
        [
            ("{since}", "2026-11-20T10:30:15Z"),
            ("{since:%Y-%m-%d}", "2026-11-20"),
            ("{since:%d.%m.%Y %H:%M}", "20.11.2026 10:30"),
            ("{since:s}", "1795170615"),
            ("{since:ms}", "1795170615000"),
            ("[{since:%Y}/{until:%d}]", "[2026/21]"),
        ],
    )
    def test_placeholders_of_the_time_range(self, service: Serve, place: str, written: str) -> None:
        server = service()
        server.fetch(since=AT - DAY, until=AT, query={"from": place, "to": "{until}"})
        assert server.requests == [{"from": written, "to": "2026-11-21T10:30:15Z"}]

    def test_the_time_range_in_local_time(self, service: Serve) -> None:
        server = service()
        server.fetch(since=AT - DAY, query={"from": "{since:%H:%M}", "s": "{since:s}"}, window_zone="Pacific/Auckland")
        assert server.requests == [{"from": "23:30", "s": "1795170615"}]

    def test_a_long_time_range_is_divided_oldest_first(self, service: Serve) -> None:
        server = service()
        query = {"from": "{since:%d}", "to": "{until:%d}"}
        server.fetch(since=AT - 5 * DAY, until=AT, query=query, window="2d")
        assert server.requests == [{"from": "16", "to": "18"}, {"from": "18", "to": "20"}, {"from": "20", "to": "21"}]

    def test_a_service_that_takes_one_bound_only_is_requested_once(self, service: Serve) -> None:
        server = service()
        server.fetch(since=AT - 5 * DAY, query={"from": "{since:%d}"}, window="2d")
        assert server.requests == [{"from": "16"}]

    @pytest.mark.parametrize(
        ("source", "fields", "first"),
        [({}, {}, AT - 30 * DAY), ({"archive": "90d"}, {}, AT - 90 * DAY), ({}, {"history": "2d"}, AT - 2 * DAY)],
    )
    def test_the_first_ingest_goes_back_as_far_as_the_product_file(
        self, service: Serve, source: dict[str, Any], fields: dict[str, Any], first: datetime
    ) -> None:
        server = service()
        server.fetch(query={"from": "{since}", "to": "{until}"}, window="30d", fields=fields, **source)
        assert server.requests[0]["from"] == f"{first:%Y-%m-%dT%H:%M:%SZ}"
        assert server.requests[-1]["to"] == f"{AT:%Y-%m-%dT%H:%M:%SZ}"

    def test_no_more_than_the_archive_is_requested(self, service: Serve) -> None:
        server = service()
        server.fetch(since=AT - 50 * DAY, query={"from": "{since:%m-%d}"}, archive="9d")
        assert server.requests == [{"from": "11-12"}]

    def test_covariates_are_requested_ahead(self, service: Serve) -> None:
        server = service()
        server.fetch("nwp", since=AT, query={"to": "{until:%d}"}, ahead="3d")
        assert server.requests == [{"to": "24"}]

    def test_time_stamps_of_period_starts_are_requested_a_step_earlier(self, service: Serve) -> None:
        server = service()
        server.fetch(since=AT, query={"from": "{since:%H:%M}"}, time={"label": "start"})
        assert server.requests == [{"from": "09:30"}]

    def test_each_location_is_requested_in_turn(self, httpserver: HTTPServer) -> None:
        odd = Locations(("a b", "c/d"), ("x", "y"), (0.5, -1.0), (50.0, 51.25))
        httpserver.expect_request("/v1/a b").respond_with_json([])
        httpserver.expect_request("/v1/c/d").respond_with_json([])
        query = {"lat": "{latitude}", "lon": "{longitude}"}
        source = opened(
            url=httpserver.url_for("/v1/{location}").replace("%7B", "{").replace("%7D", "}"), locations=odd, query=query
        )
        got = list(only_payloads(source.fetch(None, None, at=AT)))
        assert [request.environ["RAW_URI"] for request, _ in httpserver.log] == [
            "/v1/a%20b?lat=50.00000&lon=0.50000",
            "/v1/c%2Fd?lat=51.25000&lon=-1.00000",
        ]
        assert [one.context["location"] for one in got] == ["a b", "c/d"]

    @pytest.mark.parametrize("name", [".", ".."])
    def test_a_location_id_cannot_change_the_path(self, name: str) -> None:
        source = opened(url=f"{URL}/{{location}}/x", locations=Locations((name,), ("x",), (0.0,), (0.0,)))
        (fault,) = source.fetch(None, None, at=AT)
        assert f"the location id '{name}' cannot be part of a URL path" in str(fault)

    def test_secrets_are_in_headers_and_query_but_not_in_names(self, service: Serve) -> None:
        server = service([{"echo": "canary-77 x"}])
        (got,) = server.fetch(
            query={"key": "{secret:token}", "a": "1"},
            headers={"Authorization": "Bearer {secret:token}"},
            secrets={"token": "canary-77 x"},
        )
        assert server.requests == [{"key": "canary-77 x", "a": "1"}]
        assert server.server.log[0][0].headers["Authorization"] == "Bearer canary-77 x"
        assert got.name.endswith("/v1?key=***&a=1")
        assert b"canary" not in got.content

    def test_the_query_of_the_url_is_kept(self, service: Serve) -> None:
        server = service()
        server.fetch(path="/v1?format=json&x=1", query={"x": "2", "y": "é&="})
        assert server.requests == [{"format": "json", "x": "2", "y": "é&="}]

    def test_an_unchanged_response_has_the_same_digest(self, service: Serve) -> None:
        server = service([row()])
        (got,) = server.fetch()
        (again,) = server.fetch(now=AT + DAY)
        assert again.digest == got.digest
        assert not opened().about.supports_time_range
        assert opened(query={"from": "{since}"}).about.supports_time_range


class TestPaging:
    def pages(self, service: Service, **source: Any) -> list[Any]:
        got = service.fetch(rows="rows", **source)
        return [str(page) if isinstance(page, SourceError) else json.loads(page.content)["rows"] for page in got]

    def test_by_number_until_a_page_is_empty(self, service: Serve) -> None:
        server = service({"rows": [1]}, {"rows": [2]}, {"rows": []})
        assert self.pages(server, paging={"kind": "page", "parameter": "p", "first": 0}) == [[1], [2]]
        assert server.requests == [{"p": "0"}, {"p": "1"}, {"p": "2"}]

    def test_by_offset_until_a_page_is_short(self, service: Serve) -> None:
        server = service({"rows": [1, 2]}, {"rows": [3, 4]}, {"rows": [5]})
        assert self.pages(server, paging={"kind": "offset", "limit": 2}) == [[1, 2], [3, 4], [5]]
        assert server.requests == [{"offset": f"{n}", "limit": "2"} for n in (0, 2, 4)]

    @pytest.mark.parametrize("end", [None, "", False])
    def test_by_cursor_until_there_is_none(self, service: Serve, end: Any) -> None:
        server = service(
            {"rows": [1], "meta": {"next": "b=/+ c"}},
            {"rows": [2], "meta": {"next": 7}},
            {"rows": [3], "meta": {"next": end}},
        )
        source = {"query": {"a": "1"}, "paging": {"kind": "cursor", "cursor": "meta.next", "parameter": "at"}}
        assert self.pages(server, **source) == [[1], [2], [3]]
        assert server.requests == [{"a": "1"}, {"a": "1", "at": "b=/+ c"}, {"a": "1", "at": "7"}]

    def test_by_relative_or_absolute_link_with_the_secrets_of_the_query(self, service: Serve) -> None:
        server = service({"rows": [1], "next": "?page=2&key=*"}, {"rows": [2]}, {"rows": [3]})
        server.answers[1]["next"] = server.server.url_for("/v1?page=3")
        got = server.fetch(
            rows="rows",
            query={"key": "{secret:token}", "size": "9"},
            secrets={"token": "canary-77"},
            paging={"kind": "next", "link": "next"},
        )
        assert server.requests == [
            {"key": "canary-77", "size": "9"},
            {"page": "2", "key": "canary-77"},
            {"page": "3", "key": "canary-77"},
        ]
        assert [page.name.partition("?")[2] for page in got] == ["key=***&size=9", "page=2&key=***", "page=3&key=***"]

    @pytest.mark.parametrize(
        ("link", "message"),
        [
            ("http://169.254.169.254/latest", "http://169.254.169.254 is not requested"),
            ("https://evil.example/?x=1", "https://evil.example is not requested"),
            ("//evil.example/", "http://evil.example is not requested"),
            ("file:///etc/passwd", "file:// is not requested"),
            ("http://[", "is not a valid URL"),
            ({"href": "x"}, "which is not text"),
            (True, "which is not text"),
            ("?caf\u00e9=1 2", None),
        ],
    )
    def test_a_link_to_another_host_is_refused(self, service: Serve, link: Any, message: str | None) -> None:
        server = service({"rows": [1], "next": link}, {"rows": [2]})
        got = self.pages(server, paging={"kind": "next", "link": "next"})
        assert got[0] == [1]
        assert got[1] == [2] if message is None else message in got[1]

    @pytest.mark.parametrize("link", ["?", "?page=1"])
    def test_repeating_pages_end(self, service: Serve, link: str) -> None:
        server = service({"rows": [1], "next": link})
        got = self.pages(server, paging={"kind": "next", "link": "next"})
        assert "the pages repeat" in got[-1]
        assert len(got) <= 3

    def test_endless_pages_end(self, service: Serve) -> None:
        server = service({"rows": [1]})
        got = self.pages(server, paging={"kind": "page"}, max_pages=4)
        assert got[:4] == [[1]] * 4
        assert "or are more than 4" in got[4]

    @pytest.mark.parametrize(
        ("page", "message"),
        [
            (Response('{"rows": [1', content_type="application/json"), "not valid JSON"),
            (Response("<html>", content_type="text/html"), "the response is 'text/html', not JSON"),
            (Response("", content_type="application/json"), "the payload is empty"),
            (Response('{"rows": []}', content_type="application/json"), "finds dict where the list of rows should be"),
        ],
    )
    def test_an_unreadable_page_is_kept_and_ends_the_paging(self, service: Serve, page: Response, message: str) -> None:
        server = service(page)
        content, fault = server.fetch(paging={"kind": "page"})
        assert content.content == page.get_data()
        assert "the next page was not requested" in str(fault)
        assert message in str(fault)
        with pytest.raises((SourceError, NoDataError, ContractError), match=message):
            opened().decode(content)

    def test_a_failed_page_ends_the_paging_of_its_location_only(self, service: Serve) -> None:
        server = service({"rows": [1]}, Response(status=404), {"rows": []})
        got = self.pages(server, query={"at": "{location}"}, paging={"kind": "page"})
        assert [page if isinstance(page, list) else page[-13:] for page in got] == [[1], "404 Not Found", [], []]
        assert [query["at"] for query in server.requests] == ["A", "A", "B", "C"]

    def test_requests_stop_if_the_provider_is_down(self, service: Serve) -> None:
        server = service(Response(status=503))
        got = server.fetch(
            query={"at": "{location}", "f": "{since}", "t": "{until}"}, since=AT - 9 * DAY, window="1d", attempts=1
        )
        assert len(server.requests) == 3
        assert str(got[-1]).endswith("too many requests failed; 2026-11-13 10:30 and later was not requested")


class TestLong:
    def test_plain_rows_need_no_configuration(self) -> None:
        assert rows(decode([row(6), row(7, "B", wind_speed=0)])) == [(at(6), "A", 3.5), (at(7), "B", 0.0)]

    def test_cells_are_selected_by_jmespath(self) -> None:
        document = {"data": {"obs": [{"ts": "2026-11-20T06:00Z", "st": {"id": 7}, "m": [{"k": "w", "v": 2.5}]}, None]}}
        columns = {"time": "ts", "location": "st.id", "wind_speed": "m[?k=='w'].v | [0]"}
        decoded = decode(document, rows="data.obs[?ts]", columns=columns)
        assert rows(decoded) == [(at(6), "7", 2.5)]

    def test_rows_may_be_lists(self) -> None:
        columns = {"time": "[0]", "location": "[1]", "wind_speed": "[2]"}
        assert rows(decode([["2026-11-20T06:00Z", "A", 1]], columns=columns)) == [(at(6), "A", 1.0)]

    @pytest.mark.parametrize(
        ("time", "spec"),
        [
            (int(at(6).timestamp()), {"time": {"format": "%s"}}),
            (at(6).timestamp() * 1000, {"time": {"format": "%s"}, "milliseconds": True}),
            ("2026-11-20 07:00", {"time": {"zone": "Europe/Paris"}}),
            ("2026-11-20T08:00+02:00", {}),
            ("20/11/2026 06h", {"time": {"format": "%d/%m/%Y %Hh"}}),
            ("2026-11-20T05:00Z", {"time": {"label": "start"}}),
        ],
    )
    def test_time_stamps_are_read_as_in_files(self, time: Any, spec: dict[str, Any]) -> None:
        assert rows(decode([row(time=time)], **spec)) == [(at(6), "A", 3.5)]

    def test_values_are_converted_to_the_unit_of_the_product(self) -> None:
        variables = {"wind_speed": {"source_units": "knot", "source_name": "ff"}}
        assert rows(decode([row(ff=10)], fields={"variables": variables}))[0][2] == pytest.approx(5.14444, abs=1e-5)

    def test_the_location_is_the_requested_one(self) -> None:
        source = {"query": {"station": "{location}"}, "context": {"location": "B"}}
        assert rows(decode([{"time": "2026-11-20T06:00Z", "wind_speed": 1}], **source)) == [(at(6), "B", 1.0)]

    def test_a_single_station_needs_no_column(self) -> None:
        alone = Locations(("S",), ("S",), (0.0,), (0.0,))
        assert rows(decode([row()], location=None, locations=alone)) == [(at(6), "S", 3.5)]

    def test_sentinels_and_nulls_are_missing_values(self) -> None:
        given = [row(wind_speed=cell) for cell in (None, -9999, -9999.0, "-9999", "NaN", "", 1)]
        decoded = decode(given, missing=["", "NaN", "-9999"])
        assert [one[2] for one in rows(decoded)] == [1.0]
        assert refused(decoded) == []

    @pytest.mark.parametrize("cell", ["calm", True, [1], {"v": 1}])
    def test_a_row_with_a_cell_that_is_not_a_number_is_refused(self, cell: Any) -> None:
        decoded = decode([row(6), row(7, "B", wind_speed=cell)])
        assert rows(decoded) == [(at(6), "A", 3.5)]
        ((location, values, reason),) = refused(decoded)
        assert (location, values["time"]) == ("B", "2026-11-20T07:00Z")
        assert reason.startswith("wind_speed: ")
        assert reason.endswith("is not a number")

    @pytest.mark.parametrize("time", ["yesterday", None, 5, {"t": 1}])
    def test_a_row_with_an_invalid_time_stamp_is_refused(self, time: Any) -> None:
        decoded = decode([row(6), row(time=time)])
        assert rows(decoded) == [(at(6), "A", 3.5)]
        assert len(refused(decoded)) == 1

    @pytest.mark.parametrize("cell", [5, "x", True, None])
    def test_an_invalid_row_is_refused(self, cell: Any) -> None:
        decoded = decode([cell, row()])
        assert rows(decoded) == [(at(6), "A", 3.5)]
        assert refused(decoded) == [(None, {"row": cell}, "the row is neither an object nor a list")]
        assert decode([cell]).refused.num_rows == 1

    def test_an_empty_list_has_no_rows(self) -> None:
        for layout in ("long", "wide", "tidy"):
            decoded = decode([], layout=layout)
            assert (decoded.rows.num_rows, decoded.refused.num_rows) == (0, 0)

    @pytest.mark.parametrize(
        ("document", "source", "message"),
        [
            ({"data": []}, {"rows": "date"}, r"x: feed\.source\.rows: 'date' finds nothing .*; the response has data"),
            ({"data": {}}, {"rows": "data"}, "'data' finds dict where the list of rows should be"),
            ([row()], {"rows": "sort_by(@, &wind)"}, "'sort_by.*' cannot be applied to the response"),
            (
                [{"tyme": 1, "location": "A", "wind_speed": 1}],
                {},
                r"no row has 'time' .*did you mean 'tyme'\? rows have tyme",
            ),
            (
                [row() | {"wind_sped": 1}],
                {"columns": {"wind_speed": "wind_sped2"}},
                "no row has 'wind_speed' .*'wind_sped'",
            ),
            ([{"time": "2026-11-20", "wind_speed": 1}], {}, "no row has 'location'"),
            ([row()], {"columns": {"wind_speed": "data.wind"}}, r"no row has 'wind_speed' \(data\.wind\)"),
            ([row(time=5)], {}, "column 'time' holds int64, not time stamps"),
        ],
    )
    def test_a_payload_with_renamed_columns_is_refused(
        self, document: Any, source: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ContractError, match=message):
            decode(document, **source)

    def test_a_missing_variable_is_noted(self) -> None:
        decoded = decode(
            [row()], fields={"variables": {"wind_speed": {}, "wind_speed_of_gust": {"source_name": "gust"}}}
        )
        assert rows(decoded) == [(at(6), "A", 3.5, None)]
        assert decoded.notes == ("no row has 'gust' (\"gust\")",)

    def test_a_variable_that_is_always_null_is_not_missing(self) -> None:
        decoded = decode([row(wind_speed=None)])
        assert (decoded.rows.num_rows, decoded.refused.num_rows, decoded.notes) == (0, 0, ())

    @given(st.data())
    def test_no_row_is_lost(self, data: st.DataObject) -> None:
        cells = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(-9999, 9999), st.text(max_size=3), st.booleans())
        times = st.one_of(st.just("2026-11-20T06:00Z"), cells)
        given_rows = data.draw(
            st.lists(st.one_of(st.builds(lambda t, v: row(time=t, wind_speed=v), times, cells), cells), max_size=6)
        )
        decoded = decode([row(), *given_rows], missing=[])
        silent = sum(isinstance(one, dict) and one["wind_speed"] is None for one in given_rows)
        assert decoded.rows.num_rows + decoded.refused.num_rows == 1 + len(given_rows) - silent


class TestWideAndTidy:
    def test_wide_rows_have_a_key_per_station(self) -> None:
        document = [{"ts": "2026-11-20T06:00Z", "A": 1, "B": None}, {"ts": "2026-11-20T07:00Z", "C": 2.5, "sum": 3}]
        decoded = decode(document, layout="wide", columns={"time": "ts"}, ignore=["sum"])
        assert rows(decoded) == [(at(6), "A", 1.0), (at(7), "C", 2.5)]

    def test_a_wide_payload_with_an_unknown_station_is_refused(self) -> None:
        with pytest.raises(ContractError, match="x: column 'D' is not a station"):
            decode([{"time": "2026-11-20T06:00Z", "A": 1, "D": 2}], layout="wide")

    def test_tidy_rows_name_their_variable(self) -> None:
        cells = [("A", "wind_speed", 1), ("A", "gust", 2), ("B", "wind_speed", 3)]
        document = [
            {"time": "2026-11-20T06:00Z", "location": place, "q": name, "v": value} for place, name, value in cells
        ]
        fields = {"variables": {"wind_speed": {}, "wind_speed_of_gust": {"source_name": "gust"}}}
        decoded = decode(document, layout="tidy", columns={"variable": "q", "value": "v"}, fields=fields)
        assert rows(decoded) == [(at(6), "A", 1.0, 2.0), (at(6), "B", 3.0, None)]


class TestKnownAt:
    def test_a_covariate_is_known_when_it_is_fetched(self, service: Serve) -> None:
        server = service([row()])
        (got,) = server.fetch("nwp")
        assert rows(opened("nwp").decode(got)) == [(at(6), "A", AT, 3.5)]
        with pytest.raises(SourceError, match="its context lacks the time of the fetch"):
            decode([row()], "nwp")

    def test_a_row_may_carry_known_at(self, service: Serve) -> None:
        server = service([row(run="2026-11-19T18:00Z"), row(7, run="late")])
        (got,) = server.fetch("nwp", known_at="run")
        assert "at" not in got.context  # so that an unchanged response has the same digest
        decoded = opened("nwp", known_at="run").decode(got)
        assert rows(decoded) == [(at(6), "A", at(6) - 12 * HOUR, 3.5)]
        ((_, values, reason),) = refused(decoded)
        assert (values["run"], reason) == ("late", "run: 'late' is not a time stamp")

    def test_known_at_is_not_shifted_by_the_label(self) -> None:
        decoded = decode([row(run="2026-11-20T08:00Z")], known_at="run", time={"label": "start"})
        assert rows(decoded) == [(at(7), "A", at(8), 3.5)]

    def test_known_at_may_be_in_milliseconds(self) -> None:
        cells: dict[str, Any] = {"time": int(at(6).timestamp() * 1000), "run": int(at(8).timestamp() * 1000)}
        decoded = decode([row(**cells)], known_at="run", time={"format": "%s"}, milliseconds=True)
        assert rows(decoded) == [(at(6), "A", at(8), 3.5)]


class TestProduct:
    def test_the_source_is_found_by_its_kind(self) -> None:
        feed = make_feed({"kind": "http-json", "url": URL, "archive": "30d"})
        source = open_source(feed, PLACES)
        assert isinstance(source, HttpJson)
        assert (source.about.archive, source.about.units) == (30 * DAY, {"wind_speed": "m s-1"})

    def test_secrets_are_declared_and_required(self) -> None:
        fields: dict[str, Any] = {"query": {"k": "{secret:one}"}, "headers": {"X": "{secret:two} {secret:one}"}}
        assert opened(**fields, secrets={"one": "1", "two": "2"}).about.secrets == ("one", "two")
        with pytest.raises(ConfigError, match="the secret 'two' is not set; set NIGHTCAST_SECRETS__TWO"):
            opened(**fields, secrets={"one": "1"})

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ({"url": "http://x.example/", "insecure": False}, "http:// is not encrypted"),
            ({"url": "https://{location}.example/"}, "the host '{location}.example' contains a placeholder"),
            ({"url": f"{URL}/{{secret:token}}"}, "contains a secret"),
            ({"query": {"a": "{since:%H} {untill}"}}, "'{untill}' is not a placeholder"),
            ({"query": {"a": "{location:x}"}}, "is not a placeholder"),
            ({"headers": {"a": "{secret}"}}, "is not a placeholder"),
            ({"query": {"a": "{since"}}, "contains an unmatched brace"),
            ({"rows": "data["}, "'data\\[' is not a valid JMESPath expression"),
            ({"columns": {"time": "a b"}}, "is not a valid JMESPath expression"),
            ({"window": "0s"}, "must be longer than 0s"),
            ({"query": {"a": "{location}"}, "layout": "wide"}, "wide has all locations in one response"),
            ({"milliseconds": True}, "needs time"),
            ({"paging": {"kind": "pages"}}, "paging"),
            ({"headers": {"a b": "x"}}, "headers"),
        ],
    )
    def test_mistakes_in_the_product_file(self, source: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            make_feed({"kind": "http-json", "url": URL} | source)

    def test_an_unused_column(self) -> None:
        with pytest.raises(
            ConfigError, match=r"feed\.source\.columns\.wind_sped: not a column .*did you mean 'wind_speed'"
        ):
            opened(columns={"wind_sped": "x"})
        with pytest.raises(ConfigError, match=r"wide holds one variable"):
            opened(layout="wide", fields={"variables": {"wind_speed": {}, "air_temperature": {}}})
