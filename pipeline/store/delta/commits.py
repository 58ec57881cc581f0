"""The entries of a Delta log as files: where they are, what they say, and the seal by which a whole one is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalake.transaction import AddAction, RemoveAction

from pipeline.store.delta.digests import sha256
from pipeline.store.objects import Entry

LOG = "_delta_log"
HINT = f"{LOG}/_last_checkpoint"
SEAL = "nightcast.seal"
"""Key in a commit's metadata: a digest of all that the commit adds and removes."""
_COMMIT = re.compile(rf"{LOG}/(\d{{20}})\.json")
_CHECKPOINT = re.compile(rf"{LOG}/(\d{{20}})\.checkpoint(\..*)?\.parquet")


@dataclass(frozen=True, slots=True)
class Log:
    """The files of a log by version."""

    commits: Mapping[int, Entry]
    checkpoints: Mapping[int, list[Entry]]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one commit says."""

    adds: dict[str, int] = field(default_factory=dict)
    """Sizes of the data files that it adds, by name."""
    removes: list[str] = field(default_factory=list)
    seal: str | None = None
    """The seal, if one of ours wrote it."""
    sound: bool = True
    """Whether the seal, if any, is that of its content."""


def commit_name(version: int) -> str:
    """Return the name of a commit's entry within the table."""
    return f"{LOG}/{version:020}.json"


def sort_log(entries: Iterable[Entry]) -> Log:
    """Return the files of a log's folder by version, leaving out what Delta leaves out."""
    commits: dict[int, Entry] = {}
    checkpoints: dict[int, list[Entry]] = {}
    for entry in entries:
        if match := _COMMIT.fullmatch(entry.name):
            commits[int(match[1])] = entry
        elif match := _CHECKPOINT.fullmatch(entry.name):
            checkpoints.setdefault(int(match[1]), []).append(entry)
    return Log(commits, checkpoints)


def parse_commit(content: bytes) -> Commit | None:
    """Return what an entry says, or None when it is empty or torn."""
    try:
        lines = [json.loads(line) for line in content.decode().splitlines()]
        info = next(line["commitInfo"] for line in lines if "commitInfo" in line)
        adds = [line["add"] for line in lines if "add" in line]
        removes = [line["remove"]["path"] for line in lines if "remove" in line]
        seal = _seal([[a["path"], a["size"], a["partitionValues"], a["stats"]] for a in adds], removes)
        sizes = {add["path"]: int(add["size"]) for add in adds}
    except (ValueError, LookupError, TypeError, StopIteration):
        return None
    return Commit(sizes, removes, info.get(SEAL), info.get(SEAL, seal) == seal)


def seal_of(actions: Iterable[AddAction | RemoveAction]) -> str:
    """Return the seal of what is to be committed. No two commits that add something have the same."""
    added, removed = [], []
    for action in actions:
        if isinstance(action, AddAction):
            added.append([action.path, action.size, dict(action.partition_values), action.stats])
        else:
            removed.append(action.path)
    return _seal(added, removed)


def _seal(added: list[list[Any]], removed: list[str]) -> str:
    facts = [sorted(added, key=lambda add: str(add[0])), sorted(removed)]
    return sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode())
