from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import Basis, InputLoss, InputMove, ReportData, basis_svg, render
from pipeline.report.basis import ATTENTION, REDUNDANCY, attention_note, main_losses, without
from pipeline.report.basis_chart import MOST_BARS, charts, short_title
from pipeline.report.basis_data import InputKind
from tests.unit.report.conftest import MakeReport

NAN = math.nan


def loss(kind: InputKind, title: str, value: float, error: float = 0.004) -> InputLoss:
    """A group with a loss at three leads, halved from lead to lead."""
    by_lead = (value, value / 2, value / 4)
    clear = abs(value) > 2 * error
    return InputLoss(
        kind=kind,
        title=title,
        loss=value,
        error=error,
        is_clear=clear,
        by_lead=by_lead,
        error_by_lead=(error,) * 3,
    )


LOSSES = (
    loss("all", "any input", 0.205),
    loss("location", "Valentia", 0.011),
    loss("location", "Malin Head", 0.031),
    loss("location", "Clones", -0.001),
    loss("lag", "the newest values", 0.142),
    loss("lag", "values 1 d before the newest", 0.003),
)
MOVE = InputMove(
    title="the newest values",
    variable="Wind speed",
    units="m s-1",
    mean_change=0.31,
    largest_change=-2.19,
    place="Rosslare",
    valid_time=datetime(1978, 12, 15, tzinfo=UTC),
)


@pytest.fixture
def explained(report: MakeReport) -> ReportData:
    return report(basis=_basis())


def _basis(**changes: object) -> Basis:
    span = datetime(1977, 1, 1, 7, tzinfo=UTC), datetime(1978, 12, 1, 7, tzinfo=UTC)
    base = Basis(losses=LOSSES, issues=400, since=span[0], until=span[1], moves=(MOVE,))
    return replace(base, **changes)  # type: ignore[arg-type]


def _text(data: ReportData) -> str:
    """The text of the section, with plain spaces."""
    section = re.search(r'<section id="basis".*?</section>', render(data), re.DOTALL)
    assert section is not None
    return " ".join(re.sub(r"<[^>]+>", " ", section[0]).replace("\N{NO-BREAK SPACE}", " ").split())


def test_the_page_says_what_the_forecast_rests_on(explained: ReportData) -> None:
    text = _text(explained)
    assert "Without any input the forecast for 14 Dec would be 20.5 % worse; without Malin Head 3.1 % worse" in text
    assert "without the newest values 14.2 % worse." in text
    assert REDUNDANCY in text
    assert "mean CRPS of 400 forecasts from 1 Jan 1977 to 1 Dec 1978 rises" in text
    assert (
        "Without the newest values the median of wind speed would change by 0.31 m s⁻¹ on average; most at Rosslare "
        "for 14 Dec, where it would be 2.2 m s⁻¹ lower." in text
    )


def test_the_table_has_the_loss_of_each_group_at_each_time(explained: ReportData) -> None:
    text = _text(explained)
    assert "Without For 14 Dec For 15 Dec For 16 Dec All times" in text
    assert "any input +20.5 ± 0.8 +10.2 ± 0.8 +5.1 ± 0.8 +20.5 ± 0.8" in text
    table = text.partition("All times")[2]
    assert table.index("any input") < table.index("newest values") < table.index("Malin Head") < table.index("Clones")


def test_each_kind_of_group_has_a_chart_by_size_or_by_age(explained: ReportData) -> None:
    found = {heading: label for heading, label, _, _ in charts(LOSSES)}
    assert list(found) == ["Without one station", "Without observations of one age"]
    stations = found["Without one station"]
    assert stations.index("Malin Head") < stations.index("Valentia") < stations.index("Clones")
    ages = found["Without observations of one age"]
    assert ages.index("newest values") < ages.index("1 d before")
    assert _text(explained).count("Without one station") == 1


def test_what_may_be_chance_is_pale_and_not_in_the_sentence() -> None:
    clones = loss("location", "Clones", 0.007)
    assert [one.title for one in main_losses((LOSSES[0], clones), 0)] == ["any input"]
    ((_, _, _, body),) = charts([clones])
    assert any('class="band1"' in element for element in body)
    assert not any('class="band3"' in element for element in body)


def test_a_forecast_that_is_better_without_an_input_says_so() -> None:
    sentence = without([loss("all", "any input", -0.02)], 0, "at lead 1")
    assert sentence == "Without any input the forecast at lead 1 would be 2.0\N{NO-BREAK SPACE}% better."
    assert without([], 0, "at lead 1") == ""


