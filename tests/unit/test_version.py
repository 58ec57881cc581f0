from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.version import _commit, code_version

COMMIT = "3aca5a3f" * 5


def test_the_version_names_the_package_and_in_a_clone_the_commit() -> None:
    assert re.fullmatch(r"(0\+unknown|\d+\.\d+\.\d+\S*?)(\+[0-9a-f]{7})?", code_version())
    assert code_version() is code_version()


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({}, ""),
        ({"HEAD": COMMIT}, COMMIT),
        ({"HEAD": "ref: refs/heads/main\n", "refs/heads/main": f"{COMMIT}\n"}, COMMIT),
        ({"HEAD": "ref: refs/heads/main\n"}, ""),  # no commit yet
        (
            # As `git gc` leaves it.
            {
                "HEAD": "ref: refs/heads/main\n",
                "packed-refs": f"# pack-refs\n{'1' * 40} refs/heads/not/main\n{COMMIT} refs/heads/main\n^{'2' * 40}\n",
            },
            COMMIT,
        ),
    ],
)
def test_the_commit_is_read_from_the_clone(tmp_path: Path, files: dict[str, str], commit: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _commit(tmp_path) == commit
