"""Linear inverse model: a few patterns that drive each other, and what they leave over, damped."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.base import State, take
from models.baselines.base import Baseline, Floats, Known
from models.baselines.patterns import Patterns, advance, area_weight, autoregression, find_patterns
from models.errors import ModelError
from models.statistics.lags import autocorrelation, latest
from models.statistics.series import batches
from models.task import Inputs, Task, Windows

_MODES = (5, 10, 20, 40, 80)
_LAGS = (1, 2, 3)
_RIDGES = (0.003, 0.03, 0.3)
_USUAL = (10,)
_USUAL_RIDGE = 0.3
# A frame with fewer of its cells teaches no dynamics.
_ENOUGH = 0.5
# Prior weight, in frames, of the pool of all locations.
_POOLING = 30.0
# Windows that judge a choice; more change it no longer.
_JUDGES = 256


class LinearInverse(Baseline):
    """Empirical orthogonal functions whose amplitudes follow a vector autoregression, step by step.

    With one lag this is the linear inverse model of Penland and Sardeshmukh (1995). What the patterns leave over
    at a location fades as its own autocorrelation does. Amplitudes come from the known cells alone, by least squares
    around what the frames before let expect, so that an empty frame is bridged. Cells weigh as the cosine of latitude.

    Args:
        task: what to forecast.
        modes: patterns to keep; by default validation chooses among 5 to 80.
        lags: frames that the autoregression looks back; by default validation chooses among 1 to 3.

    Raises:
        ModelError: an option is out of range.
    """

    name: ClassVar[str] = "linear-inverse"

    def __init__(self, task: Task, *, modes: int | None = None, lags: int | None = None) -> None:
        super().__init__(task)
        if modes is not None and modes < 1:
            raise ModelError(f"linear-inverse: modes must be at least 1, found {modes}")
        if lags is not None and not 1 <= lags <= task.context:
            raise ModelError(f"linear-inverse: lags must lie within 1..{task.context}, found {lags}")
        self._given = {"modes": modes, "lags": lags}
        cells = np.arange(len(task.channels) * len(task.locations)).reshape(len(task.channels), -1)
        self._targets = cells[list(task.target_channels)].reshape(-1)

    def options(self) -> dict[str, Any]:
        """The constructor options, ready for JSON."""
        return dict(self._given)

    def _learn(self, anomaly: Floats, known: Known, validation: Windows) -> None:
        given, lags = self._given["modes"], self._given["lags"]
        flat, there = anomaly.reshape(len(anomaly), -1), known.reshape(len(known), -1)
        self._ever: Known = np.asarray(there.any(0))
        seen = there[:, self._ever].mean(1) >= _ENOUGH
        self._memory = np.clip(autocorrelation(anomaly, known, 1)[1].mean(), 0, 1).reshape(1)
        every = find_patterns(self.task, anomaly, known, max(_MODES) if given is None else given)
        # Patterns leave too little over of the frames they were found from, so each half is seen through the other.
        half = len(anomaly) // 2
        halves = [
            find_patterns(self.task, anomaly[part], known[part], len(every))
            for part in (slice(half, None), slice(half))
        ]
        usual = _MODES if len(validation) else _USUAL
        sizes = sorted({min(size, len(every)) for size in (usual if given is None else (given,))})
        depths = [lag for lag in _LAGS if lag <= self.task.context] if lags is None else [lags]
        least, chosen = np.inf, None
        for size in sizes:
            self._patterns = every.first(size)
            amplitudes = self._amplitudes(self._patterns, flat, there)
            first = self._rest(halves[0].first(size), flat[:half], there[:half])
            rest = np.concatenate([first, self._rest(halves[1].first(size), flat[half:], there[half:])])
            self._fade = self._fading(rest, there)
            trials = product(depths, _RIDGES) if len(validation) else [(depths[0], _USUAL_RIDGE)]
            for depth, ridge in trials:
                self._steps = autoregression(amplitudes, seen, depth, ridge)
                loss = self._squared_error(validation)
                if chosen is None or loss < least:
                    least, chosen = loss, (self._patterns, self._fade, self._steps, amplitudes)
        if chosen is not None:
            self._patterns, self._fade, self._steps, amplitudes = chosen
            self._left = self._unexplained(flat, there, amplitudes)

    def _amplitudes(self, patterns: Patterns, flat: Floats, there: Known) -> Floats:
        """Amplitudes (n, mode) of frames (n, cell) without a past."""
        return patterns.amplitudes(flat, there | ~self._ever, np.zeros((len(flat), len(patterns)), np.float32))

    def _rest(self, patterns: Patterns, flat: Floats, there: Known) -> Floats:
        """What patterns leave over of frames (n, cell)."""
        field = patterns.field(self._amplitudes(patterns, flat, there))
        return np.where(there, flat - field, np.float32(0))

    def _fading(self, rest: Floats, there: Known) -> Floats:
        """Autocorrelation (lag, target cell) of what the patterns leave over."""
        shape = (len(rest), len(self.task.targets), -1)
        most = self.task.context + self.task.leads
        fade = autocorrelation(rest[:, self._targets].reshape(shape), there[:, self._targets].reshape(shape), most)
        return fade.reshape(most + 1, -1)

    def _unexplained(self, flat: Floats, there: Known, amplitudes: Floats) -> Floats:
        """Deviation (lead, target cell) of what forecasts from each frame of the record miss."""
        lags, task = len(self._steps), self.task
        last = np.stack([amplitudes[lags - 1 - lag : len(flat) - lag] for lag in range(lags)])
        cells = self._targets
        rest = self._rest(self._patterns, flat, there)[lags - 1 :, cells]
        out = np.ones((task.leads, len(cells)), np.float32)
        for lead in range(1, task.leads + 1):
            last = advance(self._steps, last)
            pairs = slice(lags - 1 + lead, None)
            mean = (
                self._patterns.field(last[0], cells)[: len(flat[pairs])] + self._fade[lead] * rest[: len(flat[pairs])]
            )
            both = there[pairs][:, cells]
            square = np.where(both, np.square(flat[pairs][:, cells] - mean), 0)
            count, total = both.sum(0), square.sum(0, dtype=np.float64)
            pooled = (total.sum() + 1) / (count.sum() + 1)
            deviation = np.sqrt((total + _POOLING * pooled) / (count + _POOLING))
            out[lead - 1] = np.where(self._ever[cells], deviation.clip(1e-3, 1), 1)
        return out

    def core(self, inputs: Inputs, anomaly: Floats, known: Known) -> tuple[Floats, Floats]:
        """What patterns and leftovers give; the deviation grows to 1 as less of the last frames is known."""
        mean = self._mean(anomaly, known)
        coverage = known.reshape(*known.shape[:2], len(self._ever))[:, :, self._ever].mean(2)
        age = np.arange(known.shape[1])[::-1]
        share = (coverage * np.square(self._memory) ** age).max(1)[:, None, None]
        deviation = np.sqrt(1 - share * (1 - np.square(self._left)))
        shape = (len(anomaly), self.task.leads, len(self.task.targets), len(self.task.locations))
        return mean.reshape(shape), deviation.reshape(shape).astype(np.float32)

    def _mean(self, anomaly: Floats, known: Known) -> Floats:
        """Mean (n, lead, target cell) from contexts (n, frame, channel, location)."""
        n, frames = known.shape[:2]
        flat, there = anomaly.reshape(n, frames, len(self._ever)), known.reshape(n, frames, len(self._ever))
        if (there[:, -len(self._steps) :] | ~self._ever).all():
            # Complete frames say all that the older ones could.
            frames = len(self._steps)
            flat, there = flat[:, -frames:], there[:, -frames:]
        last = np.zeros((len(self._steps), n, len(self._patterns)), np.float32)
        rest = np.zeros((n, frames, 1, len(self._targets)), np.float32)
        for frame in range(frames):
            last = advance(self._steps, last)
            last[0] = self._patterns.amplitudes(flat[:, frame], there[:, frame] | ~self._ever, last[0])
            rest[:, frame, 0] = flat[:, frame, self._targets] - self._patterns.field(last[0], self._targets)
        value, age = latest(rest, there[:, :, None, self._targets])
        value, age = value[:, 0], age[:, 0]
        out = np.empty((n, self.task.leads, len(self._targets)), np.float32)
        for lead in range(1, self.task.leads + 1):
            last = advance(self._steps, last)
            fade = np.take_along_axis(self._fade, age + lead, axis=0)
            out[:, lead - 1] = self._patterns.field(last[0], self._targets) + fade * value
        return out

    def _squared_error(self, windows: Windows) -> float:
        total = 0.0
        for batch in batches(windows, most=_JUDGES):
            truth, known = self.target_anomalies(batch)
            mean = self._mean(*self.anomalies(batch.inputs)).reshape(truth.shape)
            total += float(np.square(truth - mean, where=known, out=np.zeros_like(mean)).sum())
        return total

    def _learnt(self) -> dict[str, NDArray[Any]]:
        patterns = self._patterns
        return {
            "maps": patterns.maps,
            "variance": patterns.variance,
            "noise": np.array([patterns.noise]),
            "steps": self._steps,
            "fade": self._fade,
            "left": self._left,
            "ever": self._ever,
            "memory": self._memory,
        }

    def _restore(self, state: State) -> None:
        task = self.task
        cells, targets = len(task.channels) * len(task.locations), len(self._targets)
        variance = take(state, "variance")
        modes = variance.size
        steps = take(state, "steps")
        self._steps = take(state, "steps", (len(steps), modes, modes))
        maps, noise = take(state, "maps", (modes, cells)), float(take(state, "noise", (1,))[0])
        self._patterns = Patterns(maps, area_weight(task), variance, noise)
        self._fade = take(state, "fade", (task.context + task.leads + 1, targets))
        self._left = take(state, "left", (task.leads, targets))
        self._ever, self._memory = take(state, "ever", (cells,)), take(state, "memory", (1,))
