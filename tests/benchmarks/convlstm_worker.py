"""One implementation in its own process, which reads commands from standard input."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.convlstm_case import AbsentError, Case, Implementation

NAMES = ("limit", "ours", "ours-bf16", "ours-compiled", "common", "openstl", "keras-torch", "keras-tensorflow")


def main() -> None:
    """Answer each command with a line of JSON on what standard output was; it now goes where errors go."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case = Case(**json.loads(sys.argv[2]))
    try:
        implementation = build(sys.argv[1], case)
    except (ImportError, AbsentError) as error:
        print(json.dumps({"absent": str(error)}), file=answers, flush=True)
        return
    about = {"parameters": implementation.parameters(), **implementation.about()}
    held = start_peak(case)
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        command, times = line.split()
        if command == "peak":
            answer = {"bytes": peak(case) - held}
        else:
            answer = timed(implementation, getattr(implementation, command), int(times))
        print(json.dumps(answer), file=answers, flush=True)


def build(name: str, case: Case) -> Implementation:
    """The implementation of that name.

    Raises:
        ImportError: what it needs is not installed here.
        AbsentError: this machine cannot run it as it is meant.
    """
    if name.startswith("keras"):
        os.environ["KERAS_BACKEND"] = name.removeprefix("keras-")
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        from tests.benchmarks.convlstm_keras import KerasNetwork

        return KerasNetwork(case)
    from tests.benchmarks.convlstm_torch import Limit, Network

    return Limit(case) if name == "limit" else Network(case, name)


def timed(implementation: Implementation, work: Callable[[], Any], times: int) -> dict[str, Any]:
    """Seconds of one repetition, the mean of `times`, and the loss of the first."""
    implementation.wait()
    started = time.perf_counter()
    losses = [work() for _ in range(times)]
    implementation.wait()
    return {"seconds": (time.perf_counter() - started) / times, "loss": losses[0]}


def start_peak(case: Case) -> int:
    """Let the high-water mark of memory start anew; what is held now: modules, weights, data."""
    if case.device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak(case: Case) -> int:
    """The high-water mark."""
    if case.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM")


def _resident(which: str) -> int:
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise OSError(f"/proc/self/status has no {which}")
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
