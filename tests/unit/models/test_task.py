from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.errors import ModelError
from models.task import Task
from tests.unit.models.conftest import World


def test_survives_json(task_of: Callable[..., Task]) -> None:
    task = task_of(limits=((None, 60.0),))
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", ()),
        ("channels", ("a", "a")),
        ("targets", ("rain",)),
        ("context", 0),
        ("leads", 0),
        ("step_seconds", 0),
        ("quantile_levels", (0.1, 0.9)),
        ("quantile_levels", (0.5, 0.1)),
        ("quantile_levels", (0.0, 0.5)),
        ("longitude", (1.0,)),
        ("longitude", (1.0, 2.0, 3.0, float("nan"))),
        ("latitude", (91.0, 0.0, 0.0, 0.0)),
        ("transforms", ("cube",)),
        ("limits", ((2.0, 1.0),)),
    ],
)
def test_contradictions_name_the_field(task_of: Callable[..., Task], field: Any, value: Any) -> None:
    with pytest.raises(ModelError, match=field):
        task_of(**{field: value})


def test_json_with_missing_unknown_or_wrong_keys_is_refused(task_of: Callable[..., Task]) -> None:
    document = task_of().to_json()
    with pytest.raises(ModelError, match=r"missing.*leads"):
        Task.from_json({key: value for key, value in document.items() if key != "leads"})
    with pytest.raises(ModelError, match=r"unknown.*colour"):
        Task.from_json(document | {"colour": 1})
    with pytest.raises(ModelError):
        Task.from_json(document | {"locations": "abcd"})
    with pytest.raises(ModelError):
        Task.from_json(document | {"limits": [1.0]})


def test_target_channels_follow_the_targets(task_of: Callable[..., Task]) -> None:
    task = task_of(channels=("a", "b", "c"), targets=("c", "a"))
    assert task.target_channels == (2, 0)


def test_inputs_check_names_the_array(world: World) -> None:
    inputs = world.test.batch(np.arange(2)).inputs
    inputs.check(world.task)
    assert len(inputs) == 2


def test_task_and_the_table_of_models_need_no_torch() -> None:
    code = (
        "import sys, models, models.task, models.catalogue; models.Task; models.MODELS; "
        "models.catalogue.build; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
