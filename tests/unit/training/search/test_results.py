from __future__ import annotations

from typing import Any

import pytest

from pipeline.training.search.comparison import Comparison
from pipeline.training.search.results import SearchFindings, TrialResult

TRIAL = TrialResult(number=0, status="finished", control=True, options={}, crps=1.0, skill=0.0, seconds=1.0)


def findings(compared: int, **comparison: Any) -> SearchFindings:
    found = {"skill": 0.02, "standard_error": 0.005, "p_value": 0.01, "block": 5, "distinguishable": True}
    return SearchFindings(
        control=TRIAL,
        best=TRIAL if compared else None,
        comparison=Comparison(**(found | comparison)) if compared else None,
        trials=(TRIAL,),
        compared=compared,
        earlier=0,
        ended_by="trials",
        importance={},
        snippet="",
    )


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (findings(0), "no other options were scored to the end"),
        (findings(5, skill=-0.01), "none of 5 other sets of options was better than the present ones"),
        (
            findings(1, p_value=0.2, distinguishable=False),
            "the only other set of options is better by 2.00% (standard error 0.50%, p = 0.200): not distinguishable "
            "from the present options",
        ),
        (
            findings(4, p_value=None, standard_error=None, distinguishable=False),
            "the best of 4 other sets of options is better by 2.00%, on too few issue times to tell that from chance",
        ),
        (
            findings(4, p_value=0.0),
            "the best of 4 other sets of options is better by 2.00% (standard error 0.50%, p < 0.001); it was "
            "chosen as the best of several, so the gate will probably show a smaller gain",
        ),
    ],
)
def test_the_conclusion_claims_no_more_than_the_numbers(found: SearchFindings, sentence: str) -> None:
    assert found.conclusion == sentence
