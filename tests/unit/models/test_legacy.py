"""A checkpoint of format 2, written by an earlier version: a blend of a network with covariates and a baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.checkpoint import FORMAT, load, read_card, save
from models.legacy import RENAMED_OPTIONS, upgrade_options, upgrade_state
from models.task import Inputs

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DIGEST = "7663ba4a26eedee15aafcfe57a3db8ded45e400f113ef0fcb688715599e707a1"


def test_a_checkpoint_of_format_2_gives_the_same_forecast(tmp_path: Path) -> None:
    with np.load(CHECKPOINTS / "format-2.npz") as file:
        arrays = dict(file)
    expected = arrays.pop("quantiles")
    inputs = Inputs(**arrays)
    model = load(CHECKPOINTS / "format-2", digest=DIGEST)
    np.testing.assert_allclose(model.predict(inputs), expected, rtol=1e-4)
    # It does not say how long the network was trained: as long as its options allow.
    assert model.state()["peephole-lstm.trained.epochs"] == model.options()["peephole-lstm.epochs"]
    save(model, tmp_path / "model")
    assert read_card(tmp_path / "model")["format"] == FORMAT
    np.testing.assert_array_equal(load(tmp_path / "model").predict(inputs), model.predict(inputs))


def test_a_card_of_format_2_is_read_with_current_option_names() -> None:
    options = read_card(CHECKPOINTS / "format-2", digest=DIGEST)["options"]
    assert options["peephole-lstm.correction"] == "all"
    assert options["peephole-lstm.ema_decay"] == 0.9
    assert options["peephole-lstm.input_dropout"] == 0.1
    assert not {key.rpartition(".")[2] for key in options} & set(RENAMED_OPTIONS)


def test_options_of_a_model_and_of_members_are_renamed_and_others_kept() -> None:
    old = {"hidden": 4, "outage": 0.1, "simvp.taken": "all", "simvp.average": 0.9, "members": ["simvp"]}
    new = {"hidden": 4, "input_dropout": 0.1, "simvp.correction": "all", "simvp.ema_decay": 0.9, "members": ["simvp"]}
    assert upgrade_options(old) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("verdict.share", "correction.weight"),
        ("lstm.unsaid.spread", "lstm.without_covariates.spread"),
        ("linear-inverse.core.ever", "linear-inverse.core.observed"),
        ("network.trunk.past.weight", "network.trunk.encoder.weight"),
        ("simvp.network.trunk.ahead.clock.weight", "simvp.network.trunk.lead_encoder.calendar.weight"),
        ("network.trunk.core.encoder.library.bias_ih_l0", "network.trunk.core.encoder.torch_lstm.bias_ih_l0"),
        ("network.head.last.weight", "network.head.last.weight"),
        ("base.core.season", "base.core.season"),
    ],
)
def test_entries_of_a_state_are_renamed(old: str, new: str) -> None:
    assert list(upgrade_state({old: np.zeros(1)})) == [new]
