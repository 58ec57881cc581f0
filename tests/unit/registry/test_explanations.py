from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.registry.bundle import Bundle
from pipeline.registry.explanations import read_explanation, save_explanation
from pipeline.training.explanation.facts import Explanation, GroupLoss

AT = datetime(2002, 1, 1, tzinfo=UTC)
LOSS = GroupLoss(
    kind="all",
    name="input",
    title="any input",
    loss=0.2,
    error=None,
    loss_by_lead=(0.3, None),
    error_by_lead=(None, None),
    loss_by_variable=(0.2,),
)
EXPLANATION = Explanation(
    model="ridge-var",
    issues=60,
    since=AT,
    until=AT,
    forecasts=120,
    variables=("wind_speed",),
    crps=(1.1,),
    groups=(LOSS,),
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle that was registered without an explanation."""
    return Bundle(tmp_path / "models" / "ab", "ab", {"model": "ridge-var"})


def test_a_bundle_without_an_explanation_has_none(bundle: Bundle) -> None:
    assert read_explanation(bundle) is None


def test_the_card_of_a_bundle_holds_its_explanation(bundle: Bundle) -> None:
    card = json.loads(json.dumps({"explanation": EXPLANATION.model_dump(mode="json")}, allow_nan=False))
    assert read_explanation(Bundle(bundle.folder, "ab", card)) == EXPLANATION


def test_an_explanation_made_later_is_kept_beside_the_bundle(bundle: Bundle) -> None:
    save_explanation(bundle, EXPLANATION)
    assert read_explanation(bundle) == EXPLANATION
    assert not bundle.folder.exists()  # its digest names what is in it


def test_a_damaged_file_is_no_explanation(bundle: Bundle) -> None:
    save_explanation(bundle, EXPLANATION)
    (file,) = bundle.folder.parent.iterdir()
    file.write_bytes(file.read_bytes().replace(b"0.2", b"0.9"))
    assert read_explanation(bundle) is None


def test_facts_of_another_release_are_no_explanation(bundle: Bundle) -> None:
    card = {"explanation": {**EXPLANATION.model_dump(mode="json"), "unheard_of": 1}}
    assert read_explanation(Bundle(bundle.folder, "ab", card)) is None


def test_a_home_that_cannot_be_written_keeps_none(bundle: Bundle) -> None:
    bundle.folder.parent.parent.mkdir(exist_ok=True)
    bundle.folder.parent.write_text("a file, not a folder")
    save_explanation(bundle, EXPLANATION)
    assert read_explanation(bundle) is None
