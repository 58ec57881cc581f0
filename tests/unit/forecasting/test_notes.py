from __future__ import annotations

from typing import get_args

import pytest

from pipeline.forecasting.notes import (
    Note,
    NoteKind,
    decode_notes,
    describe_note,
    encode_notes,
    fallback_reason,
    missing_covariates,
)
from pipeline.forecasting.publish.published_forecast import PublishedForecast
from tests import jobs
from tests.conftest import Trained

NOTES = (
    Note("missing_covariates", ("nwp.wind_speed", "nwp.air_temperature")),
    Note("registry_unreachable", ("champion",), error="refused; retried 3 times; gave up"),
    Note("trained_on_later_data", ("champion",), version=3),
)


def test_notes_are_read_back_as_they_were_stored() -> None:
    assert decode_notes(encode_notes(NOTES)) == NOTES
    assert decode_notes(encode_notes(())) == ()


@pytest.mark.parametrize("prose", ["no champion; no fallback", "[1]", '[{"kind": "of a later release"}]', "{"])
def test_prose_of_an_older_row_is_one_note(prose: str) -> None:
    (note,) = decode_notes(prose)
    assert note == Note("text", error=prose)
    assert describe_note(note) == prose


def test_an_older_row_without_notes_has_none() -> None:
    assert decode_notes("") == ()


@pytest.mark.parametrize("kind", get_args(NoteKind))
def test_every_kind_has_a_sentence(kind: NoteKind) -> None:
    note = Note(kind, ("persistence",), 3, "out of memory")
    assert "persistence" in describe_note(note) or "out of memory" in describe_note(note)


def test_sentences() -> None:
    assert [describe_note(note) for note in NOTES] == [
        "no future values of nwp.wind_speed, nwp.air_temperature",
        "registry unreachable, using the last known champion: refused; retried 3 times; gave up",
        "champion version 3 was trained on data from after this issue time",
    ]


def test_missing_covariates_are_those_that_the_notes_name() -> None:
    assert missing_covariates(NOTES) == ("nwp.wind_speed", "nwp.air_temperature")
    assert missing_covariates(NOTES[1:]) == ()


def test_the_reason_for_a_fallback_leaves_out_what_is_only_missing() -> None:
    no_champion = Note("no_bundle", ("champion",))
    broken = Note("model_failed", ("ridge-var",), error="singular")
    left_out = Note("baseline_left_out", ("ets",), error="diverged")
    assert fallback_reason((*NOTES[:2], no_champion, broken, left_out)) == "no champion; ridge-var failed: singular"
    assert fallback_reason(NOTES[:2]) == ""


def test_a_note_with_semicolons_stays_whole_from_the_model_to_the_result(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.baselines.ridge import RidgeVar
    from models.errors import ModelError

    def fail(*_: object) -> None:
        raise ModelError("no memory; close something; try again")

    monkeypatch.setattr(RidgeVar, "predict", fail)
    (result,) = jobs.forecast(trained.workspace, at=trained.end)
    reason = "no memory; close something; try again"
    assert result.notes == (f"ridge-var failed: {reason}",)
    ws = trained.workspace
    stored = PublishedForecast.from_rows(ws.product, ws.feed.locations, ws.forecasts.read(result.issue_time))
    assert stored.notes == (Note("model_failed", ("ridge-var",), error=reason),)
