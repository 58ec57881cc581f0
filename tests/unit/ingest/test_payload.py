from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config import Product, Settings
from pipeline.config.feed import VariableSpec
from pipeline.errors import ContractError, NoDataError, SourceError, StoreError
from pipeline.ingest import payload as payload_module
from pipeline.ingest.fetch import fetch_payloads
from pipeline.ingest.payload import ingest_payload
from pipeline.ingest.quarantine import Quarantine
from pipeline.jobs.ingest import IngestResult
from pipeline.store.layout import FeedLayout
from pipeline.store.observations import AppendResult, Observations
from pipeline.store.raw import RawStore
from pipeline.store.receipts import Receipts
from pipeline.workspace import Workspace
from tests import jobs
from tests.unit.ingest.conftest import files_source
from tests.world import VARIABLE, make_product, make_settings

NOW = datetime(2001, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOTHING = AppendResult(0, 0, 0)
CSV = "time,S0,S1\n2001-01-01,1.0,2.0\n2001-01-02,3.0,4.0\n"


class Inbox:
    """A live feed of two stations that reads every file of a folder."""

    def __init__(self, folder: Path, form: str = "csv", **fields: str) -> None:
        source = {"path": f"inbox/*.{form}", "format": form, "layout": "wide"} | fields
        self.product: Product = make_product(folder, stations=2, days=3, feed={"mode": "live", "source": source})
        self.settings: Settings = make_settings(folder)
        self.folder, self.form = folder / "inbox", form
        self.folder.mkdir()
        self.layout = FeedLayout.of(self.product.feed, self.settings)
        self.observations = self.workspace.feed.observations
        self.quarantine = self.workspace.feed.quarantine

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.product, self.settings)

    def put(self, name: str, content: str | bytes) -> str:
        """Deliver a file; return its digest."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / f"{name}.{self.form}").write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def ingest(
        self, at: datetime = NOW, *, since: datetime | None = None, until: datetime | None = None
    ) -> IngestResult:
        return jobs.ingest(self.workspace, at=at, since=since, until=until)

    def values(self) -> dict[tuple[str, str], list[float | None]]:
        found: dict[tuple[str, str], list[float | None]] = {}
        for row in self.observations.read().to_pylist():
            found.setdefault((f"{row['valid_time']:%Y-%m-%d}", row["location"]), []).append(row[VARIABLE])
        return found

    def state(self) -> tuple[Any, ...]:
        """All that is stored, but for the raw payloads."""
        return self.observations.read(), self.quarantine.read(), list(Receipts(self.layout.receipts))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


ALL = {
    ("2001-01-01", "S0"): [1.0],
    ("2001-01-01", "S1"): [2.0],
    ("2001-01-02", "S0"): [3.0],
    ("2001-01-02", "S1"): [4.0],
}


def test_a_good_file_is_stored_and_receipted(inbox: Inbox) -> None:
    digest = inbox.put("a", CSV)
    result = inbox.ingest()
    assert (result.payloads, result.added, result.refused) == (1, 4, 0)
    assert inbox.values() == ALL
    assert RawStore(inbox.layout.raw).get(digest).content == CSV.encode()
    (receipt,) = Receipts(inbox.layout.receipts)
    assert (receipt["payload"], receipt["name"], receipt["at"]) == (digest, "inbox/a.csv", NOW.isoformat())
    assert (receipt["accepted"], receipt["refused"], receipt["checks"]["counts"]["refused"]) == (4, 0, 0)


def test_a_second_ingest_changes_nothing(inbox: Inbox) -> None:
    inbox.put("a", CSV)
    inbox.put("b", CSV.replace("3.0", "x").replace("4.0", "999"))
    inbox.ingest()
    before = inbox.state()
    result = inbox.ingest(NOW + DAY)
    assert (result.payloads, result.added, result.revised, result.refused) == (0, 0, 0, 0)
    assert inbox.state() == before


def test_taking_one_payload_in_twice_changes_nothing(inbox: Inbox) -> None:
    inbox.put("a", CSV.replace("4.0", "999"))
    (payload,) = fetch_payloads(inbox.workspace.feed, at=NOW)
    one = ingest_payload(payload, inbox.workspace.feed, at=NOW)
    before = inbox.state()[:2]
    other = ingest_payload(payload, inbox.workspace.feed, at=NOW + DAY)
    assert (one.appended, other.appended) == (AppendResult(3, 0, 0), AppendResult(0, 0, 3))
    assert one.refused == other.refused == 1
    assert inbox.state()[:2] == before


def test_the_same_content_under_another_name_tells_nothing_new(inbox: Inbox) -> None:
    inbox.put("a", CSV)
    inbox.ingest()
    inbox.put("copy", CSV)
    result = inbox.ingest(NOW + DAY)
    assert (result.added, result.revised, result.unchanged) == (0, 0, 4)
    assert inbox.ingest(NOW + 2 * DAY).payloads == 0


def test_a_correction_that_is_taken_back_is_taken_back(inbox: Inbox) -> None:
    for n, value in enumerate(("1.0", "7.0", "1.0")):
        inbox.put("a", f"time,S0,S1\n2001-01-01,{value},2.0\n")
        inbox.ingest(NOW + n * DAY)
    assert inbox.values()["2001-01-01", "S0"] == [1.0, 7.0, 1.0]


@pytest.mark.parametrize("change", [{"attribution": "somebody"}, {"lookback": 5 * DAY}, {"quality": None}])
def test_a_change_of_the_product_file_puts_no_old_value_over_a_correction(inbox: Inbox, change: dict[str, Any]) -> None:
    inbox.put("w1", "time,S0,S1\n2001-01-01,5,2\n2001-01-02,x,3\n")
    inbox.ingest()
    inbox.put("corrected", "time,S0,S1\n2001-01-01,7,2\n")
    inbox.ingest(NOW + DAY)
    if change == {"quality": None}:
        change = {"quality": inbox.product.feed.quality.model_copy(update={"reference_period": 3 * DAY})}
    inbox.product = inbox.product.model_copy(update={"feed": inbox.product.feed.model_copy(update=change)})
    inbox.ingest(NOW + 2 * DAY)
    inbox.ingest(NOW + 3 * DAY, since=NOW - 60 * DAY)
    assert inbox.values()["2001-01-01", "S0"] == [5.0, 7.0]


def test_a_variable_that_is_added_to_the_product_is_filled_from_payloads_known_before(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, layout="long")
    inbox.put("a", f"time,location,{VARIABLE},air_temperature\n2001-01-01,S0,1,19\n2001-01-02,S0,2,\n")
    inbox.ingest()
    inbox.put("b", f"time,location,{VARIABLE},air_temperature\n2001-01-01,S0,7,\n")  # a correction of the wind
    inbox.ingest(NOW + DAY)
    feed = inbox.product.feed
    variables = feed.variables | {"air_temperature": VariableSpec()}
    inbox.product = inbox.product.model_copy(update={"feed": feed.model_copy(update={"variables": variables})})
    result = inbox.ingest(NOW + 2 * DAY)
    assert (result.added, result.revised, result.unchanged) == (0, 1, 2)
    rows = inbox.workspace.feed.observations.read().to_pylist()
    values = [(row["valid_time"].day, row[VARIABLE], row["air_temperature"]) for row in rows]
    assert values == [(1, 1.0, 19.0), (1, 7.0, 19.0), (2, 2.0, None)]
    assert inbox.ingest(NOW + 3 * DAY, since=NOW - 60 * DAY).unchanged == 3


def test_a_stored_model_run_hides_no_other_run_of_its_valid_time(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, layout="long", known_at="run")
    rows = ["2001-01-05,S0,5,2001-01-08", "2001-01-05,S0,4,2001-01-07", "2001-01-06,S0,6,2001-01-08"]
    inbox.put("a", "\n".join([f"time,location,{VARIABLE},run", *rows]) + "\n")
    feed = inbox.workspace.feed
    (payload,) = fetch_payloads(feed, at=NOW)
    first = feed.source.decode(feed.raw.get(payload.digest)).rows.slice(0, 1)
    feed.observations.append(first, at=NOW, payload="another", history=True)
    result = ingest_payload(replace(payload, known=True), feed, at=NOW, history=True)
    assert result.appended == AppendResult(1, 1, 1)
    assert [(row["known_at"].day, row[VARIABLE]) for row in feed.observations.read().to_pylist()] == [
        (7, 4.0),
        (8, 5.0),
        (8, 6.0),
    ]


def test_a_first_load_that_was_cut_off_is_history_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = Inbox(tmp_path / "whole"), Inbox(tmp_path / "cut")
    for inbox in (whole, cut):
        for n in range(1, 4):
            inbox.put(f"{n}", f"time,S0,S1\n2001-01-0{n},{n},2.0\n")
    append, calls = Observations.append, iter(range(9))

    def pulled(self: Observations, *rows: Any, **facts: Any) -> AppendResult:
        if next(calls) == 1:
            raise StoreError("pulled")
        return append(self, *rows, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Observations, "append", pulled)
        with pytest.raises(StoreError, match="pulled"):
            cut.ingest()
    for inbox in (whole, cut):
        inbox.ingest(NOW + DAY)
    assert cut.observations.digest() == whole.observations.digest()


def test_a_window_drops_no_refused_row_whose_time_cannot_be_read(inbox: Inbox) -> None:
    inbox.put("a", "time,S0,S1\nnever,1.0,2.0\n2001-01-02,3.0,4.0\n")
    result = inbox.ingest(since=NOW - 60 * DAY)
    assert (result.added, result.refused) == (2, 2)


def test_a_late_file_adds_what_was_missing_and_when_it_became_known(inbox: Inbox) -> None:
    inbox.put("a", "time,S0,S1\n2001-02-01,1.0,\n")
    inbox.ingest(NOW + DAY / 2)
    inbox.put("b", "time,S0,S1\n2001-02-01,1.0,2.0\n2001-02-02,3.0,\n")
    result = inbox.ingest(NOW + 4 * DAY)
    assert (result.added, result.unchanged, result.revised) == (2, 1, 0)
    known = {(row["valid_time"], row["location"]): row["known_at"] for row in inbox.observations.read().to_pylist()}
    assert known[NOW, "S0"] == NOW + DAY / 4  # due before the store began
    assert known[NOW + DAY, "S0"] == NOW + 4 * DAY  # due after, and late


def test_a_correction_is_a_revision(inbox: Inbox) -> None:
    inbox.put("a", CSV)
    inbox.ingest()
    inbox.put("b", CSV.replace("4.0", "5.0"))
    result = inbox.ingest(NOW + DAY)
    assert (result.added, result.revised, result.unchanged) == (0, 1, 3)
    assert inbox.values()["2001-01-02", "S1"] == [4.0, 5.0]


def test_bad_rows_are_quarantined_and_the_good_ones_stored(inbox: Inbox) -> None:
    lines = ["2001-01-01,1.0,-9999", "2001-01-02,calm,1e999", "2001-01-03T05:00,3.0,", "2031-01-01,4.0,", "never,5.0,"]
    digest = inbox.put("a", "time,S0,S1\n" + "\n".join(lines) + "\n2001-01-04,6.0\n")
    result = inbox.ingest()
    assert (result.added, result.refused) == (1, 7)
    assert inbox.values() == {("2001-01-01", "S0"): [1.0]}
    rows = inbox.quarantine.read().to_pylist()
    assert {row["payload"] for row in rows} == {digest}
    assert {row["quarantined_at"] for row in rows} == {NOW}
    reasons = " | ".join(row["reason"] for row in rows)
    for part in (
        "-9999 m s-1 is outside",
        "'calm' is not a number",
        "off the time grid",
        "in the future",
        "has 2 columns",
    ):
        assert part in reasons
    assert sum(result.reasons.values()) == 7


def broken() -> dict[str, tuple[bytes, type[Exception], str]]:
    whole = pd.DataFrame({"time": pd.to_datetime(["2001-01-01"]), "S0": [1.0]}).to_parquet()
    return {
        "truncated": (whole[:-10], SourceError, "not readable as parquet"),
        "HTML": (b"<!doctype html><html>503 Service Unavailable</html>", SourceError, "not readable as parquet"),
        "empty": (b"", NoDataError, "the payload is empty"),
        "no rows": (pd.DataFrame({"time": pd.to_datetime([]), "S0": []}).to_parquet(), NoDataError, "no rows"),
        "other columns": (pd.DataFrame({"zeit": ["2001-01-01"], "S0": [1.0]}).to_parquet(), ContractError, "'time'"),
        "unknown station": (pd.DataFrame({"time": ["2001-01-01"], "S9": [1.0]}).to_parquet(), ContractError, "'S9'"),
    }


@pytest.mark.parametrize("how", broken())
def test_a_broken_payload_is_one_row_of_quarantine_and_the_others_go_on(tmp_path: Path, how: str) -> None:
    inbox = Inbox(tmp_path, "parquet")
    content, kind, words = broken()[how]
    good = pd.DataFrame({"time": pd.to_datetime(["2001-01-01"]), "S0": [1.0], "S1": [2.0]})
    inbox.put("1-good", good.to_parquet())
    digest = inbox.put("2-bad", content)
    inbox.put("3-good", good.assign(time=good["time"] + DAY).to_parquet())
    result = inbox.ingest()
    assert (result.payloads, result.added, result.refused) == (3, 4, 1)
    (row,) = inbox.quarantine.read().to_pylist()
    assert row["payload"] == digest
    assert row["reason"].startswith("the whole payload: ")
    assert words in row["reason"]
    assert RawStore(inbox.layout.raw).get(digest).content == content
    before = inbox.state()
    assert inbox.ingest(NOW + DAY).payloads == 0
    assert inbox.state() == before

    alone = Inbox(tmp_path / "alone", "parquet")
    alone.put("bad", content)
    with pytest.raises(kind, match=words):
        alone.ingest()
    assert len(alone.quarantine.read()) == 1
    assert alone.observations.read().num_rows == 0


def test_when_every_row_is_refused_the_ingest_says_so_and_keeps_them(inbox: Inbox) -> None:
    inbox.put("a", CSV.replace("1.0,2.0", "999,999").replace("3.0,4.0", "-1,-2"))
    with pytest.raises(ContractError, match=r"all 4 rows were refused: .*they are in quarantine"):
        inbox.ingest()
    assert len(inbox.quarantine.read()) == 4
    assert inbox.observations.read().num_rows == 0
    assert inbox.ingest(NOW + DAY).payloads == 0  # reported once


def test_when_decoding_refuses_every_row_its_refusals_are_kept(inbox: Inbox) -> None:
    inbox.put("a", "time,S0,S1\nnever,1.0,2.0\n2001-01-02,calm,still\n")
    with pytest.raises(ContractError, match="all 4 rows were refused"):
        inbox.ingest()
    assert sorted(inbox.quarantine.read()["reason"].to_pylist()) == [
        "time: 'never' is not a time stamp",
        "time: 'never' is not a time stamp",
        f"{VARIABLE}: 'calm' is not a number",
        f"{VARIABLE}: 'still' is not a number",
    ]


def test_a_file_without_a_value_is_no_data(inbox: Inbox) -> None:
    inbox.put("a", "time,S0,S1\n2001-01-01,,\n")
    with pytest.raises(NoDataError, match="no rows"):
        inbox.ingest()
    assert len(inbox.quarantine.read()) == 1


def test_a_window_takes_its_rows_only_and_can_be_widened(inbox: Inbox) -> None:
    inbox.put("a", CSV.replace("1.0", "999"))
    first, second = datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 1, 2, tzinfo=UTC)
    result = inbox.ingest(since=second, until=second)
    assert (result.added, result.refused) == (2, 0)
    assert set(inbox.values()) == {("2001-01-02", "S0"), ("2001-01-02", "S1")}
    again = inbox.ingest(since=second, until=second)
    assert (again.payloads, again.added, again.unchanged) == (1, 0, 2)
    assert inbox.ingest(until=first).added == 1
    assert inbox.ingest().unchanged == 3  # a window leaves no receipt: the whole file comes once more
    assert inbox.ingest().payloads == 0
    assert len(inbox.quarantine.read()) == 1


def test_a_window_without_rows_changes_nothing(inbox: Inbox) -> None:
    inbox.put("a", CSV)
    result = inbox.ingest(since=NOW - DAY, until=NOW)
    assert (result.payloads, result.added, result.refused) == (1, 0, 0)
    assert inbox.observations.read().num_rows == inbox.quarantine.read().num_rows == 0


def test_a_payload_whose_receipt_was_not_written_is_taken_in_again(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ended at any of its four writes, the next ingest leads to the state of an undisturbed one.
    inbox.put("a", CSV.replace("4.0", "999"))
    steps: list[tuple[type, str]] = [
        (RawStore, "put"),
        (Quarantine, "add"),
        (Observations, "append"),
        (Receipts, "write"),
    ]
    for kind, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, _fails)
            with pytest.raises(StoreError, match="ended here"):
                inbox.ingest()
        assert list(Receipts(inbox.layout.receipts)) == []
    assert inbox.ingest().refused == 1
    assert len(inbox.quarantine.read()) == 1
    assert {key: value for key, value in ALL.items() if value != [4.0]} == inbox.values()


def _fails(*_: object, **__: object) -> None:
    raise StoreError("ended here")


def test_a_fault_of_our_own_is_not_quarantined(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    inbox.put("a", CSV)
    monkeypatch.setattr(payload_module, "check_rows", bug)
    with pytest.raises(ZeroDivisionError):
        inbox.ingest()
    assert inbox.quarantine.read().num_rows == 0
    assert list(Receipts(inbox.layout.receipts)) == []


def test_once_the_product_file_is_corrected_what_its_mistake_refused_is_read_again(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    inbox.put("a", CSV)
    source = files_source(inbox.product.feed)
    mistaken = source.model_copy(update={"time": source.time.model_copy(update={"columns": ("when",)})})
    wrong = inbox.product.model_copy(update={"feed": inbox.product.feed.model_copy(update={"source": mistaken})})
    wrong = wrong.within(inbox.product.folder)
    with pytest.raises(ContractError):
        jobs.ingest(Workspace(wrong, inbox.settings), at=NOW)
    assert jobs.ingest(Workspace(wrong, inbox.settings), at=NOW).payloads == 0  # judged already, as it is described
    assert inbox.ingest().added == 4


def test_an_empty_inbox_is_reported(inbox: Inbox) -> None:
    with pytest.raises(SourceError, match="no file matches"):
        inbox.ingest()
