"""CPU seconds of commands that have next to nothing to do, of this checkout and, in turns, of another one.

    python -m tests.benchmarks.startup [--rounds 5] [--against PATH]

Each command runs in a process of its own, on the tiny product of ``tests/world.py`` after one ingest, retrain, forecast
and verification. The figure is user plus system time, children included: the least of all rounds, after one that is not
counted. Two checkouts take turns in every round; each makes its own product and home with its own code.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parents[2]
RUN = "import sys; from pipeline.cli import main; main()"
MAKE = "import sys; from pathlib import Path; from tests.world import make_product; make_product(Path(sys.argv[1]))"
REFUSED_BY_THE_GATE = 4


@dataclass(frozen=True)
class Command:
    """A command line, the exit code that it should end with, and the most CPU seconds that it may take."""

    title: str
    arguments: tuple[str, ...]
    target: float
    exit_code: int = 0


COMMANDS = (
    Command("`nightcast --help`", ("--help",), 0.7),
    Command("`check` of a file with a mistake", ("check", "wrong.yaml"), 0.7, exit_code=2),
    Command("`models`", ("models", "product.yaml"), 3),
    Command("`status`", ("status", "product.yaml"), 3),
    Command("`ingest` that finds nothing new", ("ingest", "product.yaml"), 3),
)


@dataclass
class Checkout:
    """A source tree with a product and a home of its own below `folder`."""

    path: Path
    folder: Path
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the product and run each job once."""
        self.folder.mkdir()
        self._write_metadata()
        self._run(MAKE, str(self.folder))
        product = self.folder / "product.yaml"
        (self.folder / "wrong.yaml").write_text(product.read_text().replace("delay:", "dealy:"))
        for job in ("ingest", "retrain", "forecast", "verify"):
            code = self._run(RUN, job, "product.yaml")
            if code not in (0, REFUSED_BY_THE_GATE):
                sys.exit(f"{self.path}: `nightcast {job}` ended with {code}")

    def measure(self, command: Command) -> None:
        """Run a command once and note its CPU seconds."""
        before = _cpu_seconds()
        code = self._run(RUN, *command.arguments)
        self.seconds.setdefault(command.title, []).append(_cpu_seconds() - before)
        if code != command.exit_code:
            sys.exit(f"{self.path}: `nightcast {' '.join(command.arguments)}` ended with {code}")

    def best(self, command: Command) -> float:
        """Return the least CPU seconds of a command, leaving out the first run."""
        return min(self.seconds[command.title][1:])

    def _run(self, code: str, *arguments: str) -> int:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTCAST_")}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(self.folder / "metadata"), str(self.path)]),
            "NIGHTCAST_HOME": str(self.folder / "home"),
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled once
        command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        ).returncode

    def _write_metadata(self) -> None:
        """Write the entry points of the checkout where they are found before those of the installed package."""
        project = tomllib.loads((self.path / "pyproject.toml").read_text())["project"]
        info = self.folder / "metadata" / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        groups = {"console_scripts": project["scripts"], **project["entry-points"]}
        lines = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in groups[group].items()) for group in groups
        ]
        (info / "entry_points.txt").write_text("\n".join(lines))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(rounds: int, against: Path | None) -> None:
    """Print a Markdown table, a row per command."""
    with tempfile.TemporaryDirectory() as folder:
        this = Checkout(HERE, Path(folder) / "this")
        checkouts = [this] if against is None else [Checkout(against.resolve(), Path(folder) / "other"), this]
        for checkout in checkouts:
            checkout.prepare()
        for _ in range(rounds + 1):
            for command in COMMANDS:
                for checkout in checkouts:
                    checkout.measure(command)
        names = ["this checkout"] if against is None else [against.name, "this checkout"]
        print(f"CPU seconds, best of {rounds}")
        print("| command | " + " | ".join(names) + " | target |")
        print("|---" * (len(names) + 2) + "|")
        for command in COMMANDS:
            cells = [f"{checkout.best(command):.2f}" for checkout in checkouts]
            print(f"| {command.title} | " + " | ".join(cells) + f" | at most {command.target:g} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout, to compare with")
    given = parser.parse_args()
    main(given.rounds, given.against)
