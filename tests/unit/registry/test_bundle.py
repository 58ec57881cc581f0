from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from models.errors import CheckpointError, ModelError
from pipeline.registry.bundle import RECALIBRATION, Bundle, Fit, import_bundle, read_bundle, write_bundle
from pipeline.training.decision import FittedModels
from tests.conftest import Trained


@pytest.fixture
def bundle(trained: Trained) -> Bundle:
    digest = trained.retrained.digest
    return read_bundle(trained.root / "models" / digest, digest=digest)


def _flip(path: Path, offset: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(bytes(content))


def _fitted(fit: Fit, bundle: Bundle) -> FittedModels:
    baselines = {name: fit.baseline(name) for name in bundle.baselines}
    corrections = {name: one for name in bundle.baselines if (one := fit.recalibration(name))}
    times = fit.trained_until, fit.data_until
    return FittedModels(fit.challenger(), baselines, *times, fit.recalibration(), corrections)


def _files(bundle: Bundle) -> list[Path]:
    return sorted(path for path in bundle.folder.rglob("*") if path.is_file())


def test_a_bundle_names_its_models_and_loads_each(bundle: Bundle) -> None:
    assert bundle.model_name == "ridge-var"
    assert bundle.verify() is bundle
    assert bundle.serving.challenger().name == "ridge-var"
    assert [bundle.serving.baseline(name).name for name in bundle.baselines] == list(bundle.baselines)
    serving, judged = bundle.serving, bundle.judged
    assert judged.trained_until < judged.data_until < serving.trained_until < serving.data_until
    assert judged.challenger().state().keys() == serving.challenger().state().keys()
    assert [judged.baseline(name).name for name in bundle.baselines] == list(bundle.baselines)


def test_the_newest_fit_that_saw_no_later_data_forecasts(bundle: Bundle, tmp_path: Path) -> None:
    serving, judged = bundle.serving, bundle.judged
    moment = timedelta(microseconds=1)
    found = [bundle.fit_at(time) for fit in (serving, judged) for time in (fit.data_until, fit.data_until - moment)]
    assert found == [serving, judged, judged, None]
    alone = write_bundle(tmp_path, _fitted(judged, bundle), None, {})
    assert alone.judged == alone.serving
    assert alone.fit_at(judged.data_until) == alone.serving


def test_corrections_are_stored_and_equal_for_both_fits(bundle: Bundle) -> None:
    for name in ("challenger", *bundle.baselines):
        one, other = bundle.serving.recalibration(name), bundle.judged.recalibration(name)
        assert one is not None
        assert one is other
        assert one.by_lead.any()
        assert one.by_lead.shape == (2, 1, 7)
        assert not one.by_hour.any()  # daily


def test_a_replay_does_not_use_a_correction_that_was_learnt_later(bundle: Bundle, tmp_path: Path) -> None:
    learnt = bundle.serving.data_until
    live, past = bundle.fit_at(learnt), bundle.fit_at(learnt - timedelta(microseconds=1))
    assert live is not None
    assert live.recalibration() is not None
    assert past == bundle.judged
    assert past is not None
    assert past.recalibration() is None
    # Where the judged fit serves, it is corrected once everything that the correction saw was known.
    judged = replace(_fitted(bundle.judged, bundle), recalibrated_until=learnt)
    alone = write_bundle(tmp_path, judged, None, {})
    for time, corrected in ((learnt, True), (learnt - timedelta(microseconds=1), False)):
        fit = alone.fit_at(time)
        assert fit is not None
        assert (fit.recalibration() is not None) is corrected


def test_a_bundle_of_an_earlier_release_has_no_corrections(bundle: Bundle, tmp_path: Path) -> None:
    fitted = replace(_fitted(bundle.judged, bundle), recalibration=None, baseline_recalibrations={})
    old = write_bundle(tmp_path, fitted, None, {})
    assert not (old.folder / RECALIBRATION).exists()
    assert read_bundle(old.folder, digest=old.digest).verify().serving.recalibration() is None


def test_a_flipped_bit_anywhere_is_refused(bundle: Bundle) -> None:
    for path in _files(bundle):
        for offset in (0, path.stat().st_size // 2, -1):
            _flip(path, offset)
            with pytest.raises(CheckpointError):
                read_bundle(bundle.folder, digest=bundle.digest).verify()
            _flip(path, offset)
    read_bundle(bundle.folder, digest=bundle.digest).verify()


def test_a_model_that_the_bundle_was_made_without_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    # As bundles of earlier releases whose champion was climatology.
    fitted = _fitted(bundle.serving, bundle)
    fitted = replace(fitted, baselines={"persistence": fitted.baselines["persistence"]})
    with pytest.raises(CheckpointError, match=r"climatology: the bundle was made without this model"):
        write_bundle(tmp_path, fitted, None, {}).serving.baseline("climatology")


def test_damaged_weights_are_never_parsed(bundle: Bundle) -> None:
    _flip(bundle.folder / "challenger" / "model.safetensors")
    with pytest.raises(CheckpointError, match="damaged"):
        bundle.serving.challenger()
    bundle.serving.baseline("climatology")


def test_a_missing_file_is_refused(bundle: Bundle) -> None:
    for path in _files(bundle):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(CheckpointError):
            read_bundle(bundle.folder, digest=bundle.digest).verify()
        path.write_bytes(content)


def test_another_digest_is_refused(bundle: Bundle) -> None:
    with pytest.raises(CheckpointError, match="was changed"):
        read_bundle(bundle.folder, digest="0" * 64)


def test_an_equal_bundle_written_twice_is_one(bundle: Bundle, tmp_path: Path) -> None:
    serving, judged = _fitted(bundle.serving, bundle), _fitted(bundle.judged, bundle)
    one = write_bundle(tmp_path / "store", serving, judged, {"snapshot": "a"})
    stamps = [path.stat().st_mtime_ns for path in _files(one)]
    two = write_bundle(tmp_path / "store", serving, judged, {"snapshot": "a"})
    assert one == two
    assert [path.stat().st_mtime_ns for path in _files(two)] == stamps
    assert [path.name for path in (tmp_path / "store").iterdir()] == [one.digest]


def test_other_facts_make_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    one = write_bundle(tmp_path, _fitted(bundle.judged, bundle), None, {"snapshot": "a"})
    two = write_bundle(tmp_path, _fitted(bundle.judged, bundle), None, {"snapshot": "b"})
    assert one.digest != two.digest


def test_a_write_that_fails_leaves_nothing(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("disk full")

    models = _fitted(bundle.judged, bundle)
    monkeypatch.setattr("pipeline.registry.bundle._move_into_place", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_bundle(tmp_path / "store", models, None, {})
    assert list((tmp_path / "store").iterdir()) == []


def test_a_fetched_bundle_is_imported_once_and_damage_is_repaired(bundle: Bundle, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(bundle.folder, source)
    imported = import_bundle(tmp_path / "store", source, digest=bundle.digest)
    assert imported.verify().serving.challenger().name == "ridge-var"
    _flip(imported.folder / "challenger" / "model.safetensors")
    assert import_bundle(tmp_path / "store", source, digest=bundle.digest).verify()
    assert [path.name for path in (tmp_path / "store").iterdir()] == [bundle.digest]


def test_a_fetched_bundle_that_is_damaged_is_not_imported(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("bundle.json", "challenger/model.safetensors", "climatology/card.json"):
        source = tmp_path / name.replace("/", "-")
        shutil.copytree(bundle.folder, source)
        _flip(source / name)
        with pytest.raises(CheckpointError):
            import_bundle(tmp_path / "store", source, digest=bundle.digest)
    assert not (tmp_path / "store").exists()


class _Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_malicious_pickle_is_never_executed(bundle: Bundle, tmp_path: Path) -> None:
    canary = tmp_path / "executed"
    poison = pickle.dumps(_Canary(canary))
    for name in ("python_model.pkl", "challenger/model.pkl", "challenger/data.pkl", "bundle.pkl"):
        (bundle.folder / name).write_bytes(poison)
    assert bundle.verify().serving.challenger()
    import_bundle(tmp_path / "store", bundle.folder, digest=bundle.digest).serving.challenger()
    for name in ("bundle.json", "challenger/card.json", "challenger/model.safetensors"):
        (bundle.folder / name).write_bytes(poison)
        with pytest.raises(ModelError):
            read_bundle(bundle.folder, digest=bundle.digest).serving.challenger()
    assert not canary.exists()
    pickle.loads(poison)  # noqa: S301 - the canary would have sung
    assert canary.exists()
