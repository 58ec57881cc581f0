"""The world of the demo: the shipped record, delivered day by day, with the troubles that real feeds have.

Every trouble is written down here, and every true value arrives in the end.
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
TROUBLES = {
    2: "Valentia's value comes two days late",
    4: "Dublin reports 999 knots, corrected the day after",
    5: "the file of the day does not come until tomorrow",
    7: "Malin Head reports -9999, corrected the day after",
    9: "Birr's value is preliminary, revised two days later",
    11: "Clones reports 'calm?', corrected the day after",
}
"""By day of the demo, counted from 0."""


@dataclass(frozen=True)
class Delivery:
    """A file that appears in the inbox."""

    name: str
    text: str


class World:
    """The Irish wind record as a live feed in virtual time.

    Day n of the demo is a calendar day on which the mean of the day before arrives.
    """

    def __init__(self, inbox: Path) -> None:
        self.inbox = inbox
        shipped = load_product(deploy_folder() / "products" / "ireland-wind.yaml")
        source = shipped.feed.source
        assert isinstance(source, FilesSource)  # noqa: S101 - the shipped product says so
        record = pd.read_parquet(resolve(source.path, shipped.folder))
        self._record = record.set_index("time").astype(object)
        self._last = pd.Timestamp(record["time"].iloc[-1])
        self.product = _live(shipped, inbox)

    @property
    def starts(self) -> datetime:
        """When the demo loads its history and trains for the first time."""
        return self.day(0) - timedelta(hours=12)

    def day(self, number: int) -> datetime:
        """Return midnight of a day of the demo; on the last one arrives the last value of the record."""
        return (
            (self._last + pd.Timedelta(1, "D") - pd.Timedelta(DAYS - 1 - number, "D"))
            .to_pydatetime()
            .replace(tzinfo=UTC)
        )

    def deliver_history(self) -> None:
        """Put everything before the first day into the inbox, and nothing else.

        What a demo that was stopped left there would arrive before its day.
        """
        shutil.rmtree(self.inbox, ignore_errors=True)
        self._put(Delivery("history.csv", self._lines(self._record.loc[: self._covered(0) - pd.Timedelta(1, "D")])))

    def deliver(self, number: int) -> None:
        """Put into the inbox what arrives on a day of the demo."""
        for delivery in self._deliveries(number):
            self._put(delivery)

    def _deliveries(self, number: int) -> list[Delivery]:
        day = self._record.loc[[self._covered(number)]].copy()
        when = day.index[0]
        found = []
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
            found.append(Delivery(f"{when:%Y-%m-%d}.csv", self._lines(day)))
        for late, station, since in (
            (4, "VAL", 2),
            (5, "DUB", 4),
            (8, "MAL", 7),
            (11, "BIR", 9),
            (12, "CLO", 11),
        ):
            if number == late:
                was = self._covered(since)
                found.append(Delivery(f"{was:%Y-%m-%d}-{station}.csv", self._lines(self._record.loc[[was]][[station]])))
        if number == 6:
            was = self._covered(5)
            found.append(Delivery(f"{was:%Y-%m-%d}.csv", self._lines(self._record.loc[[was]])))
        return found

    def _covered(self, number: int) -> pd.Timestamp:
        """The calendar day whose mean arrives on a day of the demo."""
        return self._last - pd.Timedelta(DAYS - 1 - number, "D")

    @staticmethod
    def _lines(rows: pd.DataFrame) -> str:
        text: str = rows.to_csv(date_format="%Y-%m-%d", index_label="time", lineterminator="\n")
        return text

    def _put(self, delivery: Delivery) -> None:
        atomic.write_file(self.inbox / delivery.name, delivery.text.encode())


def _live(shipped: Product, inbox: Path) -> Product:
    """The shipped product, reading the inbox as a live feed of CSV files."""
    source = shipped.feed.source.model_copy(update={"path": str(inbox / "*.csv"), "format": "csv"})
    feed = shipped.feed.model_copy(update={"source": source, "mode": "live"})
    training = shipped.training.model_copy(update={"budget": timedelta(seconds=60)})
    return shipped.model_copy(update={"feed": feed, "training": training}).within(shipped.folder)
