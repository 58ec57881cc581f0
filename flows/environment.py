"""What all processes of an installation share: the name of the work pool, and the settings as variables."""

from __future__ import annotations

from pipeline.config import Settings
from pipeline.config.settings import FILE_VARIABLE, PREFIX, settings_file

POOL = "nightcast"


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables of these settings, without secrets, which processes inherit."""
    named = {name: getattr(settings, name) for name in Settings.model_fields if name != "secrets"}
    environment = {PREFIX + name.upper(): str(value) for name, value in named.items() if value}
    if settings_file().is_file():
        environment[FILE_VARIABLE] = str(settings_file().resolve())
    return environment
