"""Every job under one name, as tests call them: ``jobs.ingest(workspace, at=...)``."""

from pipeline.jobs.backfill import backfill
from pipeline.jobs.clock import now_of
from pipeline.jobs.forecast import forecast, verify
from pipeline.jobs.ingest import ingest, worst_checks
from pipeline.jobs.maintain import maintain
from pipeline.jobs.quarantine import drop, list_refused, release, show_refused
from pipeline.jobs.retrain import retrain
from pipeline.jobs.serve import models, promote, rollback
from pipeline.jobs.status import status

__all__ = [
    "backfill",
    "drop",
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
    "show_refused",
    "status",
    "verify",
    "worst_checks",
]
