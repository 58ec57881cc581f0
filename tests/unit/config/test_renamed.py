"""Fields with an old name are accepted in product files and bundles, and do not change the keys of receipts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from pipeline.config import Feed, Product, load_product
from pipeline.config.renamed import upgrade, with_old_names
from pipeline.errors import ConfigError

OLD = """\
name: wind
feed:
  source: {kind: files, path: w.csv, format: csv, time: {columns: [at], gather: 20min}}
  step: 1h
  clock: record
  locations: {kind: stations, path: s.csv}
  variables: {wind_speed: {}}
  quality:
    memory: 7d
    checks:
      stuck: {after: 24h, severity: row}
      jump: {wind_speed: 20}
      grid: batch
      known: batch
covariates:
  nwp:
    source: {kind: files, path: n.csv, format: csv, known_at: run}
    step: 1h
    clock: wall
    locations: {kind: stations, path: s.csv}
    variables: {wind_speed: {}}
forecast: {targets: [wind_speed]}
training: {candidates: [convlstm], options: {convlstm: {outage: 0.1}}}
gate: {metric: crps, issues: 40}
"""
NEW = (
    OLD.replace("clock: record", "mode: archive")
    .replace("clock: wall", "mode: live")
    .replace("gather:", "resample:")
    .replace("memory:", "reference_period:")
    .replace("stuck:", "persistence:")
    .replace("jump:", "step:")
    .replace("grid:", "time_step:")
    .replace("known:", "known_at:")
    .replace("outage:", "input_dropout:")
    .replace("metric: crps, ", "")
)


def load(folder: Path, text: str) -> Product:
    path = folder / "wind.yaml"
    path.write_text(text)
    return load_product(path)


def test_old_names_mean_the_same(tmp_path: Path) -> None:
    assert load(tmp_path, OLD) == load(tmp_path, NEW)


def test_each_old_name_is_logged_with_its_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(tmp_path, OLD)
    path = tmp_path / "wind.yaml"
    assert f"{path}:5: feed.clock is now feed.mode: archive; please rename it" in caplog.messages
    assert f"{path}:19: covariates.nwp.clock is now covariates.nwp.mode: live; please rename it" in caplog.messages
    quality = "feed.quality.checks"
    assert f"{path}:11: {quality}.stuck is now {quality}.persistence; please rename it" in caplog.messages
    assert f"{path}:24: gate.metric is no longer used; please remove it" in caplog.messages
    assert len(caplog.messages) == 10


def test_current_names_are_not_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, NEW)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("old", "wrong", "line", "field"),
    [
        ("clock: record", "clock: sometimes", 5, "feed.mode"),
        ("gather: 20min", "gather: soon", 3, "feed.source.time.resample"),
        ("after: 24h", "after: soon", 11, "feed.quality.checks.persistence.after"),
    ],
)
def test_a_mistake_below_an_old_name_has_its_line(tmp_path: Path, old: str, wrong: str, line: int, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, OLD.replace(old, wrong))
    assert (caught.value.file, caught.value.field) == (f"{tmp_path / 'wind.yaml'}:{line}", field)


def test_a_field_under_both_names_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, OLD.replace("clock: record", "clock: record\n  mode: archive"))
    assert (caught.value.field, caught.value.problem) == ("feed.clock", "unknown field")


@pytest.mark.parametrize("document", [None, [], "text", {}, {"feed": None}, {"feed": {"quality": []}}, {"gate": 3}])
def test_a_document_of_another_shape_is_left_to_validation(document: Any) -> None:
    assert upgrade(document) == (document, {})


def test_upgrading_does_not_change_its_argument() -> None:
    document = {"feed": {"clock": "wall"}}
    assert upgrade(document)[0] == {"feed": {"mode": "live"}}
    assert document == {"feed": {"clock": "wall"}}


def dumped(feed: Feed) -> dict[str, Any]:
    return feed.model_dump(mode="json", exclude_defaults=True)


def test_old_names_are_restored_in_place(tmp_path: Path) -> None:
    restored = with_old_names(dumped(load(tmp_path, NEW).feed))
    assert list(restored) == ["source", "step", "clock", "locations", "variables", "quality"]
    assert restored["clock"] == "record"
    assert restored["source"]["time"] == {"columns": ["at"], "gather": "20min"}
    assert restored["quality"]["memory"] == "1w"
    assert list(restored["quality"]["checks"]) == ["grid", "known", "stuck", "jump"]


def test_a_dumped_feed_is_written_as_pydantic_writes_it(tmp_path: Path) -> None:
    text = NEW.replace("wind_speed: {}", "wind_speed: {limits: [1.0e-7, 1.0e+16], source_name: Wéhen}", 1)
    feed = load(tmp_path, text).feed
    assert to_json(dumped(feed)).decode() == feed.model_dump_json(exclude_defaults=True)
    assert json.loads(to_json(dumped(feed))) == dumped(feed)
