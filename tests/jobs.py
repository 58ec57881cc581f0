"""Every job under one name, as tests call them: ``jobs.ingest(workspace, at=...)``."""

from pipeline.jobs.backfill import backfill
from pipeline.jobs.backtest import backtest
from pipeline.jobs.clock import now_of
from pipeline.jobs.explain import explain
from pipeline.jobs.forecast import forecast
from pipeline.jobs.ingest import ingest
from pipeline.jobs.maintain import maintain
from pipeline.jobs.models import models
from pipeline.jobs.promote import promote, rollback
from pipeline.jobs.quarantine import list_refused, show_refused
from pipeline.jobs.release import drop, release
from pipeline.jobs.retrain import retrain
from pipeline.jobs.search import search
from pipeline.jobs.status import status
from pipeline.jobs.verify import verify

__all__ = [
    "backfill",
    "backtest",
    "drop",
    "explain",
    "forecast",
    "ingest",
    "list_refused",
    "maintain",
    "models",
    "now_of",
    "promote",
    "release",
    "retrain",
    "rollback",
    "search",
    "show_refused",
    "status",
    "verify",
]
