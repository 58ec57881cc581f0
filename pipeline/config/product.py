"""A product: what is forecast, from which feed, when, how it is trained and judged, where it goes. One YAML file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from pipeline.config.base import Duration, Name, Strict
from pipeline.config.feed import Feed
from pipeline.names import check_zone


def _cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise CronSimError("Wrong number of fields")
        CronSim(text, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{text!r} is no cron line, {error}; five fields, e.g. '0 6 * * *'") from None
    return text


Cron = Annotated[str, AfterValidator(_cron)]
Zone = Annotated[str, AfterValidator(check_zone)]


class Forecast(Strict):
    """What is forecast at every issue time."""

    targets: tuple[Name, ...]
    """Variables to forecast, from feed.variables."""
    context: Annotated[int, Field(ge=1, le=10_000)] = 14
    """Frames a model sees."""
    horizon: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Steps forecast after the issue time."""
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Quantile levels published; ascending, with 0.5."""

    @field_validator("quantiles")
    @classmethod
    def _levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1 or 0.5 not in levels:
            raise ValueError(f"{list(levels)} are no quantile levels; ascending, inside (0, 1), with 0.5")
        return levels


def _option(value: object) -> object:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not texts and not isinstance(value, str | int | float | None):
        shown = json.dumps(value, default=str)[:80]
        raise ValueError(f"got {shown}; write a number, a text, true, false, null, or a list of texts")
    return value


Option = Annotated[float | int | bool | str | list[str] | None, BeforeValidator(_option)]


class Training(Strict):
    """How challengers are made."""

    candidates: tuple[str, ...] = ("attention-convlstm", "ridge-var")
    """Models trained each time; the best on validation becomes the challenger."""
    options: dict[str, dict[str, Option]] = {}
    """Constructor options by model; null stands for what the model would choose itself."""
    window: Duration = timedelta(days=3652, hours=12)
    """History used, back from the held-out issue times."""
    validation: Annotated[int, Field(ge=20)] = 365
    """Issue times before the held-out ones, for early stopping and the choice among candidates."""
    budget: Duration = timedelta(minutes=10)
    """Wall-clock limit per candidate."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random in a training run."""

    @field_validator("candidates")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' stands twice; name each candidate once")
        return names


class Gate(Strict):
    """What a challenger must show before it serves."""

    metric: Literal["crps"] = "crps"
    """Score that decides: the continuous ranked probability score."""
    issues: Annotated[int, Field(ge=20)] = 180
    """Held-out issue times, the latest before the retrain, on which all are scored."""
    against: tuple[Literal["champion", "baselines"], ...] = ("champion", "baselines")
    """Rivals the challenger must beat."""
    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Level of the one-sided Diebold-Mariano test."""
    coverage_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """How far the coverage of the widest interval may be from its nominal value, as a fraction."""


class Schedule(Strict):
    """When each job runs. Forecast issue times are exactly the instants of the forecast line."""

    ingest: Cron = "*/15 * * * *"
    """Fetch, validate and store what is new."""
    forecast: Cron = "5 * * * *"
    """Issue times."""
    retrain: Cron = "0 2 * * *"
    """Train challengers and run the gate."""
    verify: Cron = "30 * * * *"
    """Score matured forecasts."""
    maintain: Cron = "15 3 * * *"
    """Check digests, compact, delete what nothing names."""
    time_zone: Zone = "UTC"
    """Time zone of the cron lines."""


class Output(Strict):
    """One published form of every forecast."""

    kind: Literal["parquet", "netcdf", "report"]
    """parquet: tidy rows. netcdf: CF-1.11. report: one self-contained HTML page."""


class Product(Strict):
    """A product file."""

    name: Name
    """Lower case, digits and dashes; names the registered model and every store."""
    title: str = ""
    """What people call it. Default: the name."""
    feed: Feed
    """The observations."""
    covariates: dict[Name, Feed] = {}
    """Feeds known in advance, such as a weather model; each row carries when it became known."""
    forecast: Forecast
    training: Training = Training()
    gate: Gate = Gate()
    schedule: Schedule = Schedule()
    publish: tuple[Output, ...] = (Output(kind="parquet"), Output(kind="netcdf"), Output(kind="report"))
    """Forms in which forecasts are published."""
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the product file, where its relative paths start."""
        return self._folder

    def within(self, folder: Path) -> Self:
        """Return the product with its relative paths starting at `folder`."""
        product = self.model_copy(
            update={
                "feed": self.feed.within(self.name, "", folder),
                "covariates": {name: feed.within(self.name, name, folder) for name, feed in self.covariates.items()},
            }
        )
        product._folder = folder
        return product

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The observations, then the covariates."""
        return self.feed, *self.covariates.values()

    @model_validator(mode="after")
    def _named(self) -> Self:
        for name, feed in {"": self.feed, **self.covariates}.items():
            feed._product, feed._name = self.name, name
        return self

    @model_validator(mode="after")
    def _targets_exist(self) -> Self:
        for target in self.forecast.targets:
            if target not in self.feed.variables:
                known = ", ".join(self.feed.variables)
                raise ValueError(f"forecast.targets: '{target}' is not in feed.variables; known: {known}")
        if not self.forecast.targets:
            raise ValueError("forecast.targets: empty; name at least one of feed.variables")
        return self
