"""What the ConvLSTM benchmark found: a table, a chart, and the ratios against their targets."""

from __future__ import annotations

import csv
import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.convlstm_case import Case

# (what, work, of whom the time is divided by that of whom, at least). The limit's time over ours is the share of it.
TARGETS = (
    ("common / ours", "train", "common", "ours", 1.25),
    ("OpenSTL / ours", "train", "openstl", "ours", 1.25),
    ("Keras on PyTorch / ours", "train", "keras-torch", "ours", 1.4),
    ("Keras on TensorFlow / ours", "train", "keras-tensorflow", "ours", 1.05),
    ("limit / ours", "train", "limit", "ours", 0.80),
    ("common / ours", "infer", "common", "ours", 1.3),
    ("Keras on PyTorch / ours", "infer", "keras-torch", "ours", 2.0),
    ("limit / ours", "infer", "limit", "ours", 0.85),
    ("ours / ours in bfloat16", "train", "ours", "ours-bf16", 1.7),
    ("common / ours in bfloat16", "train", "common", "ours-bf16", 2.2),
)
ON_GPU = (
    ("common / ours", "train", "common", "ours", 3.0),
    ("common / ours compiled", "train", "common", "ours-compiled", 3.0),
    ("common / ours in bfloat16", "train", "common", "ours-bf16", 3.0),
)
MEMORY = 0.7


@dataclass(frozen=True)
class Measured:
    """Seconds of each round by implementation and work, extra bytes at the peak of training, and the versions used."""

    case: Case
    about: dict[str, str]
    seconds: dict[str, dict[str, list[float]]]
    memory: dict[str, int]

    def ratio(self, above: str, below: str, work: str) -> tuple[float, float, float]:
        """Median, lowest and highest of the ratios within each round."""
        pairs = zip(self.seconds[above][work], self.seconds[below][work], strict=True)
        ratios = [one / other for one, other in pairs]
        return statistics.median(ratios), min(ratios), max(ratios)

    def title(self) -> str:
        case = self.case
        where = self.about.get("device") or f"{platform.machine()} CPU, {case.threads} threads"
        versions = ", ".join(f"{key} {value}" for key, value in self.about.items() if key != "device")
        return (
            f"{case.layers} layers, {case.inputs} input and {case.hidden} hidden channels, kernel {case.kernel}, "
            f"batch {case.batch}, {case.steps} steps, {case.size}x{case.size}; {where}; {allocator()}; {versions}"
        )

    def rows(self) -> list[list[str]]:
        """Each implementation: milliseconds, share of the limit with its range, and memory, in both kinds of work."""
        rows = []
        for name, seconds in self.seconds.items():
            row = [name]
            for work in ("train", "infer"):
                median, low, high = self.ratio("limit", name, work)
                row += [f"{statistics.median(seconds[work]) * 1e3:.0f}", f"{median:.2f} ({low:.2f}-{high:.2f})"]
            rows.append([*row, f"{self.memory[name] / 1e6:.0f}"])
        return rows


HEAD = ("implementation", "train ms", "share of limit", "infer ms", "share of limit", "train extra MB")


def allocator() -> str:
    """What allocates memory on the CPU, as the environment says."""
    preloaded = os.environ.get("LD_PRELOAD")
    settings = [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("MALLOC_")]
    return " ".join([Path(preloaded).name if preloaded else f"malloc of {' '.join(platform.libc_ver())}", *settings])


def print_table(measured: Measured) -> None:
    print(f"\n{measured.title()}\n")
    for row in (HEAD, *measured.rows()):
        print(f"{row[0]:<18}" + "".join(f"{cell:>20}" if n % 2 else f"{cell:>16}" for n, cell in enumerate(row[1:])))


def print_targets(measured: Measured) -> None:
    """Each ratio with its range, and whether the median reaches its target."""
    print()
    for what, work, above, below, target in TARGETS if measured.case.device == "cpu" else ON_GPU:
        if {above, below} <= measured.seconds.keys():
            median, low, high = measured.ratio(above, below, work)
            verdict = "met" if median >= target else "MISSED"
            print(f"{work:<7}{what:<28}{median:6.2f} ({low:.2f}-{high:.2f}), target at least {target}: {verdict}")
    if {"ours", "common"} <= measured.memory.keys():
        share = measured.memory["ours"] / measured.memory["common"]
        verdict = "met" if share <= MEMORY else "MISSED"
        print(f"{'train':<7}{'memory, ours / common':<28}{share:6.2f}, target at most {MEMORY}: {verdict}")


def write_table(found: list[Measured], folder: Path) -> None:
    """`convlstm.csv`, and `convlstm.md` for people."""
    with (folder / "convlstm.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "device", *HEAD])
        writer.writerows([one.case.size, one.case.device, *row] for one in found for row in one.rows())
    lines = []
    for one in found:
        lines += [one.title(), "", "| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in one.rows()] + [""]
    (folder / "convlstm.md").write_text("\n".join(lines))


def chart(found: list[Measured], folder: Path) -> None:
    """`convlstm.png`: the share of the limit that each reaches, with the range of the rounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), 2, squeeze=False)
    for row, one in zip(axes, found, strict=True):
        for axis, work in zip(row, ("train", "infer"), strict=True):
            names = [name for name in one.seconds if name != "limit"]
            shares = [one.ratio("limit", name, work) for name in names]
            medians = [median for median, _, _ in shares]
            ranges = [[m - low for m, low, _ in shares], [high - m for m, _, high in shares]]
            colours = ["tab:blue" if name.startswith("ours") else "tab:gray" for name in names]
            axis.barh(names, medians, xerr=ranges, color=colours, capsize=3)
            axis.axvline(1, color="black", linewidth=1)
            axis.invert_yaxis()
            axis.set_title(f"{work}, {one.case.size}x{one.case.size}")
            axis.set_xlabel("share of the convolution limit (more is faster)")
    figure.savefig(folder / "convlstm.png", dpi=120)