def test_a_loss_that_may_be_chance_is_not_shown_as_an_effect() -> None:
    noisy = loss("all", "any input", 0.266, error=0.25)
    unknown = loss("all", "any input", 0.266, error=NAN)
    no_effect = (
        "Without any input the forecast for 5 Apr is not shown to be better or worse: the difference may be chance."
    )
    assert without([noisy], 0, "for 5 Apr") == without([unknown], 0, "for 5 Apr") == no_effect
    one_station = "Without Malin Head the forecast for 5 Apr would be 3.1\N{NO-BREAK SPACE}% worse."
    assert without(main_losses((noisy, *LOSSES[1:4]), 0), 0, "for 5 Apr") == f"{no_effect} {one_station}"


def test_of_many_stations_those_with_the_greatest_losses_are_drawn() -> None:
    many = [loss("location", f"Station {n}", n / 1000) for n in range(30)]
    ((heading, label, _, _),) = charts(many)
    assert heading == f"Without one station, {MOST_BARS} of 30"
    assert "Station 29" in label and "Station 17 " not in label


def test_titles_in_charts_are_short() -> None:
    titles = [
        short_title(loss("region", "cells 50.25 to 51.75° N, 12 to 10.5° W", 0.1)),
        short_title(loss("region", "cells 50° N, 1° W to 1° E", 0.1)),
        short_title(loss("lag", "values 2 d to 3 d before the newest", 0.1)),
        short_title(loss("location", "Corner of Queen Street and Customs Street", 0.1)),
    ]
    assert titles == [
        "50.25–51.75° N, 12–10.5° W",
        "50° N, 1° W to 1° E",
        "2 d to 3 d before",
        "Corner of Queen Street…",
    ]


def test_attention_is_shown_with_what_it_does_not_mean(report: MakeReport) -> None:
    frames = (("the newest values", 0.5), ("values 1 d before the newest", 0.3))
    text = _text(report(basis=_basis(frame_weights=frames, location_weights=(("Birr", 0.12), ("Dublin", 0.1)))))
    assert (
        "Of its attention over time, the network gives 50 % to the newest values and 30 % to values 1 d before" in text
    )
    assert "over space, the network gives 12 % to Birr and 10 % to Dublin." in text
    assert ATTENTION in text
    assert attention_note((), ()) == ""


def test_even_attention_is_called_even_unless_some_is_not_listed() -> None:
    frames = [
        ("the newest values", 0.34),
        ("values 1 d before the newest", 0.33),
        ("values 2 d before the newest", 0.33),
    ]
    assert attention_note([*frames, ("unread", 0.0)], ()).startswith(
        "The network's attention over time is almost even."
    )
    assert "almost even" not in attention_note([], [("Birr", 0.1), ("Dublin", 0.1)])  # of more locations than these


def test_without_an_explanation_there_is_no_section(report: MakeReport) -> None:
    assert 'id="basis"' not in render(report())
    other_horizon = _basis(losses=(replace(LOSSES[0], by_lead=(0.1,), error_by_lead=(0.01,)),))
    assert 'id="basis"' not in render(report(basis=other_horizon))


def test_hostile_names_stay_text(report: MakeReport) -> None:
    bad = '<img src=x onerror="alert(1)">'
    page = render(
        report(basis=_basis(losses=(*LOSSES, loss("location", bad, 0.05)), moves=(replace(MOVE, place=bad),)))
    )
    assert "<img" not in page


def test_unknown_numbers_are_dashes(report: MakeReport) -> None:
    unknown = replace(LOSSES[1], loss=NAN, error=NAN, by_lead=(NAN,) * 3, error_by_lead=(NAN,) * 3, is_clear=False)
    without_errors = replace(LOSSES[0], error=NAN, error_by_lead=(NAN,) * 3, is_clear=False)
    text = _text(report(basis=_basis(losses=(without_errors, unknown, LOSSES[2]), moves=())))
    assert "any input +20.5 ± –" in text
    assert "Valentia" not in text
    assert "In this forecast" not in text


NUMBERS = st.one_of(st.just(NAN), st.floats(-1, 1e3))


@given(st.lists(st.tuples(st.sampled_from(["location", "lag", "covariate"]), NUMBERS, NUMBERS.map(abs)), max_size=20))
def test_any_losses_can_be_drawn(rows: list[tuple[InputKind, float, float]]) -> None:
    losses = [loss(kind, f"group {n}", value, error) for n, (kind, value, error) in enumerate(rows)]
    picture = ElementTree.fromstring(basis_svg("Wind", losses, note="on 400 issue times"))  # noqa: S314 - our own
    bars = [one for one in picture.iter("{http://www.w3.org/2000/svg}rect") if "band" in one.get("class", "")]
    known = sum(bool(np.isfinite(value)) for _, value, _ in rows)
    assert len(bars) <= known
    assert bool(bars) == bool(known)
