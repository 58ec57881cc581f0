from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.base import Model
from models.catalogue import MODELS
from models.checkpoint import CARD, WEIGHTS, load, read_card, save
from models.errors import CheckpointError, NotFittedError
from tests.unit.models.conftest import World


@pytest.mark.parametrize("name", list(MODELS))
def test_round_trip_is_bit_equal(name: str, world: World, fitted: Callable[[str], Model], tmp_path: Path) -> None:
    model = fitted(name)
    digest = save(model, tmp_path / "m")
    loaded = load(tmp_path / "m", digest=digest)
    assert loaded.task == model.task
    assert loaded.options() == model.options()
    for key, array in model.state().items():
        np.testing.assert_array_equal(loaded.state()[key], array, err_msg=key)
    inputs = world.test.all().inputs
    np.testing.assert_array_equal(loaded.predict(inputs), model.predict(inputs))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_flipped_byte_anywhere_is_detected(name: str, fitted: Callable[[str], Model], tmp_path: Path) -> None:
    digest = save(fitted(name), tmp_path / "m")
    for file in (WEIGHTS, CARD):
        path = tmp_path / "m" / file
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            damaged = bytearray(content)
            damaged[place] ^= 1
            path.write_bytes(bytes(damaged))
            with pytest.raises(CheckpointError, match=file):
                load(tmp_path / "m", digest=digest)
        path.write_bytes(content)
    load(tmp_path / "m", digest=digest)


def test_same_model_same_digest_and_the_folder_is_replaced_whole(
    fitted: Callable[[str], Model], tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "m"
    first = save(fitted("persistence"), folder)
    (folder / "stray").write_text("left over")
    assert save(fitted("persistence"), folder) == first
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


def test_the_card_describes_the_model(fitted: Callable[[str], Model], tmp_path: Path) -> None:
    model = fitted("ridge-var")
    save(model, tmp_path / "m")
    card = read_card(tmp_path / "m")
    assert card["name"] == "ridge-var"
    assert card["parameters"] == model.parameters
    assert card["task"] == model.task.to_json()


def test_wrong_digest_is_refused_before_anything_is_parsed(fitted: Callable[[str], Model], tmp_path: Path) -> None:
    save(fitted("persistence"), tmp_path / "m")
    (tmp_path / "m" / WEIGHTS).write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="digest"):
        load(tmp_path / "m", digest="0" * 64)
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format": 99}, "format"),
        ({"name": "oracle"}, "oracle"),
        ({"options": {"colour": 1}}, "colour"),
        ({"extra": 1}, "keys"),
    ],
)
def test_an_invalid_card_is_refused(change: Any, match: str, fitted: Callable[[str], Model], tmp_path: Path) -> None:
    save(fitted("persistence"), tmp_path / "m")
    path = tmp_path / "m" / CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=match):
        load(tmp_path / "m")


def test_errors_name_missing_and_damaged_files(fitted: Callable[[str], Model], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"card\.json: cannot read the file"):
        load(tmp_path / "nowhere")
    save(fitted("persistence"), tmp_path / "m")
    (tmp_path / "m" / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot read the file"):
        load(tmp_path / "m")
    (tmp_path / "m" / CARD).write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        read_card(tmp_path / "m")


def test_an_unfitted_model_leaves_no_trace(new: Callable[..., Model], world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        save(new("persistence", world.task), tmp_path / "m")
    assert not list(tmp_path.iterdir())
