"""Spatial attention against the naive one, side by side in this one run.

    python -m tests.benchmarks.attention [--large] [--rounds 9] [--only map step pooled]

Naive is what public SA-ConvLSTM code does: 1x1 convolutions, `bmm`, a softmax over all cells by all cells, `bmm`. Both
sides have the same weights (the scale of the scores is folded into the naive side's query, so that it costs it
nothing), see the same numbers, and must agree in output and gradients before anything is timed. Each side is a process
of its own; the sides take turns, and which one begins alternates. Printed are medians of the ratios naive / ours of
each round, and their range:

* map: one attention, from projected queries, keys and values to what was found;
* step: one step of the memory, every cell a token;
* pooled: the same, but ours with 16 x 16 tokens, as it is by default (another function; its ratio is no target);

and of each side the peak of memory above its inputs and weights, and the largest single allocation, on a GPU too.

The allocator decides much of the ratio on a CPU: with the C library's defaults the naive side takes its maps from the
system anew at every call. Run it with `MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296` too, and state which.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from models.layers.scaled import scaled_attention
from models.layers.spatial_memory import SpatialMemory

CHANNELS, THREADS = 64, 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH = {32: 8, 64: 2}
SIDES = ("naive", "ours")
WHATS = ("map", "step", "pooled")
TARGETS = {"forward": 2.2, "forward + backward": 1.5}


class NaiveMemory(nn.Module):
    """The self-attention memory as public code writes it."""

    def __init__(self, like: SpatialMemory) -> None:
        super().__init__()
        self.query = convolution(like.query, scale=CHANNELS**-0.5)
        self.near_key = convolution(like.near_key)
        self.near_value = convolution(like.near_value)
        self.past_key = convolution(like.past_key)
        self.past_value = convolution(like.past_value)
        self.fuse = convolution(like.fuse)
        self.gates = convolution(like.gates)
        self.gate = nn.Parameter(like.gate.data.clone())

    def step(self, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        query = self.query(hidden).flatten(2).transpose(1, 2)
        near = naive_map(query, self.near_key(hidden).flatten(2), self.near_value(hidden).flatten(2))
        past = naive_map(query, self.past_key(memory).flatten(2), self.past_value(memory).flatten(2))
        fused = self.fuse(torch.cat([near.view_as(hidden), past.view_as(hidden)], dim=1))
        enter, candidate, leave = self.gates(torch.cat([fused, hidden], dim=1)).chunk(3, dim=1)
        enter = torch.sigmoid(enter)
        memory = (1 - enter) * memory + enter * torch.tanh(candidate)
        return hidden + self.gate * torch.sigmoid(leave) * memory, memory


def convolution(like: nn.Linear, *, scale: float = 1.0) -> nn.Conv2d:
    """The 1x1 convolution with the weights of a linear layer."""
    made = nn.Conv2d(like.in_features, like.out_features, 1, bias=like.bias is not None)
    made.weight.data = scale * like.weight.data[..., None, None]
    if made.bias is not None:
        made.bias.data = scale * like.bias.data
    return made


def naive_map(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """From (n, cells, d), (n, d, cells) twice to (n, d, cells)."""
    weights = torch.softmax(torch.bmm(query, key), dim=-1)
    return torch.matmul(weights, value.permute(0, 2, 1)).transpose(1, 2).contiguous()


class Side:
    """One implementation, its inputs, and what it does with them."""

    def __init__(self, side: str, what: str, size: int) -> None:
        torch.manual_seed(0)
        ours = side == "ours"
        self.memory = SpatialMemory(CHANNELS, most=256 if what == "pooled" and ours else size * size)
        nn.init.ones_(self.memory.gate)
        self.naive = NaiveMemory(self.memory).to(DEVICE)
        self.memory.to(DEVICE)
        fields = [torch.randn(BATCH[size], CHANNELS, size, size) for _ in range(4)]
        if ours:
            # Each side gets the layout that its network has.
            fields = [field.contiguous(memory_format=torch.channels_last) for field in fields]
        self.probe, *self.inputs = [field.to(DEVICE) for field in fields]
        if what == "map":
            self.leaves = dict(zip(("query", "key", "value"), self.inputs, strict=True))
            self.run: Callable[[], Tensor] = self._map if ours else self._naive_map
        else:
            module = self.memory if ours else self.naive
            if ours:
                self.inputs[1] = self.memory.step(self.inputs[1])[1].detach() if what == "pooled" else self.inputs[1]
            self.leaves = {"hidden": self.inputs[0], **dict(module.named_parameters())}
            self.run = lambda: module.step(*self.inputs[:2])[0]
        for leaf in self.leaves.values():
            leaf.requires_grad_()

    def _map(self) -> Tensor:
        query, key, value = (part.flatten(2).transpose(1, 2).unsqueeze(1) for part in self.inputs)
        return scaled_attention(query, key, value).squeeze(1).transpose(1, 2).view(self.probe.shape)

    def _naive_map(self) -> Tensor:
        query, key, value = (part.flatten(2) for part in self.inputs)
        return naive_map((query / CHANNELS**0.5).transpose(1, 2), key, value).view_as(self.probe)

    def phase(self, phase: str) -> Tensor:
        if phase == "forward":
            with torch.inference_mode():
                return self.run()
        found = self.run()
        found.backward(self.probe)  # type: ignore[no-untyped-call]
        return found

    def clear(self) -> None:
        for leaf in self.leaves.values():
            leaf.grad = None

    def check(self, path: str) -> None:
        """Write what both sides must agree in: the output, and all gradients but those of the scaled query."""
        found = {"output": self.phase("forward + backward").detach().flatten()}
        for name, leaf in self.leaves.items():
            if not name.startswith("query."):
                assert leaf.grad is not None
                found[name] = leaf.grad.flatten()
        save_file({name: one.cpu() for name, one in found.items()}, path)
        self.clear()

    def seconds(self, phase: str, times: int) -> float:
        synchronise()
        started = time.perf_counter()
        for _ in range(times):
            self.phase(phase)
            self.clear()
        synchronise()
        return (time.perf_counter() - started) / times

    def bytes(self, phase: str) -> dict[str, int]:
        """Peak above what is there before, and the largest single allocation, as the allocator saw them."""
        with profile(activities=activities(), profile_memory=True) as seen:
            self.phase(phase)
            synchronise()
        self.clear()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            seen.export_chrome_trace(str(path))
            events = json.loads(path.read_text())["traceEvents"]
        events = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
        facts = [event["args"] for event in events if (event["args"]["Device Type"] == 0) == (DEVICE == "cpu")]
        before = facts[0]["Total Allocated"] - facts[0]["Bytes"]
        return {
            "peak": max(fact["Total Allocated"] for fact in facts) - before,
            "largest": max(fact["Bytes"] for fact in facts),
        }


def activities() -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if DEVICE == "cuda" else [])


def synchronise() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def serve() -> None:
    """Do what each line of stdin asks for."""
    torch.set_num_threads(THREADS)
    side = None
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        if verb == "make":
            side = Side(*arguments)
            answer = None
        else:
            answer = getattr(side, verb)(*arguments)
        print(json.dumps(answer), flush=True)


class Worker:
    """A process with one side."""

    def __init__(self) -> None:
        # The profiler writes to stderr; of interest only when something went wrong.
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.attention", "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(THREADS)},
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.questions, self.answers = self.process.stdin, self.process.stdout

    def ask(self, *what: object) -> Any:
        self.questions.write(json.dumps(what) + "\n")
        self.questions.flush()
        answer = self.answers.readline()
        if not answer:
            self.errors.seek(0)
            raise SystemExit(self.errors.read())
        return json.loads(answer)

    def close(self) -> None:
        self.questions.close()
        self.process.wait()
        self.errors.close()


def main(sizes: list[int], whats: list[str], rounds: int) -> None:
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else f"CPU, {THREADS} threads"
    chosen = [f"{key}={value}" for key, value in os.environ.items() if key == "LD_PRELOAD" or key.startswith("MALLOC_")]
    print(f"torch {torch.__version__}, {name}, {CHANNELS} channels, allocator: {' '.join(chosen) or 'the default'}")
    print(f"ratios naive / ours: median of {rounds} rounds (range)")
    workers = {side: Worker() for side in SIDES}
    try:
        for size in sizes:
            for what in whats:
                compare(workers, what, size, rounds)
    finally:
        for worker in workers.values():
            worker.close()


def compare(workers: dict[str, Worker], what: str, size: int, rounds: int) -> None:
    batch = BATCH[size]
    print(f"{what}, {size} x {size} cells, batch {batch}; all by all: {batch * size**4 / 2**18:.0f} MiB", flush=True)
    for side, worker in workers.items():
        worker.ask("make", side, what, size)
    if what != "pooled":
        agree(workers)
    for phase, target in TARGETS.items():
        took: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(-1, rounds):
            for side in SIDES if turn % 2 else reversed(SIDES):
                seconds = workers[side].ask("seconds", phase, 4 if size < 64 else 1)
                if turn >= 0:
                    took[side].append(seconds)
        ratios = [naive / ours for naive, ours in zip(took["naive"], took["ours"], strict=True)]
        wanted = "" if what == "pooled" else f", target {target}"
        span = f"({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {phase}: {statistics.median(ratios):.2f} {span}{wanted}", flush=True)
        held = {side: workers[side].ask("bytes", phase) for side in SIDES}
        for side, one in held.items():
            print(f"    {side}: peak {one['peak'] / 2**20:.1f} MiB, largest tensor {one['largest'] / 2**20:.1f} MiB")
        # The widest tensor of a step is that of the three gates: linear in cells.
        if held["ours"]["largest"] > batch * size**2 * 3 * CHANNELS * 4:
            raise SystemExit(f"{what}, {phase}: an allocation grows faster than the number of cells")


def agree(workers: dict[str, Worker]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for side, worker in workers.items():
            worker.ask("check", f"{folder}/{side}")
        naive, ours = (load_file(f"{folder}/{side}") for side in SIDES)
    assert naive.keys() == ours.keys()
    for name, one in naive.items():
        assert (ours[name] - one).norm() <= 1e-4 * one.norm(), name


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="64 x 64 cells too")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=WHATS, default=WHATS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
    else:
        main([32, 64] if chosen.large else [32], chosen.only, chosen.rounds)
