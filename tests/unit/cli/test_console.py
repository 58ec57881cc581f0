from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.console import minute, print_data, print_json
from pipeline.cli.views import forecast, retrain
from pipeline.jobs.forecast import ForecastResult
from pipeline.registry.record import Candidate
from tests.flows.samples import NOW, forecasted, retrained, verdict


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_data({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": -float("inf")}, "e": "é", "f": True})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [1.5, None], "c": {"d": None}, "e": "é", "f": True}
    assert "é" in text


def test_results_are_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one = forecasted(tmp_path)
    print_json(one)
    assert ForecastResult.model_validate_json(capsys.readouterr().out) == one
    print_json([one, one])
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(("value", "text"), [(0.0, "< 0.001"), (0.0009, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_probabilities_are_short_and_never_zero(value: float, text: str) -> None:
    assert retrain.probability(value) == text


def test_times_are_shown_to_the_minute() -> None:
    assert minute(NOW) == "1978-12-31 07:00Z"
    assert minute(None) == "–"


def test_a_forecast_names_missing_stations(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    forecast.show([forecasted(tmp_path, missing=("VAL", "[red]"))])
    text = capsys.readouterr().out
    assert (
        "fallback level 1 (champion, gaps in input), ridge-var, input 7 h old, newest values missing at VAL, [red]"
        in text
    )


def test_a_refusal_shows_the_reason_and_the_champion(capsys: pytest.CaptureFixture[str]) -> None:
    retrain.show(retrained(verdict(), repeated=True))
    text = capsys.readouterr().out
    assert "no new data since version 3 was trained; its verdict still holds" in text
    assert "refused: not shown to be better than ridge-var v2" in text
    assert text.rstrip().endswith("champion: version 2")


def test_a_retrain_shows_every_candidate_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    candidates = (
        Candidate(name="ridge-var", validation_crps=1.2341, remarks=("memory kept [red]", "two lags")),
        Candidate(name="gru", validation_crps=None, problem="diverged"),
        Candidate(name="ets", validation_crps=1.3),
    )
    decision = verdict().model_copy(update={"places": "cells"})
    retrain.show(
        retrained(decision).model_copy(update={"candidates": candidates, "warnings": ("covariate nwp has no rows",)})
    )
    text = capsys.readouterr().out
    assert "warning covariate nwp has no rows" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["ridge-var", "1.234", "memory", "kept", "[red];", "two", "lags"] in lines
    assert ["gru", "–", "not", "trained:", "diverged"] in lines
    assert ["ets", "1.300"] in lines
    assert "some cells missing" in text
