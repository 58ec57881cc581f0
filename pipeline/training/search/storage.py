"""The file of a study: an append-only journal of its trials, held by one search at a time."""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipeline import atomic
from pipeline.errors import StoreError, UsageError

log = logging.getLogger(__name__)

NAME = "search"
INTERRUPTED = "interrupted before it was finished"


@contextmanager
def open_journal(file: Path, notes: list[str]) -> Iterator[JournalStorage]:
    """Open the journal of a study, made on first use; nobody else can open it meanwhile.

    Optuna's journal needs only appends, so it also works on NFS, where SQLite's locks may not. Trials that were
    running when their process ended are marked as failed. A damaged journal is set aside, and its intact beginning is
    kept: every prefix of a journal is a study. An altered digit in an intact line goes unnoticed.

    Args:
        file: The journal.
        notes: Gets a line on damage.

    Raises:
        UsageError: another search holds it.
        StoreError: the file cannot be read or written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".lock").open("a") as lock:
            _hold(lock, file)
            # A process that was killed within an append leaves Optuna's own lock, for which it would wait 30 s.
            file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
            _repair(file, notes)
            storage = _load(file, notes)
            _fail_interrupted(storage)
            yield storage
    except OSError as error:
        raise StoreError(f"study {file}: {error.strerror or error}") from error


def _hold(lock: IO[str], file: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another search is running on {file}; wait for it, or stop it") from None


def _repair(file: Path, notes: list[str]) -> None:
    if not file.exists():
        return
    content = file.read_bytes()
    intact = _intact(content)
    if len(intact) < len(content):
        _set_aside(file, intact, f"line {_entries(intact) + 1} is not complete JSON", notes)


def _intact(content: bytes) -> bytes:
    """Return the beginning of a journal up to its first damaged line."""
    end = 0
    for line in content.splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(entry, dict):
            break
        end += len(line)
    return content[:end]


def _entries(content: bytes) -> int:
    return content.count(b"\n")


def _load(file: Path, notes: list[str]) -> JournalStorage:
    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return JournalStorage(JournalFileBackend(str(file)))
    except OSError:
        raise
    except Exception as error:  # entries that are JSON but make no study
        _set_aside(file, b"", f"{type(error).__name__}: {error}", notes)
        return JournalStorage(JournalFileBackend(str(file)))


def _set_aside(file: Path, intact: bytes, problem: str, notes: list[str]) -> None:
    number = 1
    while (aside := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    atomic.write_file(aside, file.read_bytes())
    atomic.write_file(file, intact)
    kept = f"it is kept as {aside.name}, and the study goes on with its first {_entries(intact)} entries"
    notes.append(f"study {file} is damaged, {problem}: {kept}")
    log.warning(notes[-1])


def _fail_interrupted(storage: JournalStorage) -> None:
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if not trial.state.is_finished():
                storage.set_trial_user_attr(trial._trial_id, "problem", INTERRUPTED)
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
