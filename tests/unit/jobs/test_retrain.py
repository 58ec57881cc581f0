"""What a retrain takes from the champion in service."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from pipeline.jobs.retrain import _champion
from pipeline.training.decision import MOST_WARM_STARTS
from pipeline.training.verdict import DecisionKind, Objection, ObjectionKind
from tests.conftest import Trained


@pytest.mark.parametrize(
    ("kind", "objection", "anew"),
    [
        ("refresh", "refit_failed", True),
        ("refresh", "refit_differs", True),
        ("refresh", "refit_worse", True),
        ("refresh", "refit_unfinished", False),
        ("refresh", "worse_than_before", False),
        ("promotion", "refit_failed", False),
    ],
)
def test_weights_from_which_a_refit_failed_are_not_continued_again(
    trained: Trained, kind: DecisionKind, objection: ObjectionKind, anew: bool
) -> None:
    ws, at = trained.workspace, trained.end + timedelta(days=1)
    before = _champion(ws, at)
    assert before is not None
    assert before.warm_starts == 0
    refused = {"kind": kind, "objections": [Objection(kind=objection).model_dump(mode="json")]}
    verdict = trained.retrained.verdict.model_dump(mode="json") | refused
    ws.ledger.write(
        "refused", at=at, version=2, previous=1, who="gate", why="", numbers=json.dumps({"verdict": verdict}), key="a"
    )
    after = _champion(ws, at)
    assert after is not None
    assert after.warm_starts == (MOST_WARM_STARTS if anew else 0)
    earlier = _champion(ws, trained.end)
    assert earlier is not None
    assert earlier.warm_starts == 0
