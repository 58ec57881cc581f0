from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.settings import Settings, settings
from pipeline.errors import ConfigError

CANARY = "canary-4711"


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run without settings of the environment, in an empty folder, with an empty cache."""
    for name in list(os.environ):
        if name.startswith("NIGHTCAST_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


def mistake() -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings()
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


def test_defaults_need_no_server(tmp_path: Path) -> None:
    assert settings().home == tmp_path / ".nightcast"
    assert settings().mlflow_uri == f"sqlite:///{tmp_path / '.nightcast' / 'mlflow' / 'mlflow.db'}"
    assert settings() is settings()


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("nightcast.toml").write_text('home = "a"\ntracking_uri = "http://file"\n')
    monkeypatch.setenv("NIGHTCAST_HOME", "/b")
    assert settings().home == Path("/b")
    assert settings().mlflow_uri == "http://file"


def test_another_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text('home = "/c"\n')
    monkeypatch.setenv("NIGHTCAST_SETTINGS", "other.toml")
    assert settings().home == Path("/c")


def test_a_missing_settings_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAST_SETTINGS", "/none.toml")
    error = mistake()
    assert (error.file, error.problem) == ("/none.toml", "no such file")


@pytest.mark.parametrize(
    ("variable", "remedy"), [("NIGHTCAST_HOEM", "did you mean NIGHTCAST_HOME?"), ("NIGHTCAST_XYZZY", "known: ")]
)
def test_an_unknown_variable(monkeypatch: pytest.MonkeyPatch, variable: str, remedy: str) -> None:
    monkeypatch.setenv(variable, "x")
    error = mistake()
    assert (error.file, error.field, error.problem) == ("environment", variable, "unknown variable")
    assert error.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("hoem = 'x'\n", "hoem", "unknown field"),
        ("home = 3\n", "home", "got 3"),
        ("home = \n", "", "not valid TOML, Invalid value (at line 1"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, field: str, problem: str) -> None:
    Path("nightcast.toml").write_text(text)
    error = mistake()
    assert error.field == field
    assert error.problem.startswith(problem)
    assert "nightcast.toml" in error.file


def test_secrets_are_readable_but_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTCAST_SECRETS__KEY", CANARY)
    found = settings()
    assert found.secrets["key"].get_secret_value() == CANARY
    shown = (repr(found), str(found), f"{found.secrets}", found.model_dump_json(), str(found.model_dump()))
    assert [text for text in shown if CANARY in text] == []


@pytest.mark.parametrize(
    ("variables", "toml"),
    [
        ({"NIGHTCAST_SECRETS": CANARY}, ""),
        ({"NIGHTCAST_SECRETS": f'["{CANARY}"]'}, ""),
        ({"NIGHTCAST_SECRETS": '{"a": 4711}'}, ""),
        ({"NIGHTCAST_SECRETS__A__B": CANARY}, ""),
        ({}, f"secrets = '{CANARY}'\n"),
        ({}, f"[secrets.a]\nb = '{CANARY}'\n"),
    ],
)
def test_a_mistake_in_a_secret_does_not_reveal_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], toml: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    Path("nightcast.toml").write_text(toml)
    error = mistake()
    assert "secrets" in str(error)
    assert "4711" not in str(error)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().home = Path()


def test_every_setting_has_a_description() -> None:
    fields = Settings.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


@pytest.mark.parametrize("address", ["s3://bucket", "s3://my-bucket/a/prefix", "s3://my.bucket/a_b/c=1/"])
def test_the_store_can_be_a_bucket(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert settings().store == ""
    settings.cache_clear()
    monkeypatch.setenv("NIGHTCAST_STORE", address)
    assert settings().store == address.rstrip("/")


@pytest.mark.parametrize("address", ["/srv/data", "http://bucket/x", "s3://", "s3://b/../x", "s3://b/a b", "gs://b"])
def test_an_invalid_bucket(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NIGHTCAST_STORE", address)
    error = mistake()
    assert (error.field, "s3://bucket/prefix" in str(error)) == ("store", True)
