"""The job `backtest`: what models would have forecast, trained at regular origins of the past, and how good it was."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path

from models.base import Epoch
from pipeline import atomic
from pipeline.errors import NoDataError, UsageError
from pipeline.features.snapshot import Snapshot, take_snapshot
from pipeline.jobs.clock import now_of
from pipeline.jobs.job import OnProgress, Progress, Result, Runner, call, ignore_progress
from pipeline.registry.backtest import record_backtest
from pipeline.registry.tracking import TrackingError
from pipeline.report import render_backtest
from pipeline.times import stamp
from pipeline.training.backtest.forecast import forecast_piece
from pipeline.training.backtest.page import backtest_page
from pipeline.training.backtest.pieces import PieceStore
from pipeline.training.backtest.plan import Piece, choose_recipes, find_origins, plan_pieces
from pipeline.training.backtest.results import BacktestScores
from pipeline.training.backtest.score import score_pieces
from pipeline.training.folds import split
from pipeline.version import code_version
from pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class BacktestResult(Result):
    """The outcome of one backtest, or of one part of it."""

    since: datetime
    until: datetime
    at: datetime
    """Time by which the observations that verify the forecasts were known."""
    every: timedelta
    part: tuple[int, int]
    """(k, n): the k-th of n parts of the work."""
    origins: int
    """Origins of the whole range."""
    pieces: int
    """Pieces of this part: one for each origin and model."""
    repeated: int
    """Pieces of this part that an earlier run had finished."""
    missing: int
    """Pieces of the whole range that are not finished; the other parts make them."""
    scores: BacktestScores | None
    """None while pieces are missing."""
    folder: Path | None
    """Folder of the result as JSON and as a page; None while pieces are missing."""
    run_id: str
    """MLflow run; empty while pieces are missing, or if MLflow cannot be reached."""


def backtest(
    ws: Workspace,
    *,
    since: datetime,
    until: datetime,
    models: Sequence[str] = (),
    every: timedelta = timedelta(weeks=1),
    part: tuple[int, int] = (1, 1),
    at: datetime | None = None,
    run: Runner = call,
    on_progress: OnProgress = ignore_progress,
) -> BacktestResult:
    """Train models at origins, forecast every issue time from each origin to the next, and score the forecasts.

    At an origin, training sees what was known then; a forecast sees what was known at its issue time. Both do what the
    live system does, with the exceptions that `forecast_piece` names. A finished piece, the forecasts of one model from
    one origin, is kept and not made again while data, settings and code are the same. Part k of n makes the pieces of
    every n-th origin, starting with the k-th; whichever run finds all pieces finished scores them.

    Raises:
        UsageError: the range has no issue time, or there is no such part, model or interval.
        NoDataError: too little was known at an origin to train, or nothing can be scored.
        StoreError: a store cannot be read or written; finished pieces stay.
    """
    product = ws.product
    first, parts = part
    if not 1 <= first <= parts:
        raise UsageError(f"part: {first}/{parts} does not exist; write 1/{parts} to {parts}/{parts}")
    if every <= timedelta():
        raise UsageError("every: write a time longer than 0, e.g. 1w")
    at = now_of(ws, at)
    origins = find_origins(ws.cadence, since, min(until, at), every)
    if not origins:
        span = f"{since:%Y-%m-%d %H:%M} and {min(until, at):%Y-%m-%d %H:%M} UTC"
        raise UsageError(f"{product.name}: no issue time between {span}; see schedule.forecast")
    known = run(take_snapshot, product, ws.cadence, ws.feed, ws.covariates, known_by=at)
    plan = plan_pieces(known, origins, choose_recipes(known, models))
    store = PieceStore(ws.layout.backtest_pieces)
    mine = [piece for pieces in plan[first - 1 :: parts] for piece in pieces]
    todo = [piece for piece in mine if piece.name not in store]
    _make(ws, known, todo, store, run, on_progress)
    result = BacktestResult(
        product=product.name,
        since=since,
        until=until,
        at=at,
        every=every,
        part=part,
        origins=len(origins),
        pieces=len(mine),
        repeated=len(mine) - len(todo),
        missing=sum(piece.name not in store for pieces in plan for piece in pieces),
        scores=None,
        folder=None,
        run_id="",
    )
    if result.missing:
        return result
    scores = run(score_pieces, known, plan, store)
    page = backtest_page(known, plan, scores, since=since, until=origins[-1].issues[-1], every=every)
    return run(_publish, ws, result, scores, render_backtest(page))


def _publish(ws: Workspace, result: BacktestResult, scores: BacktestScores, page: str) -> BacktestResult:
    """Return the result with its scores, after writing them and the page, and recording both in MLflow.

    Equal scores of equal ranges are one folder and one run. The scores are what counts, so a tracking server that
    cannot be reached is only logged.
    """
    content = scores.model_dump_json(indent=1)
    key = hashlib.sha256(f"{result.since} {result.until} {result.every} {content}".encode()).hexdigest()[:32]
    name = f"backtest {stamp(result.since)} {stamp(result.until)}"
    folder = ws.layout.backtests / f"{stamp(result.since)}-{stamp(result.until)}-{key[:8]}"
    atomic.write_file(folder / "backtest.json", content.encode())
    atomic.write_file(folder / "backtest.html", page.encode())
    parameters = {
        "product": result.product,
        "since": result.since.isoformat(),
        "until": result.until.isoformat(),
        "every": str(result.every),
        "verified_at": result.at.isoformat(),
        "origins": str(result.origins),
        "issues": str(scores.issues),
        "models": ", ".join(scores.models),
        "code_version": code_version(),
    }
    files = {"backtest.json": content, "backtest.html": page}
    try:
        run_id = record_backtest(ws.registry, scores, name=name, key=key, parameters=parameters, files=files)
    except TrackingError as error:
        log.warning("%s: the backtest is not recorded: %s", result.product, error)
        run_id = ""
    return result.model_copy(update={"scores": scores, "folder": folder, "run_id": run_id})


def _make(
    ws: Workspace, known: Snapshot, todo: Sequence[Piece], store: PieceStore, run: Runner, on_progress: OnProgress
) -> None:
    """Make the pieces, origin by origin."""

    def report(model: str, epoch: Epoch) -> None:
        if epoch.epochs == 1:  # a baseline
            return
        losses = f"loss {epoch.train_loss:.4f}"
        if isfinite(epoch.validation_loss):
            losses += f", validation {epoch.validation_loss:.4f}"
        on_progress(Progress(f"training {model}, epoch", epoch.epoch, epoch.epochs, losses))

    training: Snapshot | None = None
    for number, piece in enumerate(todo, 1):
        origin = piece.origin
        on_progress(Progress("piece", number, len(todo), f"{piece.model} from {origin.at:%Y-%m-%d %H:%M}"))
        if training is None or training.known_by != origin.at:
            with _named(origin.at):
                training = run(take_snapshot, ws.product, ws.cadence, ws.feed, ws.covariates, known_by=origin.at)
                folds = split(training)
        made = run(forecast_piece, piece, training, folds, known, on_epoch=report)
        store.write(piece.name, made)
        log.info("%s from %s: %.1f s", piece.model, origin.at, made.seconds)


@contextmanager
def _named(origin: datetime) -> Iterator[None]:
    try:
        yield
    except NoDataError as error:
        raise NoDataError(f"{error} (at the origin {origin:%Y-%m-%d %H:%M} UTC; a later --since has more)") from error
