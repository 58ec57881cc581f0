"""Tasks and the arrays of a task. It imports only numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.legacy import upgrade_task
from models.steps import CalendarStep

TRANSFORMS = ("identity", "sqrt", "log1p")


@dataclass(frozen=True, slots=True)
class Task:
    """A complete forecasting problem: equal tasks accept exactly the same arrays.

    Attributes:
        channels: input variables, in the order of the channel axis.
        targets: forecast variables, a subset of `channels`, in the order of the target axis.
        context: number of input frames.
        leads: number of forecast frames; lead 1 is the frame after the last context frame.
        quantile_levels: ascending levels in (0, 1), including the median.
        step_seconds: seconds between frames; the mean for a calendar step.
        locations: opaque ids, in the order of the location axis.
        longitude: degrees east, one per location.
        latitude: degrees north, one per location.
        transforms: variance-stabilising transform of each channel.
        limits: lowest and highest physical value of each channel; forecasts are clipped to them.
        grid: (rows, columns) where the locations are the cells of a regular grid, row by row; None for stations.
        covariates: variables known in advance, in the order of the covariate axis.
        static: static fields such as altitude, in the order of `static_values`.
        static_values: (static, location), each in its own units.
        calendar: the step where frames are days of a zone, weeks, months or quarters; None where they are
            `step_seconds` apart.

    Raises:
        ModelError: a field contradicts another or is out of range.
    """

    channels: tuple[str, ...]
    targets: tuple[str, ...]
    context: int
    leads: int
    quantile_levels: tuple[float, ...]
    step_seconds: int
    locations: tuple[str, ...]
    longitude: tuple[float, ...]
    latitude: tuple[float, ...]
    transforms: tuple[str, ...]
    limits: tuple[tuple[float | None, float | None], ...]
    grid: tuple[int, int] | None = None
    covariates: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    static_values: tuple[tuple[float, ...], ...] = ()
    calendar: CalendarStep | None = None

    def __post_init__(self) -> None:
        for field, minimum in (("context", 1), ("leads", 1), ("step_seconds", 1)):
            value = getattr(self, field)
            _require(isinstance(value, int) and value >= minimum, field, f"a whole number >= {minimum}", value)
        if self.calendar is not None:
            mean = int(self.calendar.mean.total_seconds())
            _require(
                self.step_seconds == mean, "step_seconds", f"{mean}, the mean of a {self.calendar}", self.step_seconds
            )
        for field in ("channels", "targets", "locations"):
            names = getattr(self, field)
            distinct = len(names) > 0 and len(set(names)) == len(names)
            _require(distinct, field, "one or more distinct names", names)
        for field in ("covariates", "static"):
            names = getattr(self, field)
            _require(len(set(names)) == len(names), field, "distinct names", names)
        unknown = [name for name in self.targets if name not in self.channels]
        _require(not unknown, "targets", f"a subset of channels {list(self.channels)}", unknown)
        levels = self.quantile_levels
        rising = all(low < high for low, high in pairwise(levels))
        inside = all(0.0 < level < 1.0 for level in levels)
        _require(rising and inside and 0.5 in levels, "quantile_levels", "ascending in (0, 1) with 0.5", levels)
        for field, size in (
            ("longitude", len(self.locations)),
            ("latitude", len(self.locations)),
            ("transforms", len(self.channels)),
            ("limits", len(self.channels)),
            ("static_values", len(self.static)),
        ):
            found = len(getattr(self, field))
            _require(found == size, field, f"{size} entries", f"{found} entries")
        _require(bool(np.isfinite(self.longitude).all()), "longitude", "finite degrees east", self.longitude)
        northing = bool((np.abs(self.latitude) <= 90).all())
        _require(northing, "latitude", "degrees within -90..90", self.latitude)
        for name in self.transforms:
            _require(name in TRANSFORMS, "transforms", f"one of {list(TRANSFORMS)}", name)
        for low, high in self.limits:
            ordered = low is None or high is None or low < high
            _require(ordered, "limits", "the lower limit below the upper", (low, high))
        for name, values in zip(self.static, self.static_values, strict=True):
            usable = len(values) == len(self.locations) and bool(np.isfinite(values).all())
            _require(usable, f"static_values.{name}", "a finite number for each location", f"{len(values)} values")
        if self.grid is not None:
            cells = self.grid[0] * self.grid[1]
            _require(
                min(self.grid) > 0 and cells == len(self.locations), "grid", "rows x columns = locations", self.grid
            )

    @property
    def target_channels(self) -> tuple[int, ...]:
        """Position of each target on the channel axis."""
        return tuple(self.channels.index(name) for name in self.targets)

    def frame_numbers(self, time: NDArray[np.datetime64]) -> NDArray[np.int64]:
        """Return the number of the frame at each valid time; consecutive frames have consecutive numbers."""
        if self.calendar is not None:
            return self.calendar.numbers(time)
        return time.astype("datetime64[s]").astype(np.int64) // self.step_seconds

    def frame_times(self, numbers: NDArray[np.int64]) -> NDArray[np.datetime64]:
        """Return the valid times, in seconds, of the frames with these numbers."""
        if self.calendar is not None:
            return self.calendar.starts(numbers).astype("datetime64[s]")
        return (numbers * self.step_seconds).astype("datetime64[s]")

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, numbers and strings from which `from_json` makes an equal task."""
        document = {field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name != "calendar"}
        return document if self.calendar is None else {**document, "calendar": str(self.calendar)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Task:
        """Return the task that `to_json` wrote, in this version or an earlier one.

        Raises:
            ModelError: a key is missing or unknown, or a value is invalid.
        """
        document = upgrade_task(document)
        expected = {field.name for field in fields(cls)}
        optional = {field.name for field in fields(cls) if field.default is not MISSING}
        if missing := sorted(expected - optional - set(document)):
            raise ModelError(f"task: missing {missing}")
        if unknown := sorted(set(document) - expected):
            raise ModelError(f"task: unknown {unknown}")
        try:
            return cls(
                channels=_names(document["channels"]),
                targets=_names(document["targets"]),
                context=document["context"],
                leads=document["leads"],
                quantile_levels=_numbers(document["quantile_levels"]),
                step_seconds=document["step_seconds"],
                locations=_names(document["locations"]),
                longitude=_numbers(document["longitude"]),
                latitude=_numbers(document["latitude"]),
                transforms=_names(document["transforms"]),
                limits=tuple((_bound(low), _bound(high)) for low, high in document["limits"]),
                grid=_shape(document.get("grid")),
                covariates=_names(document.get("covariates", [])),
                static=_names(document.get("static", [])),
                static_values=tuple(_numbers(values) for values in document.get("static_values", [])),
                calendar=CalendarStep.parse(document["calendar"]) if document.get("calendar") else None,
            )
        except (TypeError, ValueError) as error:
            raise ModelError(f"task: {error}") from error


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything known at each of n issue times.

    Attributes:
        values: (n, context, channel, location), physical units, 0 where missing.
        mask: same shape, True where the value was known at the issue time.
        time: (n, context), UTC valid times of the frames.
        target_time: (n, lead), UTC valid times to forecast.
        covariates: (n, lead, covariate, location), covariates of the target times as known at the issue time, in
            their own units, 0 where missing; None where none is known.
        covariates_mask: same shape, True where known.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    time: NDArray[np.datetime64]
    target_time: NDArray[np.datetime64]
    covariates: NDArray[np.float32] | None = None
    covariates_mask: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def future_covariates(self, task: Task) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the covariates (n, lead, covariate, location), 0 where unknown, and their mask."""
        shape = (len(self), task.leads, len(task.covariates), len(task.locations))
        if self.covariates is None or self.covariates_mask is None:
            return np.zeros(shape, np.float32), np.zeros(shape, bool)
        return self.covariates, self.covariates_mask

    def chunks(self, size: int) -> Iterator[Inputs]:
        """Yield the inputs in chunks of at most `size` issue times; one empty chunk where there are none."""
        for start in range(0, max(len(self), 1), size):
            part = slice(start, start + size)
            cut = [None if (array := getattr(self, field.name)) is None else array[part] for field in fields(self)]
            yield Inputs(*cut)  # type: ignore[arg-type]

    def check(self, task: Task) -> None:
        """Raise ModelError unless the arrays have the shapes of `task`."""
        n = len(self.values)
        frames = (n, task.context, len(task.channels), len(task.locations))
        for name, found, expected in (
            ("values", self.values.shape, frames),
            ("mask", self.mask.shape, frames),
            ("time", self.time.shape, (n, task.context)),
            ("target_time", self.target_time.shape, (n, task.leads)),
        ):
            if found != expected:
                raise ModelError(f"inputs.{name}: expected shape {expected}, found {found}")
        expected = (n, task.leads, len(task.covariates), len(task.locations))
        for name in ("covariates", "covariates_mask"):
            array = getattr(self, name)
            if array is not None and array.shape != expected:
                raise ModelError(f"inputs.{name}: expected shape {expected}, found {array.shape}")


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs with the truth.

    Attributes:
        inputs: what was known at the issue times.
        target: (n, lead, target, location), physical units, 0 where missing.
        target_mask: same shape, True where observed.
    """

    inputs: Inputs
    target: NDArray[np.float32]
    target_mask: NDArray[np.bool_]


class Windows(Protocol):
    """Samples by index, sorted by issue time in a training set."""

    @property
    def task(self) -> Task:
        """The task of all samples."""
        ...

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def batch(self, index: NDArray[np.intp]) -> Batch:
        """Return the samples at these indices, in this order."""
        ...


def _require(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        raise ModelError(f"task.{field}: expected {expected}, found {found!r}")


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"expected a list of names, found {value!r}")
    return tuple(value)


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(float(item) for item in value)


def _shape(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    rows, columns = value
    return int(rows), int(columns)


def _bound(value: Any) -> float | None:
    return None if value is None else float(value)
