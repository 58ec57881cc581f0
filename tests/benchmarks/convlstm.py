"""ConvLSTM against the convolution limit and the implementations in wide use, side by side in one run.

    python -m tests.benchmarks.convlstm [--size 32 64] [--device cuda] [--quick] [--python PATH] [--out FOLDER]

One process per implementation stays alive and does, in an order that alternates, a training step and an
inference. Quoted are medians and ranges of the ratios within each round. Weights, data, loss and optimiser are the
same; equal parameters and the same first loss are asserted before anything is timed. `--python` names an interpreter
that has Keras. What is not installed is left out with a line that says so. The allocator is that of the environment
(LD_PRELOAD, MALLOC_*), the same for all, and stated. Memory is the peak of the first two training steps beyond what
was held before them; compiling, where there is any, is in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.convlstm_case import Case
from tests.benchmarks.convlstm_report import Measured, chart, print_table, print_targets, write_table
from tests.benchmarks.convlstm_worker import NAMES

WORK = ("train", "infer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs="+", default=[32], help="cells along each side of the fields")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inputs", type=int, default=64, help="channels of the input; there are 64 hidden ones")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the Keras processes")
    parser.add_argument("--only", nargs="+", choices=NAMES, help="the limit and these alone")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, measures nothing")
    parser.add_argument("--out", type=Path, help="folder for a table and a chart")
    given = parser.parse_args()
    common = {"device": given.device, "threads": given.threads}
    found = []
    for size in [8] if given.quick else given.size:
        small: dict[str, Any] = {"batch": 2, "steps": 3, "hidden": 8, "inputs": 8} if given.quick else {}
        case = Case(**{"size": size, "inputs": given.inputs, **common, **small})
        names = [name for name in NAMES if given.only is None or name in {"limit", *given.only}]
        found.append(measure(case, names, rounds=2 if given.quick else given.rounds, python=given.python))
        print_table(found[-1])
        if not given.quick:
            print_targets(found[-1])
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        write_table(found, given.out)
        chart(found, given.out)


def measure(case: Case, names: list[str], *, rounds: int, python: str) -> Measured:
    """Start all, see that they compute the same, and time them in turns."""
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        about: dict[str, str] = {}
        for name in names:
            worker = stack.enter_context(started(name, case, python if name.startswith("keras") else sys.executable))
            hello = worker.hear()
            if "absent" in hello:
                print(f"{name} is left out: {hello['absent']}", flush=True)
                continue
            workers[name] = worker
            worker.parameters = hello.pop("parameters")
            about.update({key: value for key, value in hello.items() if value})
        agree(workers)
        measured = Measured(case, about, {name: {work: [] for work in WORK} for name in workers}, {})
        times = 10 if case.device == "cuda" else 1
        for name, worker in workers.items():
            # The second step, since Adam makes its moments at the end of the first.
            worker.ask("train", 1)
            measured.memory[name] = worker.ask("peak", 1)["bytes"]
            worker.ask("infer", times)
        for number in range(rounds):
            for name in sorted(workers, key=list(workers).index, reverse=number % 2 == 1):
                for work in WORK:
                    measured.seconds[name][work].append(workers[name].ask(work, times)["seconds"])
        return measured


def agree(workers: dict[str, Worker]) -> None:
    """Assert equal parameters and the same first loss, in bfloat16 to a hundredth. This compiles what is compiled."""
    parameters = {name: worker.parameters for name, worker in workers.items()}
    if len(set(parameters.values())) > 1:
        raise SystemExit(f"the implementations have different numbers of parameters: {parameters}")
    losses = {name: worker.ask("train", 1)["loss"] for name, worker in workers.items()}
    first = losses["ours"] if "ours" in losses else next(loss for loss in losses.values() if not math.isnan(loss))
    for name, loss in losses.items():
        if not (math.isnan(loss) or math.isclose(loss, first, rel_tol=1e-2 if "bf16" in name else 1e-5)):
            raise SystemExit(f"the implementations do not compute the same first loss: {losses}")


class Worker:
    """The far end of one implementation."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self.process, self.parameters = name, process, 0

    def ask(self, command: str, times: int) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command} {times}\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.name} ended: its own words stand above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def started(name: str, case: Case, python: str) -> Iterator[Worker]:
    command = [python, "-W", "ignore", "-m", "tests.benchmarks.convlstm_worker", name, json.dumps(asdict(case))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
    root = Path(__file__).parents[2]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=root) as process:
        try:
            yield Worker(name, process)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
