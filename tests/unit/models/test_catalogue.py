from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from models.base import Model
from models.baselines.reference import Climatology
from models.catalogue import MODELS, build
from models.errors import ModelError, first_line
from models.task import Task


@pytest.mark.parametrize("name", list(MODELS))
def test_every_name_builds_its_model(name: str, task_of: Callable[..., Task]) -> None:
    model = build(name, task_of())
    assert isinstance(model, Model)
    assert model.name == name
    assert build(name, task_of(), **model.options()).options() == model.options()


def test_an_unknown_name_is_refused_with_all_names(task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match=r"'oracle'.*persistence.*attention-convlstm"):
        build("oracle", task_of())


@pytest.mark.parametrize("name", list(MODELS))
def test_unknown_option_is_named(name: str, task_of: Callable[..., Task]) -> None:
    with pytest.raises(ModelError, match="colour"):
        build(name, task_of(), colour="red")


def test_an_error_without_a_message_is_reported_by_its_type(
    task_of: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Climatology, "__init__", exhaust)
    with pytest.raises(ModelError, match="climatology: cannot be built: MemoryError"):
        build("climatology", task_of())


@pytest.mark.parametrize(
    ("error", "line"),
    [(ValueError("\n one\ntwo"), "one"), (ValueError(" \n"), "ValueError"), (OSError("x" * 999), "x" * 300)],
)
def test_the_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line


def test_baselines_of_the_gate() -> None:
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
        ("lstm", {"taken": "all"}, "lstm: option 'taken' was renamed to 'correction'"),
        ("blend", {"members": "lstm, gru", "gru.outage": 0.1}, "gru: option 'outage' was renamed to 'input_dropout'"),
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
        ("gradient-boosting", {"trees": 10}, "unknown option 'trees'; options are"),
        ("ridge-var", {"lags": "three"}, "lags must be a whole number"),
        ("climatology", {"trees": 10}, "unknown option 'trees'; options are none"),
        ("lstm", {"loss": "mse", "head": "gaussian"}, "head"),
        ("lstm", {"weights": "heavy"}, "weights"),
        ("attention-convlstm", {"device": "abacus"}, "device"),
    ],
)
def test_options_out_of_range_are_refused(
    name: str, options: dict[str, Any], match: str, task_of: Callable[..., Task]
) -> None:
    with pytest.raises(ModelError, match=match):
        build(name, task_of(), **options)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "blend"])
def test_options_that_are_none_get_their_default(name: str, task_of: Callable[..., Task]) -> None:
    defaults = build(name, task_of()).options()
    assert build(name, task_of(), **dict.fromkeys(defaults)).options() == defaults
