"""A product: what is forecast from which feeds, how models are trained and promoted, when jobs run. One YAML file."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from pipeline.config.base import Duration, Name, Strict
from pipeline.config.feed import Feed
from pipeline.config.output import AnyOutput
from pipeline.config.schedule import Schedule, once_a_step
from pipeline.errors import InvalidValueError

_DEFAULT_FORMATS: Any = ({"kind": "parquet"}, {"kind": "netcdf"}, {"kind": "report"})


class Forecast(Strict):
    """What each forecast contains."""

    targets: tuple[Name, ...]
    """Variables to forecast; must be in feed.variables."""
    context: Annotated[int, Field(ge=1, le=10_000)] = 14
    """Number of past time steps that a model receives as input."""
    horizon: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Number of time steps to forecast after the issue time."""
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Quantile levels to forecast and publish, ascending and including 0.5."""

    @field_validator("quantiles")
    @classmethod
    def _check_levels(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1 or 0.5 not in levels:
            raise InvalidValueError(
                f"{list(levels)} are not valid quantile levels",
                "write them in ascending order, within (0, 1), with 0.5",
            )
        return levels


def _check_option(value: object) -> object:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    if not texts and not isinstance(value, str | int | float | None):
        shown = json.dumps(value, default=str)[:80]
        raise InvalidValueError(f"got {shown}", "write a number, a text, true, false, null, or a list of texts")
    return value


Option = Annotated[float | int | bool | str | list[str] | None, BeforeValidator(_check_option)]


class Training(Strict):
    """How challengers are trained."""

    candidates: tuple[str, ...] = ("attention-convlstm", "ridge-var")
    """Models to train; the one that scores best on the validation issue times becomes the challenger. If it is not
    shown to be better than the baselines, the best of these challenges."""
    options: dict[str, dict[str, Option]] = {}
    """Model options by model name; null leaves the choice to the model."""
    window: Duration = timedelta(days=3652, hours=12)
    """Longest training period. It ends before the held-out issue times, and now for the fit that serves."""
    validation: Annotated[int, Field(ge=20)] | None = None
    """Number of issue times before the held-out ones, used for early stopping and to choose among candidates. Default:
    a fifth of them, at most a year."""
    budget: Duration = timedelta(minutes=10)
    """Time limit of a retrain, for everything from its start to the recorded decision. Candidates share what baselines
    and scoring leave; a model that would take too long is trained on the newest part of the data, or left out."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Random seed of a training run."""

    @field_validator("candidates")
    @classmethod
    def _check_candidates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidValueError(f"'{twice}' is listed twice", "list each candidate once")
        return names


class Gate(Strict):
    """What a challenger must achieve to be promoted. The score is the continuous ranked probability score (CRPS)."""

    issues: Annotated[int, Field(ge=20)] | None = None
    """Number of held-out issue times, the latest before the retrain, on which all models are scored. Default: those of
    the newest year, or of half of a shorter record."""
    against: tuple[Literal["champion", "baselines"], ...] = ("champion", "baselines")
    """Models that the challenger must beat."""
    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Probability of ever promoting a recipe that is no better than a rival, however many nights compare them; and
    probability that verification, within a year, puts the best baseline in the place of a champion that is no worse.
    The first holds while the product file stays the same. A changed option or location makes other recipes, which are
    tested anew, with this probability each time, on held-out forecasts that may be the same as before. After a change
    of the candidates, of this field or of `feed.delay`, the scores of earlier nights are tested anew by other rules."""
    refresh_margin: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """How much worse in CRPS a new fit of the champion's recipe may be than the one before, as a fraction; and a fit on
    all data than the fit that the gate judged, before that serves in its place."""
    coverage_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Largest allowed difference between the coverage of the widest interval and its nominal value, as a fraction."""


class Product(Strict):
    """A product file."""

    name: Name
    """Name of the product, its stores and its registered model: lower-case letters, digits, - and _."""
    title: str = ""
    """Title in reports and charts. Default: the name."""
    feed: Feed
    """Observations: the feed that is forecast and scored."""
    covariates: dict[Name, Feed] = {}
    """Further input feeds by name that are known in advance, such as a weather model. Each row carries known_at."""
    forecast: Forecast
    """What each forecast contains."""
    training: Training = Training()
    """How challengers are trained."""
    gate: Gate = Gate()
    """What a challenger must achieve to be promoted."""
    schedule: Schedule = Schedule()
    """When each job runs."""
    publish: Annotated[tuple[AnyOutput, ...], Field(validate_default=True)] = _DEFAULT_FORMATS
    """Formats in which forecasts are published."""
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the product file; relative paths start there."""
        return self._folder

    def within(self, folder: Path) -> Self:
        """Return a copy whose relative paths start at `folder`."""
        product = self.model_copy(
            update={
                "feed": self.feed.within(self.name, "", folder),
                "covariates": {name: feed.within(self.name, name, folder) for name, feed in self.covariates.items()},
            }
        )
        product._folder = folder
        return product

    def cron(self, job: str) -> str:
        """Return the cron expression of a scheduled job, in the zone of the schedule."""
        written: str | None = getattr(self.schedule, job)
        return written or once_a_step(self.feed.step, self.feed.delay, self.schedule.time_zone)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """The feed of observations, then those of covariates."""
        return self.feed, *self.covariates.values()

    @model_validator(mode="after")
    def _name_feeds(self) -> Self:
        for name, feed in {"": self.feed, **self.covariates}.items():
            feed._product, feed._name = self.name, name
        return self

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        for target in self.forecast.targets:
            if target not in self.feed.variables:
                known = ", ".join(self.feed.variables)
                raise InvalidValueError(
                    f"'{target}' is not in feed.variables", f"known: {known}", field="forecast.targets"
                )
        if not self.forecast.targets:
            raise InvalidValueError("empty", "name at least one of feed.variables", field="forecast.targets")
        return self
