from __future__ import annotations

from pathlib import Path

import pytest

from flows import artifacts, explain, forecast, retrain, verify
from pipeline.markdown import inert
from tests.flows import samples


class TestTable:
    def test_cells_are_inert_and_numbers_to_the_right(self) -> None:
        assert artifacts.table(("name", "n"), [("a|b", "1")]) == "| name | n |\n| --- | ---: |\n| a&#124;b | 1 |"


class TestGate:
    def test_shows_each_rival_and_each_lead(self) -> None:
        markdown, about = retrain.describe(samples.retrained(samples.verdict()))
        assert "| ridge-var v2 | 1.31 | &#43;0.4&#37; | 0.31 | no |" in markdown
        assert "| **challenger** | 1.08 | 1.29 |" in markdown
        assert "| ridge-var v2 | 1.1 | 1.3 |" in markdown
        assert about == inert(samples.verdict().reason)

    def test_hostile_names_are_inert(self) -> None:
        decision = samples.verdict(rival=samples.HOSTILE)
        markdown, about = retrain.describe(samples.retrained(decision))
        assert "<img" not in markdown + about
        assert "](" not in markdown + about


@pytest.mark.usefixtures("prefect")
class TestForecast:
    def test_a_plot_that_is_too_large_is_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "forecast.svg").write_bytes(b"x" * (forecast.MAX_PLOT_BYTES + 1))
        markdown, _ = forecast.describe("Wind", samples.forecasted(tmp_path))
        assert "data:" not in markdown

    def test_notes_are_shown(self, tmp_path: Path) -> None:
        result = samples.forecasted(tmp_path).model_copy(update={"notes": ("champion 3 does not load", "used 2")})
        assert "champion 3 does not load&#59; used 2" in forecast.describe("Wind", result)[0]

    def test_silent_stations_are_named_inertly(self, tmp_path: Path) -> None:
        markdown, about = forecast.describe("Wind", samples.forecasted(tmp_path, missing=("<b>Cork</b>",)))
        assert "Newest values missing at &#60;b&#62;Cork&#60;&#47;b&#62;." in markdown
        assert about == "Issued 1978-12-31 07:00 UTC, fallback level 1 (champion, gaps in input)"


def test_verification_shows_every_score() -> None:
    markdown, about = verify.describe(samples.verified())
    assert about == "1,080 values of 30 forecasts, scored at 1978-12-31 07:00 UTC"
    assert "| published | wind&#95;speed | 1 | 360 | 1.1 | 1.5 | 2 | -0.01 | 89.0&#37; |" in markdown


def test_an_explanation_shows_the_loss_without_each_group_inertly() -> None:
    markdown, about = explain.describe(samples.explained())
    assert about == inert("ridge-var, version 3, on 400 issue times")
    assert "| &#43;3.10&#37; |  |" in markdown
    assert "<img" not in markdown
