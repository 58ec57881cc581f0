from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.console import print_data, print_json
from pipeline.cli.show import forecasts, minute, probability, retrain
from pipeline.jobs.forecast import ForecastResult
from pipeline.registry.record import Candidate
from tests.flows.samples import NOW, forecasted, retrained, verdict


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_data({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": -float("inf")}, "e": "é", "f": True})
    told = capsys.readouterr().out
    assert json.loads(told) == {"a": None, "b": [1.5, None], "c": {"d": None}, "e": "é", "f": True}
    assert "é" in told


def test_results_are_one_document(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one = forecasted(tmp_path)
    print_json(one)
    assert ForecastResult.model_validate_json(capsys.readouterr().out) == one
    print_json([one, one])
    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(("value", "text"), [(0.0, "< 0.001"), (0.0009, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_probabilities_are_short_and_never_nought(value: float, text: str) -> None:
    assert probability(value) == text


def test_instants_are_told_to_the_minute() -> None:
    assert minute(NOW) == "1978-12-31 07:00Z"
    assert minute(None) == "–"


def test_a_forecast_tells_what_was_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    forecasts([forecasted(tmp_path, missing=("VAL", "[red]"))])
    told = capsys.readouterr().out
    assert "fallback level 1 (champion, gaps in input), ridge-var, input 7 h old, without VAL, [red]" in told


def test_a_refusal_tells_why_and_who_serves(capsys: pytest.CaptureFixture[str]) -> None:
    retrain(retrained(verdict(), repeated=True))
    told = capsys.readouterr().out
    assert "nothing new since version 3 was trained; its verdict stands" in told
    assert "refused: not better than ridge-var v2" in told
    assert told.rstrip().endswith("champion: version 2")


def test_a_retrain_tells_of_every_candidate_and_of_odd_data(capsys: pytest.CaptureFixture[str]) -> None:
    candidates = (
        Candidate(name="ridge-var", validation_crps=1.2341, remarks=("memory kept [red]", "two lags")),
        Candidate(name="gru", validation_crps=None, problem="diverged"),
        Candidate(name="ets", validation_crps=1.3),
    )
    judged = verdict().model_copy(update={"places": "cells"})
    retrain(retrained(judged).model_copy(update={"candidates": candidates, "warnings": ("covariate nwp has no rows",)}))
    told = capsys.readouterr().out
    assert "warning covariate nwp has no rows" in told
    lines = [line.split() for line in told.splitlines()]
    assert ["ridge-var", "1.234", "memory", "kept", "[red];", "two", "lags"] in lines
    assert ["gru", "–", "not", "trained:", "diverged"] in lines
    assert ["ets", "1.300"] in lines
    assert "a quarter of the cells silent" in told
