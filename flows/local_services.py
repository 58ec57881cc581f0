"""The local services of `nightcast up`: both servers, a worker, the report pages and every product's deployments."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import typer
from rich.console import Console
from rich.markup import escape

from flows import LOOPBACK, pages
from flows.servers import Installation, Ports
from flows.supervise import ProcessGroup, Service, ServiceError, Stopped, run
from pipeline.config import FilesSource, Product, Settings, load_product
from pipeline.errors import SourceError, UsageError
from pipeline.locations import read_locations
from pipeline.paths import deploy_folder, resolve


def run_local_services(
    settings: Settings, products: list[Path], *, prefect: int, mlflow: int, site: int, as_json: bool
) -> None:
    """Run everything until somebody asks to stop.

    Args:
        settings: The installation.
        products: Product files; empty for those that Nightcast ships.
        prefect: Port of the Prefect server.
        mlflow: Port of the MLflow server.
        site: Port of the report pages.
        as_json: Whether to print the addresses as JSON.

    Raises:
        UsageError: a port is in use, the products cannot be scheduled together, or it already runs for this home.
        ServiceError: a service failed; the end of its log is printed.
    """
    console = Console(stderr=True, highlight=False)
    files = select_products(products, console)
    stop = Event()
    with ExitStack() as stack:
        stack.enter_context(lock_home(settings.home))
        installation = Installation(settings, check_ports(settings, prefect, mlflow, site))
        stack.enter_context(_signals(stop))
        try:
            _run(installation, files, stop, console, as_json)
        except Stopped:
            console.print("Stopped.")
        except ServiceError as error:
            for line in error.log_tail:
                console.print(f"[dim]|[/] {escape(line)}", soft_wrap=True)
            raise


def _run(installation: Installation, files: list[Path], stop: Event, console: Console, as_json: bool) -> None:
    began = time.monotonic()
    own_mlflow = not installation.settings.tracking_uri
    (installation.home / "mlflow" / "artifacts").mkdir(parents=True, exist_ok=True)
    with ProcessGroup(stop) as group:
        prefect, mlflow, worker = installation.prefect(), installation.mlflow(), installation.worker()
        group.start(prefect)
        if own_mlflow:
            with _step(console, "MLflow's tables"):
                run(
                    installation.mlflow_upgrade(),
                    installation.environment(),
                    installation.log("mlflow-upgrade"),
                    name="mlflow db upgrade",
                    stop=stop,
                )
            group.start(mlflow)
        _wait_until_healthy(group, prefect, console)
        with _step(console, "schedules and forms of every job"):
            _register(installation, files, stop)
        group.start(worker)
        if own_mlflow:
            _wait_until_healthy(group, mlflow, console)
        _wait_until_healthy(group, worker, console)
        links = {"Prefect": installation.prefect_url, "MLflow": installation.mlflow_url}
        with pages.serve(installation.home, LOOPBACK, installation.ports.pages, links):
            _print_addresses(installation, console, as_json, time.monotonic() - began)
            try:
                group.wait()
            finally:
                console.print("Stopping …")
    console.print("Stopped.")


def select_products(given: list[Path], console: Console) -> list[Path]:
    """Return the product files to schedule: those given, or all that Nightcast ships and that can be used here."""
    loaded: list[tuple[Path, Product]] = []
    for path in given or sorted((deploy_folder() / "products").glob("*.yaml")):
        product = load_product(path)
        try:
            read_locations(product.feed)
            source = product.feed.source
            if isinstance(source, FilesSource):
                resolve(source.path, product.folder, extra=source.extra)
        except SourceError as error:
            if given:
                raise
            console.print(f"[yellow]left out[/]  {product.name}: {escape(str(error))}", soft_wrap=True)
            continue
        loaded.append((path.resolve(), product))
    names = [product.name for _, product in loaded]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two product files are called '{name}'; give each its own name")
    if not loaded:
        raise UsageError("no product to run; give a product file, e.g. nightcast up my-product.yaml")
    return [path for path, _ in loaded]


def check_ports(settings: Settings, prefect: int, mlflow: int, site: int) -> Ports:
    """Return the ports of every server; the one for the health of the worker is picked here.

    Raises:
        UsageError: two ports are equal, or one is in use.
    """
    wanted = {"--port-prefect": prefect, "--port-pages": site} | (
        {} if settings.tracking_uri else {"--port-mlflow": mlflow}
    )
    if len(set(wanted.values())) < len(wanted):
        raise UsageError(f"{', '.join(wanted)} must differ")
    for option, port in wanted.items():
        if not _free(port):
            raise UsageError(f"port {port} is in use; stop what listens there or choose another with {option}")
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return Ports(prefect, mlflow, site, probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Lock the home for this process.

    Raises:
        UsageError: another process holds the lock.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"`nightcast up` already runs for {home}; stop it first, or set NIGHTCAST_HOME") from None
        yield


@contextmanager
def _signals(stop: Event) -> Iterator[None]:
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    with console.status(f"{what} …"):
        yield
    console.print(f"[green]ready[/]  {what}  [dim]{time.monotonic() - began:.1f} s[/]")


def _wait_until_healthy(group: ProcessGroup, service: Service, console: Console) -> None:
    with _step(console, service.name):
        group.wait_until_healthy(service)


def _register(installation: Installation, files: list[Path], stop: Event) -> None:
    command = [
        sys.executable,
        "-m",
        "flows.deployments",
        "--alone",
        "--pages",
        installation.pages_url,
        *map(str, files),
    ]
    log = installation.log("deployments")
    run(command, installation.environment(), log, name="the registration of deployments", stop=stop)


def _print_addresses(installation: Installation, console: Console, as_json: bool, seconds: float) -> None:
    addresses = {
        "prefect": installation.prefect_url,
        "mlflow": installation.mlflow_url,
        "pages": installation.pages_url,
    }
    if as_json:
        typer.echo(json.dumps(addresses | {"home": str(installation.home)}))
    console.print(
        f"\n[bold]Nightcast is up[/] after {seconds:.0f} s.\n\n"
        f"  Jobs and forms  {installation.prefect_url}\n"
        f"  Models          {installation.mlflow_url}\n"
        f"  Forecasts       {installation.pages_url}\n\n"
        "Every job runs on its schedule. To run one now: first address, Deployments, Run.\n"
        f"From another terminal: nightcast status PRODUCT. Logs: {installation.log('*')}. Ctrl-C stops everything.\n",
        soft_wrap=True,
    )
