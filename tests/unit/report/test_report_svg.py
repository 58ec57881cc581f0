from __future__ import annotations

import math

import pytest

from pipeline.report import svg


def test_coordinates_are_short() -> None:
    assert [svg.num(v) for v in (1, 1.04, 1.06, -0.01, 12.345)] == ["1", "1", "1.1", "0", "12.3"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_coordinate_that_is_no_number_raises(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        svg.num(value)


def test_path_steps_add_up_to_the_points() -> None:
    assert svg.polyline([(0, 0), (1.5, -2), (3, 2)]) == "M0 0l1.5-2l1.5 4"
    assert svg.polyline([(0, 0), (1, 1)], closed=True).endswith("z")
    assert svg.polyline([]) == ""


def test_runs_are_the_finite_stretches() -> None:
    assert svg.runs([math.nan, 1, 2, math.inf, 3]) == [(1, 3), (4, 5)]
    assert svg.runs([]) == []


def test_text_and_attributes_are_escaped() -> None:
    assert svg.text(0, 0, "<b>&") == '<text x="0" y="0">&lt;b&gt;&amp;</text>'
    assert svg.tag("g", id='"><script>') == '<g id="&quot;&gt;&lt;script&gt;"/>'
