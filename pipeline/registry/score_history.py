"""The table of paired scores of a product; see `pipeline.training.history`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.store.delta.table import Table
from pipeline.store.objects import ObjectStore
from pipeline.store.observations import TIME
from pipeline.training.history import Pair, PairedScores, ScoreHistory

SCHEMA = pa.schema(
    [
        ("challenger", pa.string()),
        ("rival", pa.string()),
        ("issue_time", TIME),
        ("challenger_score", pa.float64()),
        ("rival_score", pa.float64()),
        ("first_night", pa.bool_()),
    ]
)


class ScoreHistoryTable:
    """The paired scores of one product."""

    def __init__(self, store: ObjectStore) -> None:
        self.table = Table(store, SCHEMA)

    def read(self) -> ScoreHistory:
        """Return the scores of every pair."""
        frame = self.table.read().sort_by([("issue_time", "ascending")]).to_pandas()
        return {
            (str(challenger), str(rival)): PairedScores(
                part["issue_time"].dt.tz_localize(None).to_numpy().astype("datetime64[us]"),
                part[["challenger_score", "rival_score"]].to_numpy(np.float64).T,
                int(part["first_night"].sum()),
            )
            for (challenger, rival), part in frame.groupby(["challenger", "rival"], sort=True)
        }

    def add(self, history: ScoreHistory) -> None:
        """Store the scores that are newer than those in the table, pair by pair; a second call adds nothing."""

        def choose(present: pa.Table) -> pa.Table:
            newest = {
                (row["challenger"], row["rival"]): np.datetime64(row["issue_time_max"].replace(tzinfo=None), "us")
                for row in present.group_by(["challenger", "rival"]).aggregate([("issue_time", "max")]).to_pylist()
            }
            new = [_rows(pair, scores, newest.get(pair)) for pair, scores in history.items()]
            return pa.concat_tables([SCHEMA.empty_table(), *new])

        self.table.append(choose)


def _rows(pair: Pair, scores: PairedScores, after: np.datetime64 | None) -> pa.Table:
    new = np.full(len(scores.issues), True) if after is None else scores.issues > after
    count = int(new.sum())
    return pa.table(
        [
            pa.array([pair[0]] * count, pa.string()),
            pa.array([pair[1]] * count, pa.string()),
            pa.array(scores.issues[new]).cast(TIME),
            *(pa.array(row[new]) for row in scores.scores),
            pa.array((np.arange(len(new)) < scores.batch)[new]),
        ],
        schema=SCHEMA,
    )
