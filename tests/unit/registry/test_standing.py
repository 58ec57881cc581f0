from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.registry.ledger import Action, Ledger
from pipeline.registry.standing import (
    LiveVerdict,
    Serving,
    Standing,
    VerdictKind,
    describe_live_verdict,
    standing_at,
    standing_before,
    tag_standing,
)
from pipeline.registry.tracking import TrackingError
from pipeline.store.objects import open_store

START = datetime(2002, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def verdict(kind: VerdictKind, skill: float = -0.142) -> LiveVerdict:
    return LiveVerdict(
        kind=kind,
        rivals=() if kind == "refit_worse" else ("damped-anomaly", "persistence"),
        skill=skill,
        p_value=0.03,
        cases=34,
        since=START,
        until=START + 40 * DAY,
    )


ACTIONS: dict[VerdictKind, Action] = {
    "worse_than_baseline": "stepped_down",
    "better_than_baseline": "stepped_up",
    "refit_worse": "stepped_down",
}


def ledger_of(folder: Path, *decisions: tuple[Action, int] | VerdictKind) -> Ledger:
    """Return a ledger with a decision a day."""
    ledger = Ledger(open_store(folder / "ledger"))
    for day, decision in enumerate(decisions):
        action, version = (ACTIONS[decision], 1) if isinstance(decision, str) else decision
        numbers = verdict(decision).model_dump_json() if isinstance(decision, str) else "{}"
        at = START + day * DAY
        ledger.write(action, at=at, version=version, previous=1, who="me", why="so", numbers=numbers, key=f"{day}")
    return ledger


def after(folder: Path, *decisions: tuple[Action, int] | VerdictKind) -> Standing:
    return standing_at(ledger_of(folder, *decisions), START + 100 * DAY)


PROMOTED: tuple[Action, int] = ("promoted", 1)


@pytest.mark.parametrize(
    ("decisions", "serving", "asked"),
    [
        ((), "champion", None),
        ((PROMOTED,), "champion", None),
        ((PROMOTED, "worse_than_baseline"), "best baseline", 1),
        # neither a refusal nor a refresh shows that the champion is better than the baselines
        ((PROMOTED, "worse_than_baseline", ("refused", 2)), "best baseline", None),
        ((PROMOTED, "worse_than_baseline", ("refreshed", 2)), "best baseline", None),
        ((PROMOTED, "worse_than_baseline", "better_than_baseline"), "champion", None),
        ((PROMOTED, "worse_than_baseline", "better_than_baseline", "worse_than_baseline"), "best baseline", 3),
        # another recipe, or a person who has decided
        ((PROMOTED, "worse_than_baseline", ("promoted", 2)), "champion", None),
        ((PROMOTED, "worse_than_baseline", ("rollback", 1)), "champion", None),
        ((PROMOTED, "refit_worse"), "judged fit", 1),
        ((PROMOTED, "refit_worse", ("refused", 2)), "judged fit", None),
        ((PROMOTED, "refit_worse", ("refreshed", 2)), "champion", None),
        ((PROMOTED, "refit_worse", "worse_than_baseline"), "best baseline", 2),
        ((PROMOTED, "worse_than_baseline", ("refused", 2), "refit_worse"), "best baseline", 3),
        ((PROMOTED, "refit_worse", "worse_than_baseline", "better_than_baseline"), "judged fit", None),
    ],
)
def test_what_serves_after_decisions(
    tmp_path: Path, decisions: tuple[tuple[Action, int] | VerdictKind, ...], serving: Serving, asked: int | None
) -> None:
    found = after(tmp_path, *decisions)
    requested = None if asked is None else START + asked * DAY
    assert (found.serving, found.retrain_requested) == (serving, requested)


def test_a_recipe_has_the_versions_from_its_promotion_on(tmp_path: Path) -> None:
    found = after(tmp_path, PROMOTED, ("refreshed", 2), ("promoted", 4), ("refused", 5), ("refreshed", 6))
    assert (found.row, found.versions, found.since) == (3, (4, 6), START + 2 * DAY)
    assert (found.skill_since, found.refit_since) == (found.since, found.since)


def test_each_kind_of_verdict_rests_on_what_came_after_the_last_one(tmp_path: Path) -> None:
    found = after(tmp_path, PROMOTED, "refit_worse", ("refreshed", 2), "worse_than_baseline", "better_than_baseline")
    assert (found.refit_since, found.skill_since) == (START + DAY, START + 4 * DAY)
    assert found.reason.startswith("the champion has recovered")


def test_only_earlier_decisions_count_at_an_issue_time(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, PROMOTED, "worse_than_baseline", "better_than_baseline")
    down = START + DAY
    assert standing_before(ledger, down).serving == "champion"
    assert standing_at(ledger, down).serving == "best baseline"
    assert standing_before(ledger, down + timedelta(hours=1)).serving == "best baseline"
    assert standing_before(ledger, START + 3 * DAY).serving == "champion"


@pytest.mark.parametrize(
    ("later", "serving"),
    [
        (("promoted", 2), "champion"),
        (("refreshed", 2), "best baseline"),
        (("rollback", 1), "best baseline"),  # to the same version
    ],
)
def test_a_decision_on_another_recipe_does_not_concern_the_present_champion(
    tmp_path: Path, later: tuple[Action, int], serving: Serving
) -> None:
    ledger = ledger_of(tmp_path, PROMOTED, "worse_than_baseline", later)
    replayed = START + DAY + timedelta(hours=1)
    assert standing_before(ledger, replayed).serving == serving


def test_a_verdict_that_cannot_be_read_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = ledger_of(tmp_path, PROMOTED, ("stepped_down", 1), "refit_worse")
    assert standing_at(ledger, START + 9 * DAY).serving == "judged fit"
    assert "row 2 of the ledger holds no live verdict" in caplog.text


@pytest.mark.parametrize(
    ("kind", "meanwhile", "serving"),
    [
        ("worse_than_baseline", ("promoted", 2), "champion"),
        ("worse_than_baseline", ("refreshed", 2), "best baseline"),
        ("refit_worse", ("refreshed", 2), "champion"),
    ],
)
def test_a_verdict_on_what_no_longer_serves_changes_nothing(
    tmp_path: Path, kind: VerdictKind, meanwhile: tuple[Action, int], serving: Serving
) -> None:
    """A retrain may finish while the verdict on version 1 is computed."""
    ledger = ledger_of(tmp_path, PROMOTED, meanwhile)
    numbers = verdict(kind).model_copy(update={"champion_row": 1}).model_dump_json()
    at = START + 2 * DAY
    ledger.write("stepped_down", at=at, version=1, previous=1, who="me", why="so", numbers=numbers, key="late")
    assert standing_at(ledger, at).serving == serving


def test_a_retrain_that_began_before_the_step_down_does_not_answer_it(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, PROMOTED, "worse_than_baseline")
    late = {"version": 2, "previous": 1, "who": "gate", "why": "so", "numbers": "{}"}
    ledger.write("refused", at=START + DAY - timedelta(hours=1), key="before", **late)  # type: ignore[arg-type]
    assert standing_at(ledger, START + 2 * DAY).retrain_requested
    ledger.write("refused", at=START + DAY + timedelta(hours=1), key="after", **late)  # type: ignore[arg-type]
    assert not standing_at(ledger, START + 2 * DAY).retrain_requested


def test_sentences() -> None:
    period = "over 34 forecasts issued from 2002-01-01 to 2002-02-10, its CRPS was"
    assert describe_live_verdict(verdict("worse_than_baseline")) == (
        f"the champion has lost its skill: {period} 14.2% higher than that of the best baseline, damped-anomaly "
        "(before that persistence), which serves in its place"
    )
    assert describe_live_verdict(verdict("better_than_baseline", 0.06)) == (
        f"the champion has recovered and serves again: {period} 6.0% lower than that of the best baseline, "
        "damped-anomaly (before that persistence)"
    )
    assert describe_live_verdict(verdict("refit_worse", -0.03)) == (
        f"the champion's fit on all data has become worse than its judged fit: {period} 3.0% higher than that of "
        "the judged fit, which serves until the next refresh"
    )
    perfect = verdict("worse_than_baseline").model_copy(update={"skill": None, "rivals": ("persistence",)})
    assert f"{period} above 0, unlike that of the best baseline, persistence, which" in describe_live_verdict(perfect)


class FakeRegistry:
    """A registry that keeps tags, or cannot be reached."""

    product = "tiny-wind"

    def __init__(self, *, down: bool = False) -> None:
        self.tags: dict[str, str] = {}
        self._down = down

    def tag_product(self, tags: dict[str, str]) -> None:
        if self._down:
            raise TrackingError("MLflow at nowhere: refused")
        self.tags |= tags


def test_tags_say_what_serves_and_why(tmp_path: Path) -> None:
    registry = FakeRegistry()
    tag_standing(ledger_of(tmp_path, PROMOTED, "worse_than_baseline"), registry)  # type: ignore[arg-type]
    reason = describe_live_verdict(verdict("worse_than_baseline"))
    assert registry.tags == {"serving": "best baseline", "serving_reason": reason}


def test_tags_that_cannot_be_set_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledger_of(tmp_path, PROMOTED)
    tag_standing(ledger, FakeRegistry(down=True))  # type: ignore[arg-type]

    def torn(*_: object) -> None:
        raise StoreError("torn")

    monkeypatch.setattr(Ledger, "read", torn)
    tag_standing(ledger, FakeRegistry())  # type: ignore[arg-type]
    assert ["refused" in line or "torn" in line for line in caplog.messages] == [True, True]
