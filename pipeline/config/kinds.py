"""Sections of a product file whose kinds are installed: one class per kind, found through entry points."""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from pipeline.errors import NightcastError


class InstalledKinds:
    """The union of the classes in a group of entry points, distinguished by `kind`.

    The classes are loaded when such a section is first validated.
    """

    def __init__(self, group: str) -> None:
        self._group = group

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        found = sorted(entry_points(group=self._group), key=lambda entry: entry.name)
        if not found:
            raise NightcastError(f"no entry point in the group {self._group}; reinstall Nightcast")
        classes = [entry.load() for entry in found]
        kinds: Any = Annotated[reduce(or_, classes), Field(discriminator="kind")] if len(classes) > 1 else classes[0]
        return handler.generate_schema(kinds)
