from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.training.verdict import Objection, Verdict, describe_objection

RIVAL = {
    "rival": "climatology",
    "crps": 1.2,
    "crps_by_lead": [1.1, 1.3],
    "skill": 0.25,
    "p_value": 0.001,
    "beaten": True,
}
NUMBERS: dict[str, Any] = {
    "challenger": "ridge-var",
    "issues": 60,
    "since": "2001-12-06T07:00:00Z",
    "until": "2002-02-03T07:00:00Z",
    "crps": 0.9,
    "crps_by_lead": [0.8, 1.0],
    "coverage": 0.91,
    "nominal_coverage": 0.9,
    "outage_crps": 1.0,
    "rivals": [RIVAL],
    "places": "stations",
}
"""The fields that have not changed since the first release."""


def _read(**fields: Any) -> Verdict:
    return Verdict.model_validate_json(json.dumps(NUMBERS | fields))


@pytest.mark.parametrize(
    ("objection", "sentence"),
    [
        (Objection(kind="no_rivals"), "no rival to compare with"),
        (Objection(kind="score_missing", leads=(2, 3)), "the challenger has no score at leads 2, 3"),
        (
            Objection(kind="not_shown_better", rival="a", skill=-0.011, p_value=0.614),
            "not shown to be better than a (skill -1.1%, p 0.61)",
        ),
        (Objection(kind="not_shown_better", rival="a"), "not shown to be better than a (skill +nan%, p nan)"),
        (Objection(kind="not_tested", rival="a", skill=0.1, p_value=1.0), "not tested against a (skill +10.0%)"),
        (Objection(kind="worse_at_leads", rival="a", leads=(1,)), "worse than a at lead 1"),
        (Objection(kind="too_few_scores", rival="a", leads=(4, 5)), "too few scores in common with a at leads 4, 5"),
        (
            Objection(kind="outage_scores_missing"),
            "some forecasts have no score while some cells are missing",
        ),
        (Objection(kind="outage_not_better"), "not better than climatology while some cells are missing"),
        (
            Objection(kind="refit_unfinished", completed=0.123),
            "the fit on all data ran out of time after 12% of its training (raise training.budget)",
        ),
        (Objection(kind="recorded", text="as it was"), "as it was"),
    ],
)
def test_an_objection_is_described(objection: Objection, sentence: str) -> None:
    assert describe_objection(objection, "cells") == sentence


def test_a_verdict_is_promoted_without_objections_and_survives_json() -> None:
    verdict = _read(objections=[])
    assert verdict.promoted
    assert verdict.reason == "best of all, 25.0% better in CRPS than climatology"
    stored = verdict.model_dump(mode="json")
    assert (stored["promoted"], stored["reason"]) == (True, verdict.reason)
    assert Verdict.model_validate_json(json.dumps(stored)) == verdict


def test_objections_survive_json_and_are_joined() -> None:
    objections = (
        Objection(kind="worse_at_leads", rival="a", leads=(2,)),
        Objection(kind="coverage", coverage=0.5, nominal_coverage=0.9),
    )
    verdict = _read(objections=[objection.model_dump() for objection in objections])
    assert not verdict.promoted
    assert verdict.reason.startswith("worse than a at lead 2; the 90% interval covers 50% of the observations (")
    again = Verdict.model_validate_json(json.dumps(verdict.model_dump(mode="json")))
    assert again.objections == objections


@pytest.mark.parametrize("nan", [None, float("nan")])
def test_a_skill_that_is_nan_survives_json(nan: float | None) -> None:
    verdict = _read(objections=[{"kind": "not_shown_better", "rival": "a", "skill": nan, "p_value": 1.0}])
    again = Verdict.model_validate_json(json.dumps(verdict.model_dump(mode="json")))
    assert again.reason == verdict.reason
    assert again.objections[0].skill is None or np.isnan(again.objections[0].skill)


@pytest.mark.parametrize(
    ("promoted", "reason"),
    [
        (True, "first champion, best of all, 25.0% better in CRPS than climatology"),
        (True, "best of all, 25.0% better in CRPS than climatology"),
        (False, "not shown better than champion version 1 (skill -1.1%, p 0.61); worse than persistence at lead 2"),
    ],
)
def test_a_verdict_of_the_first_release_keeps_its_decision_and_reason(promoted: bool, reason: str) -> None:
    verdict = _read(promoted=promoted, reason=reason)
    assert (verdict.promoted, verdict.reason) == (promoted, reason)
    again = Verdict.model_validate_json(json.dumps(verdict.model_dump(mode="json")))
    assert again == verdict


def test_a_verdict_without_a_decision_is_an_error() -> None:
    with pytest.raises(ValueError, match="objections"):
        _read()
