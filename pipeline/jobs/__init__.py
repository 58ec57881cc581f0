"""The jobs, each as its steps in order. Flows run the steps as tasks, the command line calls them plainly.

`at` is the instant that counts as now. Without it, it is the wall clock's for a live feed, and for the record of an
archive the instant at which its next value would be due.
"""

from pipeline.jobs.backfill import backfill
from pipeline.jobs.clock import now_of
from pipeline.jobs.forecast import forecast, verify
from pipeline.jobs.ingest import ingest, worst_checks
from pipeline.jobs.maintain import maintain
from pipeline.jobs.quarantine import drop, list_refused, release, show_refused
from pipeline.jobs.retrain import retrain
from pipeline.jobs.serve import models, promote, rollback

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
    "verify",
    "worst_checks",
]
