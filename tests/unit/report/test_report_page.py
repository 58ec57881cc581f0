from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import pipeline.report as public
from pipeline.fallback_level import FallbackLevel
from pipeline.report import DataFacts, LeadSkill, ModelFacts, RefusedReason, VariableForecast, render
from pipeline.report.data import TimeLabel
from pipeline.report.page import relative_link
from pipeline.report.section import evenly_spaced
from pipeline.report.sentences import level_note, level_title
from tests.unit.report.conftest import MakeReport, MakeStation

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}</style></title>'


class Page(HTMLParser):
    """Tags, attributes and text as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._styles = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._styles = tag == "style"

    def handle_data(self, data: str) -> None:
        if not self._styles:
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._styles = False

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", "".join(self.words))


def test_public_names() -> None:
    assert set(public.__all__) == {
        "BacktestPage", "BacktestedModel", "BacktestedVariable", "Basis", "DataFacts", "InputLoss", "InputMove",
        "LeadSkill", "ModelFacts", "RefusedReason", "ReportData", "SkillInterval", "StationSeries",
        "VariableForecast", "basis_svg", "fan_svg", "render", "render_backtest", "skill_svg",
    }  # fmt: skip


def test_the_headline_names_variable_stations_and_times(report: MakeReport) -> None:
    text = Page(render(report())).text
    assert "Wind speed at 4 stations, next 3 days, issued 14 Dec 1978 07:00 UTC" in text


def test_two_variables_share_a_headline_and_have_their_own_sections(
    report: MakeReport, variable: VariableForecast
) -> None:
    other = replace(variable, name="t", title="Air temperature", units="degC", skill=())
    page = Page(render(report(variables=(variable, other))))
    assert "Wind speed and air temperature at 4 stations" in page.text
    assert [a["id"] for t, a in page.tags if t == "section"] == ["v1", "v2", "origin"]
    assert "Not verified yet" in page.text


@pytest.mark.parametrize("level", FallbackLevel)
def test_the_fallback_level_is_described_and_marked_in_the_list(report: MakeReport, level: FallbackLevel) -> None:
    html = render(report(fallback_level=level))
    assert f"Fallback level {level} of 4. {level.description}" in html
    current = re.findall(r'aria-current="step">.*?</li>', html)
    assert len(current) == 1
    assert level_title(level) in current[0]


def test_the_facts_say_where_the_newest_values_are_missing(report: MakeReport) -> None:
    assert "<dt>Newest values missing at</dt><dd>Birr</dd>" in render(report())
    complete = replace(report().data, missing_stations=())
    assert "<dt>Newest values missing at</dt><dd>no station</dd>" in render(report(data=complete))


def test_missing_input_is_listed_at_the_level_with_gaps(report: MakeReport) -> None:
    def note(*stations: str, covariates: tuple[str, ...] = (), **changes: Any) -> str:
        data = replace(report().data, missing_stations=stations, missing_covariates=covariates)
        level = FallbackLevel.CHAMPION_WITH_GAPS
        return level_note(report(fallback_level=level, data=data, **changes)).removeprefix(
            f"Fallback level 1 of 4. {level.description} "
        )

    assert note("Birr") == "No current value at Birr."
    assert note(covariates=("nwp.t", "nwp.u")) == "No future values of nwp.t and nwp.u."
    assert note("Birr", covariates=("nwp.t",)) == "No current value at Birr. No future values of nwp.t."
    assert note(*"abcd", location_kind="cell") == "No current value at 4 of 4 cells."
    assert note() == "Some earlier observations are missing."


def test_other_levels_do_not_mention_gaps(report: MakeReport) -> None:
    level = FallbackLevel.CHAMPION_ON_STALE_INPUT
    assert level_note(report(fallback_level=level)) == f"Fallback level 2 of 4. {level.description}"


def test_the_reason_for_a_fallback_is_a_sentence_beside_the_level(report: MakeReport) -> None:
    level = FallbackLevel.BASELINE
    verdict = "the champion has lost its skill: over 34 forecasts <b>its</b> CRPS was 14.2% higher"
    stepped_down = report(fallback_level=level, fallback_reason=verdict)
    assert level_note(stepped_down) == f"Fallback level 3 of 4. T{verdict[1:]}."
    judged = report(fallback_level=FallbackLevel.CHAMPION, fallback_reason="the refit failed")
    assert level_note(judged) == f"Fallback level 0 of 4. {FallbackLevel.CHAMPION.description} The refit failed."
    assert level_note(report(fallback_level=level)) == f"Fallback level 3 of 4. {level.description}"
    assert "&lt;b&gt;its&lt;/b&gt; CRPS was 14.2% higher." in render(stepped_down)


def test_every_station_is_in_the_table_the_map_and_the_charts(report: MakeReport, variable: VariableForecast) -> None:
    page = Page(render(report()))
    labels = " ".join(str(a.get("aria-label")) for t, a in page.tags if t == "svg")
    for one in variable.stations:
        assert page.text.count(one.name) >= 3
        assert f"{one.name}: last observed" in labels


@pytest.mark.parametrize(
    ("label", "shown"), [("start", ["14 Dec", "15 Dec", "16 Dec"]), ("end", ["15 Dec", "16 Dec", "17 Dec"])]
)
def test_days_are_labelled_by_their_start_or_end(report: MakeReport, label: TimeLabel, shown: list[str]) -> None:
    (head,) = re.findall(r"Station</th>(.*?)</tr>", render(report(time_label=label)))
    assert re.findall(r">([^<>]+)</th>", head) == shown


def test_skill_is_given_in_words_and_numbers(report: MakeReport) -> None:
    text = Page(render(report())).text
    # By count: model (1.2*700 + 1.35*700 + 1.68*600) / 2000 = 1.3965; climatology 3130 / 2000 = 1.565.
    assert "Over all leads, the CRPS is 11\u00a0% lower than that of the best baseline, climatology." in text
    assert (
        "The 80\u00a0% interval contained 79\u00a0% of the observations." in text
    )  # (574 + 553 + 462) / 2000 = 0.7945
    for cell in ("+20\u00a0%", "+10\u00a0%", "\u22125\u00a0%", "17 h", "2 d 17 h", "1.35"):
        assert cell in text


def test_skill_properties() -> None:
    entry = LeadSkill(lead=timedelta(hours=1), crps=1.2, baseline_crps=(("a", float("nan")), ("b", 1.5)), count=1)
    assert entry.best_baseline == ("b", 1.5)
    assert entry.skill == pytest.approx(0.2)
    assert np.isnan(LeadSkill(lead=timedelta(hours=1), crps=1.2).skill)


def test_model_and_data_are_described(report: MakeReport) -> None:
    text = Page(render(report())).text
    assert "9f2c41aa07d1" in text
    assert "9f2c41aa07d1b" not in text
    assert "11 rows added, 1 revised, 3 refused" in text
    assert "13 Dec (period ended 14 Dec 1978 00:00 UTC)" in text
    assert "7 hours at issue time" in text
    assert "above 60 m s-1" in text
    assert "no current value" in text
    assert "Haslett & Raftery (1989)." in text
    assert "generated by Nightcast 0.1.0, code 4be21c9" in text


def test_the_held_out_coverage_of_the_champion_is_given_where_it_is_known(report: MakeReport) -> None:
    assert "Held-out observations" not in Page(render(report())).text
    model = replace(report().model, intervals=((0.9, 0.893), (0.5, 0.512)))
    text = Page(render(report(model=model))).text.replace("\u00a0", " ")
    assert "51 % in the 50 % interval, 89 % in the 90 % interval" in text


def test_the_page_needs_nothing_from_outside(report: MakeReport) -> None:
    html = render(report())
    page = Page(html)
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not [t for t, _ in page.tags if t in ("script", "iframe", "object", "embed", "img", "form")]
    links = [a["href"] for t, a in page.tags if "href" in a]
    assert all(link.startswith(("data:,", "#", "./")) for link in links)
    assert "./forecast.parquet" in links


def test_the_policy_allows_exactly_this_stylesheet(report: MakeReport) -> None:
    html = render(report())
    policy = next(a["content"] for t, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert not [a for _, a in Page(html).tags if "style" in a]


def test_hostile_text_is_inert_everywhere(report: MakeReport, station: MakeStation, variable: VariableForecast) -> None:
    calm = Page(render(report(stations=[station(0, "A")])))
    skill = LeadSkill(lead=timedelta(hours=17), crps=1.0, baseline_crps=((EVIL, 2.0),), coverage=0.8, count=3)
    hostile = replace(
        variable,
        title=EVIL,
        units=EVIL,
        name=EVIL,
        skill_period=EVIL,
        stations=(station(0, EVIL, station_id=EVIL),),
        skill=(skill,),
    )
    data = report(
        title=EVIL,
        product=EVIL,
        licence=EVIL,
        nightcast_version=EVIL,
        code_version=EVIL,
        variables=(hostile,),
        model=ModelFacts(name=EVIL, version=EVIL, digest=EVIL, gate_verdict=EVIL, served_by=EVIL),
        data=DataFacts(
            as_of=np.datetime64("1978-12-14"),
            refused=1,
            refused_reasons=(RefusedReason(reason=EVIL, count=1),),
            missing_stations=(EVIL,),
        ),
        links=((EVIL, EVIL), ("x", "javascript:alert(1)")),
    )
    page = Page(render(data))
    assert {t for t, _ in page.tags} <= {t for t, _ in calm.tags}
    assert not [key for _, a in page.tags for key in a if key.startswith("on")]
    assert not [a for _, a in page.tags if "javascript" in str(a.get("href"))]
    assert "{{ 7*7 }}" in page.text


def test_a_formula_in_a_name_is_text_in_every_cell(report: MakeReport, station: MakeStation) -> None:
    text = Page(render(report(stations=[station(0, '=HYPERLINK("x")')]))).text
    assert text.count('=HYPERLINK("x")') == text.count('\'=HYPERLINK("x")')


def test_a_page_without_known_values_never_shows_nan(
    report: MakeReport, station: MakeStation, variable: VariableForecast
) -> None:
    unknown = station(
        0,
        "A",
        observed=np.full(20, np.nan),
        quantiles=np.full((3, 7), np.inf),
        latitude=np.nan,
        longitude=np.nan,
    )
    empty = station(1, "B", observed=[], observed_time=[], valid_time=[], quantiles=[])
    nothing = LeadSkill(lead=timedelta(hours=17), crps=np.nan, baseline_crps=(("c", np.nan),), count=2)
    bare = replace(variable, stations=(unknown, empty), skill=(nothing,))
    html = render(report(variables=(bare, replace(bare, stations=()))))
    assert not re.search(r"\bnan\b|\binf\b|NaN|None\b(?! in)", Page(html).text)
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', html.split("</style>")[1])
    assert "no observation" in html


def test_a_page_without_variables_renders(report: MakeReport) -> None:
    assert "No variables at 0 stations" in Page(render(report(variables=()))).text


def test_equal_data_give_equal_pages(report: MakeReport) -> None:
    assert render(report()) == render(report())


def test_a_page_of_twelve_stations_is_small(report: MakeReport, station: MakeStation) -> None:
    assert (
        len(render(report(stations=[station(i % 5, f"Station {i}", station_id=str(i)) for i in range(12)])).encode())
        < 300_000
    )


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("forecast.nc", "./forecast.nc"),
        ("a b/ü.nc", "./a%20b/%C3%BC.nc"),
        ("javascript:alert(1)", ""),
        ("//evil/x", ""),
        ("/etc/passwd", ""),
        ("../up", ""),
        ("a/../../b", ""),
        ("http:x", ""),
        ("a\\b", ""),
        ("", ""),
    ],
)
def test_only_plain_relative_paths_become_links(path: str, link: str) -> None:
    assert relative_link(path) == link


def test_many_items_are_sampled_evenly_with_both_ends() -> None:
    assert evenly_spaced(3, 3) == [0, 1, 2]
    assert evenly_spaced(24, 3) == [0, 12, 23]
    assert len(evenly_spaced(100, 24)) == 24
