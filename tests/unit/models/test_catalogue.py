from __future__ import annotations

import pytest

from models.base import Model
from models.catalogue import MODELS, build
from models.errors import ModelError


@pytest.mark.parametrize("name", list(MODELS))
def test_every_name_builds_the_model_of_that_name(name, task_of):
    model = build(name, task_of())
    assert isinstance(model, Model)
    assert model.name == name
    assert build(name, task_of(), **model.options()).options() == model.options()


def test_unknown_name_lists_what_there_is(task_of):
    with pytest.raises(ModelError, match=r"'oracle'.*persistence.*attention-convlstm"):
        build("oracle", task_of())


@pytest.mark.parametrize("name", list(MODELS))
def test_unknown_option_is_named(name, task_of):
    with pytest.raises(ModelError, match="colour"):
        build(name, task_of(), colour="red")


def test_the_gate_is_guarded_by_what_is_fitted_in_seconds():
    guards = {name for name, entry in MODELS.items() if entry.is_baseline}
    assert guards == {
        "persistence",
        "climatology",
        "damped-anomaly",
        "seasonal-naive",
        "ridge-var",
        "pooled-convolution",
    }
    assert [name for name, entry in MODELS.items() if entry.grids_only] == ["pooled-convolution"]


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("ridge-var", {"lags": 0}, "lags"),
        ("ridge-var", {"lags": 7}, "lags"),
        ("attention-convlstm", {"hidden": 6}, "hidden"),
        ("attention-convlstm", {"size": 0}, "size"),
        ("attention-convlstm", {"frames": -1}, "frames"),
        ("attention-convlstm", {"temporal": "sideways"}, "temporal"),
        ("attention-convlstm", {"dropout": 1.0}, "dropout"),
        ("attention-convlstm", {"learning_rate": 0.0}, "learning_rate"),
        ("attention-convlstm", {"base": "oracle"}, "oracle"),
        ("attention-convlstm", {"base": "lstm"}, "base"),
        ("attention-convlstm", {"patch": 0}, "patch"),
        ("convlstm", {"kernel": 4}, "kernel"),
        ("lstm", {"loss": "guess"}, "loss must be one of"),
        ("lstm", {"hiden": 8}, "'hiden'; did you mean 'hidden'"),
        ("lstm", {"hidden": "many"}, "hidden must be a whole number, found 'many'"),
        ("lstm", {"hidden": 8.0}, "hidden must be a whole number"),
        ("lstm", {"hidden": True}, "hidden must be a whole number"),
        ("lstm", {"epochs": [1]}, "epochs must be a whole number"),
        ("lstm", {"epochs": 2.5}, "epochs must be a whole number"),
        ("lstm", {"compile": 1}, "compile must be true or false"),
        ("lstm", {"dropout": "none"}, "dropout must be a number"),
        ("simvp", {"hidden": 4_000_000}, "simvp: cannot be built"),
        ("gradient-boosting", {"trees": 10}, "unknown option 'trees'; there are"),
        ("ridge-var", {"lags": "three"}, "lags must be a whole number"),
        ("climatology", {"trees": 10}, "unknown option 'trees'; there are none"),
        ("lstm", {"loss": "mse", "head": "gaussian"}, "head"),
        ("lstm", {"weights": "heavy"}, "weights"),
        ("attention-convlstm", {"device": "abacus"}, "device"),
    ],
)
def test_options_out_of_range_are_refused(name, options, match, task_of):
    with pytest.raises(ModelError, match=match):
        build(name, task_of(), **options)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "blend"])
def test_what_is_none_is_left_to_the_model(name, task_of):
    usual = build(name, task_of()).options()
    assert build(name, task_of(), **dict.fromkeys(usual)).options() == usual
