from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.registry.ledger import Action, Ledger
from pipeline.registry.record import recall
from pipeline.store.objects import open_store

AT = datetime(2002, 1, 1, tzinfo=UTC)
FIRST_RELEASE: dict[str, Any] = {
    "promoted": False,
    "reason": "not shown better than champion version 1 (skill -1.1%, p 0.61); worse than persistence at lead 2",
    "challenger": "ridge-var",
    "issues": 60,
    "since": "2001-12-06T07:00:00Z",
    "until": "2002-02-03T07:00:00Z",
    "crps": 0.9,
    "crps_by_lead": [0.8, float("nan")],
    "coverage": 0.91,
    "nominal_coverage": 0.9,
    "outage_crps": float("nan"),
    "rivals": [
        {
            "rival": "champion version 1",
            "crps": 0.89,
            "crps_by_lead": [0.8, 0.98],
            "skill": -0.011,
            "p_value": 0.61,
            "beaten": False,
        }
    ],
    "places": "stations",
}
"""A verdict as the first release stored it in the ledger."""


class FakeRegistry:
    """A registry with one alias."""

    def __init__(self, champion: int) -> None:
        self.champion = champion

    def by_alias(self, alias: str) -> Any:
        assert alias == "champion"
        return SimpleNamespace(version=self.champion)

    def set_alias(self, alias: str, version: int) -> None:
        assert alias == "champion"
        self.champion = version


def _write(ledger: Ledger, action: Action, version: int, previous: int | None, verdict: dict[str, Any]) -> None:
    numbers = json.dumps({"verdict": verdict, "digest": "ab", "run": "cd"})
    ledger.write(
        action,
        at=AT,
        version=version,
        previous=previous,
        who="gate",
        why=verdict["reason"],
        numbers=numbers,
        key=f"key {version}",
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(open_store(tmp_path / "ledger"))


def test_a_retrain_of_the_first_release_is_recalled_with_its_reason(ledger: Ledger) -> None:
    _write(ledger, "refused", 2, 1, FIRST_RELEASE)
    recorded = recall(ledger, FakeRegistry(1), "key 2")  # type: ignore[arg-type]
    assert recorded is not None
    (decision,) = recorded.decisions
    assert (decision.version, decision.digest, recorded.run_id, recorded.champion) == (2, "ab", "cd", 1)
    assert not decision.verdict.promoted
    assert decision.verdict.reason == FIRST_RELEASE["reason"]
    assert recorded.candidates == ()


def test_a_promotion_of_the_first_release_whose_alias_is_missing_is_completed(ledger: Ledger) -> None:
    reason = "first champion, best of all, -1.1% better in CRPS than champion version 1"
    _write(ledger, "promoted", 2, 1, FIRST_RELEASE | {"promoted": True, "reason": reason})
    registry = FakeRegistry(1)
    recorded = recall(ledger, registry, "key 2")  # type: ignore[arg-type]
    assert recorded is not None
    (decision,) = recorded.decisions
    assert (decision.verdict.promoted, decision.verdict.reason) == (True, reason)
    assert recorded.champion == registry.champion == 2


def test_an_unknown_retrain_is_not_recalled(ledger: Ledger) -> None:
    assert recall(ledger, FakeRegistry(1), "key 2") is None  # type: ignore[arg-type]


def test_a_retrain_killed_between_two_decisions_is_not_recalled(ledger: Ledger) -> None:
    numbers = json.dumps({"verdict": FIRST_RELEASE, "digest": "ab", "run": "cd", "decisions": 2})
    row: dict[str, Any] = {"at": AT, "previous": 1, "who": "gate", "why": "", "numbers": numbers}
    ledger.write("refused", version=2, key="key", **row)
    assert recall(ledger, FakeRegistry(1), "key") is None  # type: ignore[arg-type]
    ledger.write("refreshed", version=3, key="key 2", **row)
    registry = FakeRegistry(1)
    recorded = recall(ledger, registry, "key")  # type: ignore[arg-type]
    assert recorded is not None
    assert [one.version for one in recorded.decisions] == [2, 3]
    assert recorded.champion == registry.champion == 3  # the alias was missing
