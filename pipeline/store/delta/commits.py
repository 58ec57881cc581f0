"""Files of a Delta log: their names, their content, and the checksum that Nightcast adds to each commit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalake.transaction import AddAction, RemoveAction

from pipeline.store.delta.digests import sha256
from pipeline.store.objects import ObjectInfo

LOG = "_delta_log"
LAST_CHECKPOINT = f"{LOG}/_last_checkpoint"
CHECKSUM_KEY = "nightcast.seal"
"""Key of the checksum in a commit's metadata. Existing tables contain this spelling: never change it."""
_COMMIT = re.compile(rf"{LOG}/(\d{{20}})\.json")
_CHECKPOINT = re.compile(rf"{LOG}/(\d{{20}})\.checkpoint(\..*)?\.parquet")


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Files of a log by version."""

    commits: Mapping[int, ObjectInfo]
    checkpoints: Mapping[int, list[ObjectInfo]]


@dataclass(frozen=True, slots=True)
class Commit:
    """Content of one commit."""

    adds: dict[str, int] = field(default_factory=dict)
    """Sizes of the data files that it adds, by name."""
    removes: list[str] = field(default_factory=list)
    checksum: str | None = None
    """The recorded checksum; None for a commit of another program."""
    valid: bool = True
    """Whether the recorded checksum, if any, matches the content."""


def commit_name(version: int) -> str:
    """Return the name of a commit within its table."""
    return f"{LOG}/{version:020}.json"


def group_log_files(files: Iterable[ObjectInfo]) -> LogFiles:
    """Return the commits and checkpoints among the files of a log folder, by version."""
    commits: dict[int, ObjectInfo] = {}
    checkpoints: dict[int, list[ObjectInfo]] = {}
    for file in files:
        if match := _COMMIT.fullmatch(file.name):
            commits[int(match[1])] = file
        elif match := _CHECKPOINT.fullmatch(file.name):
            checkpoints.setdefault(int(match[1]), []).append(file)
    return LogFiles(commits, checkpoints)


def parse_commit(content: bytes) -> Commit | None:
    """Return the content of a commit file, or None if the file is empty or torn."""
    try:
        lines = [json.loads(line) for line in content.decode().splitlines()]
        info = next(line["commitInfo"] for line in lines if "commitInfo" in line)
        adds = [line["add"] for line in lines if "add" in line]
        removes = [line["remove"]["path"] for line in lines if "remove" in line]
        expected = _checksum(
            [[add["path"], add["size"], add["partitionValues"], add["stats"]] for add in adds], removes
        )
        sizes = {add["path"]: int(add["size"]) for add in adds}
    except (ValueError, LookupError, TypeError, StopIteration):
        return None
    return Commit(sizes, removes, info.get(CHECKSUM_KEY), valid=info.get(CHECKSUM_KEY, expected) == expected)


def checksum_actions(actions: Iterable[AddAction | RemoveAction]) -> str:
    """Return the checksum of a commit's actions.

    Names of data files are unique, so two commits that add a file never have the same checksum.
    """
    added, removed = [], []
    for action in actions:
        if isinstance(action, AddAction):
            added.append([action.path, action.size, dict(action.partition_values), action.stats])
        else:
            removed.append(action.path)
    return _checksum(added, removed)


def _checksum(added: list[list[Any]], removed: list[str]) -> str:
    facts = [sorted(added, key=lambda add: str(add[0])), sorted(removed)]
    return sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode())
