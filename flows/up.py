"""`nightcast up`: everything on one laptop by one command. Ctrl-C stops it all."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flows.servers import LOOPBACK, Installation, Ports
from flows.supervise import ProcessGroup, Service, ServiceError, Stopped, run
from pipeline.config import FilesSource, Product, Settings, load_product, settings
from pipeline.errors import SourceError, UsageError
from pipeline.locations import read_locations
from pipeline.paths import deploy_folder, resolve


def up(
    products: Annotated[
        list[Path] | None, typer.Argument(help="Product files. Default: the ones that come along.")
    ] = None,
    port_prefect: Annotated[int, typer.Option(help="Port of the Prefect server.", min=1, max=65535)] = 4200,
    port_mlflow: Annotated[int, typer.Option(help="Port of the MLflow server.", min=1, max=65535)] = 5000,
    port_pages: Annotated[int, typer.Option(help="Port of the report pages.", min=1, max=65535)] = 8300,
    host: Annotated[str, typer.Option(help="Address to listen on; only this machine's own is possible.")] = LOOPBACK,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON once all is ready.")] = False,
) -> None:
    """Start both servers, a worker and the report pages, and schedule every job. Ctrl-C stops all."""
    console = Console(stderr=True, highlight=False)
    here = settings()
    if host not in (LOOPBACK, "localhost"):
        raise UsageError(f"--host {host} would let others in without a password; only {LOOPBACK} is possible, for now")
    chosen = _choose(products or [], console)
    stop = Event()
    with ExitStack() as stack:
        stack.enter_context(_only_one(here.home))
        own = Installation(here, _ports(here, port_prefect, port_mlflow, port_pages))
        stack.enter_context(_signals(stop))
        try:
            _run(own, chosen, stop, console, as_json)
        except Stopped:
            console.print("Stopped.")
        except ServiceError as error:
            for line in error.last_words:
                console.print(f"[dim]|[/] {escape(line)}", soft_wrap=True)
            raise


def _run(own: Installation, chosen: list[Path], stop: Event, console: Console, as_json: bool) -> None:
    began = time.monotonic()
    tracked = not own.settings.tracking_uri
    (own.home / "mlflow" / "artifacts").mkdir(parents=True, exist_ok=True)
    with ProcessGroup(stop) as crew:
        prefect, mlflow, worker = own.prefect(), own.mlflow(), own.worker()
        crew.start(prefect)
        if tracked:
            with _step(console, "MLflow's tables"):
                run(
                    own.mlflow_upgrade(),
                    own.environment(),
                    own.log("mlflow-upgrade"),
                    what="mlflow db upgrade",
                    stop=stop,
                )
            crew.start(mlflow)
        _ready(crew, prefect, console)
        with _step(console, "schedules and forms of every job"):
            _register(own, chosen, stop)
        crew.start(worker)
        if tracked:
            _ready(crew, mlflow, console)
        _ready(crew, worker, console)
        with _pages(own):
            _tell(own, console, as_json, time.monotonic() - began)
            try:
                crew.watch()
            finally:
                console.print("Stopping …")
    console.print("Stopped.")


def _choose(given: list[Path], console: Console) -> list[Path]:
    """Return the product files to schedule: those given, or all that come along and can be used here."""
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
        raise UsageError("there is no product to run; give a product file, e.g. nightcast up my-product.yaml")
    return [path for path, _ in loaded]


def _ports(here: Settings, prefect: int, mlflow: int, site: int) -> Ports:
    wanted = {"--port-prefect": prefect, "--port-pages": site} | (
        {} if here.tracking_uri else {"--port-mlflow": mlflow}
    )
    if len(set(wanted.values())) < len(wanted):
        raise UsageError(f"{', '.join(wanted)} must differ")
    for option, port in wanted.items():
        if not _free(port):
            raise UsageError(f"port {port} is in use; stop what listens there or give another with {option}")
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
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home for this process.

    Raises:
        UsageError: another one holds it.
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
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
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


def _ready(crew: ProcessGroup, service: Service, console: Console) -> None:
    with _step(console, service.name):
        crew.await_healthy(service)


def _register(own: Installation, chosen: list[Path], stop: Event) -> None:
    command = [sys.executable, "-m", "flows.deployments", "--alone", "--pages", own.pages_url, *map(str, chosen)]
    run(command, own.environment(), own.log("deployments"), what="the registration of deployments", stop=stop)


def _pages(own: Installation) -> AbstractContextManager[int]:
    from flows import pages  # loads a web server, which other commands do not need

    return pages.serve(own.home, LOOPBACK, own.ports.pages, {"Prefect": own.prefect_url, "MLflow": own.mlflow_url})


def _tell(own: Installation, console: Console, as_json: bool, seconds: float) -> None:
    addresses = {"prefect": own.prefect_url, "mlflow": own.mlflow_url, "pages": own.pages_url}
    if as_json:
        typer.echo(json.dumps(addresses | {"home": str(own.home)}))
    console.print(
        f"\n[bold]Nightcast is up[/] after {seconds:.0f} s.\n\n"
        f"  Jobs and forms  {own.prefect_url}\n"
        f"  Models          {own.mlflow_url}\n"
        f"  Forecasts       {own.pages_url}\n\n"
        "Every job runs on its schedule. To run one now: first address, Deployments, Run.\n"
        f"From another terminal: nightcast status PRODUCT. Logs: {own.log('*')}. Ctrl-C stops everything.\n",
        soft_wrap=True,
    )
