"""Settings of an installation: where its stores and servers are. Environment variables override one file."""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from pipeline.config.explain import explain
from pipeline.errors import ConfigError, InvalidValueError

PREFIX = "NIGHTCAST_"
FILE_VARIABLE = "NIGHTCAST_SETTINGS"
_FOR_TESTS = {"NIGHTCAST_REAL_DATA"}


def _check_bucket(value: str) -> str:
    if value and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/[A-Za-z0-9._=-]+)*/?", value):
        raise InvalidValueError("not a bucket", "write s3://bucket/prefix, or leave it out for a folder in home")
    return value.rstrip("/")


class Settings(BaseSettings):
    """Settings of an installation. Each field can be set by an environment variable with the prefix ``NIGHTCAST_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        defer_build=True,
        use_attribute_docstrings=True,
    )

    home: Annotated[Path, AfterValidator(Path.absolute)] = Path(".nightcast")
    """Folder of the stores. Default: .nightcast in the current folder."""
    store: Annotated[str, AfterValidator(_check_bucket)] = ""
    """s3://bucket/prefix for tables, payloads and receipts, with credentials in AWS_* variables. Default: the folder
    products in home."""
    tracking_uri: str = ""
    """URL of the MLflow server, e.g. http://127.0.0.1:5000. Default: a SQLite file in home, without a server."""
    prefect_api_url: str = ""
    """URL of the Prefect API. Default: the server that `nightcast up` starts."""
    secrets: dict[str, SecretStr] = {}
    """Secrets of sources by name: NIGHTCAST_SECRETS__NAME=..."""

    @property
    def mlflow_uri(self) -> str:
        """URI of the MLflow tracking store and registry in use."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: arguments, environment, file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=settings_file())


def settings_file() -> Path:
    """Return the path of the settings file: NIGHTCAST_SETTINGS, else nightcast.toml in the current folder."""
    return Path(os.environ.get(FILE_VARIABLE, "nightcast.toml"))


@cache
def settings() -> Settings:
    """Return the settings, read on the first call.

    Raises:
        ConfigError: a variable or a field of the file is unknown or invalid.
    """
    fields = Settings.model_fields
    known = {PREFIX + name.upper() for name in fields} | {FILE_VARIABLE} | _FOR_TESTS
    for name in os.environ:
        if name.startswith(PREFIX) and name.partition("__")[0] not in known:
            near = difflib.get_close_matches(
                name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known], n=1
            )
            remedy = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(sorted(known - _FOR_TESTS))}"
            raise ConfigError("environment", name, "unknown variable", remedy)
    file = settings_file()
    if FILE_VARIABLE in os.environ and not file.is_file():
        raise ConfigError(str(file), "", "no such file", f"correct {FILE_VARIABLE} or create it")
    try:
        return Settings()
    except ValidationError as error:
        raise explain(f"{file} or environment", error, Settings) from None
    except SettingsError as error:
        raise ConfigError("environment", "", str(error), f"write {PREFIX}SECRETS__NAME=... for each") from None
    except ValueError as error:  # raised by tomllib if the file is not TOML
        raise ConfigError(str(file), "", f"not valid TOML, {error}", "see the README") from None
