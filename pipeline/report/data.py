"""What the report page shows, as plain frozen objects. Times are UTC; a naive datetime counts as UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.fallback_level import FallbackLevel
from pipeline.report.basis_data import Basis
from pipeline.steps import Step

TimeLabel = Literal["start", "end"]
Instant = datetime | np.datetime64
Times = Sequence[datetime] | Sequence[np.datetime64] | npt.NDArray[np.datetime64]
Values = Sequence[float] | npt.NDArray[Any]
Table = Sequence[Sequence[float]] | npt.NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class StationSeries:
    """Recent observations of one variable at one station, and its forecast.

    NaN is a missing value, drawn as a gap; so is a step that `observed_time` does not contain.

    Attributes:
        station_id: Opaque id, unique within a variable.
        name: Name of the station.
        latitude: Degrees north; NaN keeps the station off the map.
        longitude: Degrees east, in any range.
        observed_time: Valid times (period end) of the observations, ascending.
        observed: Observed values, in the units of the variable.
        valid_time: Valid times (period end) of the forecast, ascending, shape `(lead,)`.
        quantile_levels: Levels in 0..1, ascending, shape `(level,)`.
        quantiles: Forecast, in the units of the variable, shape `(lead, level)`.

    Raises:
        ValueError: lengths or shapes do not match.
    """

    station_id: str
    name: str
    latitude: float
    longitude: float
    observed_time: Times
    observed: Values
    valid_time: Times
    quantile_levels: Values
    quantiles: Table

    def __post_init__(self) -> None:
        """Check lengths and shapes."""
        times, values = len(self.observed_time), len(self.observed)
        if times != values:
            raise ValueError(f"station {self.station_id!r}: {values} observed values for {times} times")
        want = (len(self.valid_time), len(self.quantile_levels))
        shape = np.asarray(self.quantiles, dtype=float).shape
        if shape != want and not (want[0] == 0 and np.asarray(self.quantiles).size == 0):
            raise ValueError(f"station {self.station_id!r}: quantiles have shape {shape}, expected {want}")


@dataclass(frozen=True, kw_only=True)
class LeadSkill:
    """Verified skill at one lead.

    Attributes:
        lead: Time from the issue time, in whole steps of their mean length.
        name: The lead in words, such as "3 mo"; empty if `lead` says it.
        crps: Mean CRPS of the model, in the units of the variable.
        baseline_crps: Mean CRPS of each baseline over the same forecasts, by name.
        coverage: Share in 0..1 of observations inside the interval; NaN where unknown.
        count: Number of forecast values behind the means.
        inner: Nominal share of each narrower interval, and the share of observations inside; empty where not counted.
    """

    lead: timedelta
    crps: float
    baseline_crps: tuple[tuple[str, float], ...] = ()
    coverage: float = float("nan")
    count: int = 0
    name: str = ""
    inner: tuple[tuple[float, float], ...] = ()

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """The baseline with the lowest finite CRPS and that CRPS, or None."""
        known = [item for item in self.baseline_crps if np.isfinite(item[1])]
        return min(known, key=lambda item: item[1]) if known else None

    @property
    def skill(self) -> float:
        """`1 - crps / best baseline`; NaN where either is unknown or the CRPS of the baseline is 0."""
        best = self.best_baseline
        if best is None or best[1] <= 0 or not np.isfinite(self.crps):
            return float("nan")
        return 1.0 - self.crps / best[1]


@dataclass(frozen=True, eq=False, kw_only=True)
class VariableForecast:
    """One target variable: its stations and its verified skill.

    Attributes:
        name: Key, such as `wind_speed`.
        title: Name in words, such as "Wind speed".
        units: UDUNITS text, such as "m s-1".
        stations: Every station of the forecast.
        skill: One entry per lead, ascending; empty until a forecast is verified.
        nominal_coverage: Nominal share in 0..1 of the interval of `LeadSkill.coverage`.
        skill_period: Period that the skill covers, such as "over the last 90 days".
    """

    name: str
    title: str
    units: str
    stations: tuple[StationSeries, ...]
    skill: tuple[LeadSkill, ...] = ()
    nominal_coverage: float = 0.8
    skill_period: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The model behind the forecast.

    Attributes:
        name: Champion, such as "attention-convlstm"; empty if none was in use.
        version: Registry version.
        digest: Full digest of the weights; the page shows its beginning.
        trained_through: End of the training data.
        gate_verdict: The gate's verdict as a sentence.
        intervals: Nominal share in 0..1 of each interval, and that of held-out observations inside, the widest first.
        served_by: Model that made this forecast, such as "persistence", where it was not the champion.
    """

    name: str
    version: str = ""
    digest: str = ""
    trained_through: Instant | None = None
    gate_verdict: str = ""
    intervals: tuple[tuple[float, float], ...] = ()
    served_by: str = ""


@dataclass(frozen=True, kw_only=True)
class RefusedReason:
    """Rows quarantined for one reason."""

    reason: str
    count: int


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The observations behind the forecast.

    Attributes:
        as_of: The forecast uses only what was known at this instant.
        newest_observation: Valid time of the newest observation used.
        input_age: From the newest observation to the issue time.
        added: Rows with a new key that were stored within `counted_over`.
        revised: Rows that revised an earlier value within `counted_over`.
        refused: Rows refused within `counted_over`.
        counted_over: Length of the recent period that is counted.
        refused_reasons: Refused rows by reason.
        missing_stations: Names of stations without a current observation.
        missing_covariates: Names of covariates without values for the forecast times.
    """

    as_of: Instant
    newest_observation: Instant | None = None
    input_age: timedelta | None = None
    added: int = 0
    revised: int = 0
    refused: int = 0
    counted_over: timedelta = timedelta(days=1)
    refused_reasons: tuple[RefusedReason, ...] = ()
    missing_stations: tuple[str, ...] = ()
    missing_covariates: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportData:
    """Everything on one report page.

    Attributes:
        product: Key of the product, such as "ireland-wind".
        title: Its name for readers.
        issue_time: Issue time of the forecast.
        step: One time step.
        fallback_level: What made the forecast, and from what input.
        fallback_reason: Why no better fallback level, or not the refit of the champion, was used, as a sentence without
            a full stop; empty if the forecast is that of the champion's refit, or if nothing says why.
        variables: Target variables; each is a section of the page.
        model: The model behind the forecast.
        data: The observations behind the forecast.
        basis: What the forecasts of the champion rest on; None if it was not explained or did not make this forecast.
        time_label: "end" labels a value with its valid time, "start" with the beginning of its period: the daily
            value valid at 15 December 00:00 is labelled "14 Dec".
        location_kind: What one location is.
        licence: Provenance and licence of the data, as plain text.
        nightcast_version: Version that made the page.
        code_version: Commit or build that made the forecast.
        links: `(label, relative path)` of files beside the page, such as `("forecast", "forecast.nc")`;
            anything but a plain relative path appears without a link.
    """

    product: str
    title: str
    issue_time: Instant
    step: Step
    fallback_level: FallbackLevel
    variables: tuple[VariableForecast, ...]
    model: ModelFacts
    data: DataFacts
    basis: Basis | None = None
    time_label: TimeLabel = "end"
    location_kind: Literal["station", "cell"] = "station"
    fallback_reason: str = ""
    licence: str = ""
    nightcast_version: str = ""
    code_version: str = ""
    links: tuple[tuple[str, str], ...] = field(default=())
