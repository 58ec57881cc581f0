"""What every process of an installation shares: the name of the work pool, and the settings as variables."""

from __future__ import annotations

from pipeline.config import Settings
from pipeline.config.settings import FILE_VARIABLE, PREFIX, settings_file

POOL = "nightcast"


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that hand these settings on. Secrets are left out: a process inherits them."""
    named = {name: getattr(settings, name) for name in Settings.model_fields if name != "secrets"}
    environment = {PREFIX + name.upper(): str(value) for name, value in named.items() if value}
    if settings_file().is_file():
        environment[FILE_VARIABLE] = str(settings_file().resolve())
    return environment
