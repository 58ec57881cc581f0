"""The feed of the demo: the shipped sample, delivered day by day, with the faults that real feeds have.

All faults are listed here, and every true value is delivered in the end.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from pipeline import atomic
from pipeline.config import FilesSource, Product, load_product
from pipeline.paths import deploy_folder, resolve

DAYS = 14
RETRAIN_AFTER = 8
DAY = timedelta(days=1)
FAULTS = {
    2: "Valentia's value comes two days late",
    4: "Dublin reports 999 knots, corrected the day after",
    5: "the file of the day comes a day late",
    7: "Malin Head reports -9999, corrected the day after",
    9: "Birr's value is preliminary, revised two days later",
    11: "Clones reports 'calm?', corrected the day after",
}
"""By day of the demo, from 0."""


@dataclass(frozen=True)
class Delivery:
    """A file that appears in the inbox."""

    name: str
    text: str


class SampleFeed:
    """The Irish wind sample as a live feed in simulated time.

    On day n of the demo, the mean of the day before is delivered.
    """

    def __init__(self, inbox: Path, *, budget: timedelta) -> None:
        self.inbox = inbox
        shipped = load_product(deploy_folder() / "products" / "ireland-wind.yaml")
        source = shipped.feed.source
        assert isinstance(source, FilesSource)  # noqa: S101 - so it is in the shipped product
        record = pd.read_parquet(resolve(source.path, shipped.folder))
        self._record = record.set_index("time").astype(object)
        self._last = pd.Timestamp(record["time"].iloc[-1])
        self.product = _live(shipped, inbox, budget)

    @property
    def starts(self) -> datetime:
        """Time at which the demo loads the history and trains for the first time."""
        return self.day(0) - timedelta(hours=12)

    def day(self, number: int) -> datetime:
        """Return midnight of a day of the demo; on the last day, the last value of the sample is delivered."""
        return (
            (self._last + pd.Timedelta(1, "D") - pd.Timedelta(DAYS - 1 - number, "D"))
            .to_pydatetime()
            .replace(tzinfo=UTC)
        )

    def deliver_history(self) -> None:
        """Put everything before the first day into the inbox, and remove all else.

        Files of an interrupted demo would otherwise be ingested before their day.
        """
        shutil.rmtree(self.inbox, ignore_errors=True)
        self._put(Delivery("history.csv", self._csv(self._record.loc[: self._measured_day(0) - pd.Timedelta(1, "D")])))

    def deliver(self, number: int) -> None:
        """Put the files of a day of the demo into the inbox."""
        for delivery in self._deliveries(number):
            self._put(delivery)

    def _deliveries(self, number: int) -> list[Delivery]:
        day = self._record.loc[[self._measured_day(number)]].copy()
        when = day.index[0]
        files = []
        if number == 2:
            day = day.drop(columns="VAL")
        elif number == 4:
            day.loc[when, "DUB"] = 999
        elif number == 7:
            day.loc[when, "MAL"] = -9999
        elif number == 9:
            day.loc[when, "BIR"] = round(day.loc[when, "BIR"] * 0.6, 2)
        elif number == 11:
            day.loc[when, "CLO"] = "calm?"
        if number != 5:
            files.append(Delivery(f"{when:%Y-%m-%d}.csv", self._csv(day)))
        for late, station, since in (
            (4, "VAL", 2),
            (5, "DUB", 4),
            (8, "MAL", 7),
            (11, "BIR", 9),
            (12, "CLO", 11),
        ):
            if number == late:
                past = self._measured_day(since)
                files.append(Delivery(f"{past:%Y-%m-%d}-{station}.csv", self._csv(self._record.loc[[past]][[station]])))
        if number == 6:
            past = self._measured_day(5)
            files.append(Delivery(f"{past:%Y-%m-%d}.csv", self._csv(self._record.loc[[past]])))
        return files

    def _measured_day(self, number: int) -> pd.Timestamp:
        """Return the calendar day whose mean is delivered on a day of the demo."""
        return self._last - pd.Timedelta(DAYS - 1 - number, "D")

    @staticmethod
    def _csv(rows: pd.DataFrame) -> str:
        text: str = rows.to_csv(date_format="%Y-%m-%d", index_label="time", lineterminator="\n")
        return text

    def _put(self, delivery: Delivery) -> None:
        atomic.write_file(self.inbox / delivery.name, delivery.text.encode())


def _live(shipped: Product, inbox: Path, budget: timedelta) -> Product:
    """Return the shipped product with the inbox as a live feed of CSV files."""
    source = shipped.feed.source.model_copy(update={"path": str(inbox / "*.csv"), "format": "csv"})
    feed = shipped.feed.model_copy(update={"source": source, "mode": "live"})
    training = shipped.training.model_copy(update={"budget": budget})
    return shipped.model_copy(update={"feed": feed, "training": training}).within(shipped.folder)
