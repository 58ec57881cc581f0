from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipeline.store.observations.content_digest import digest_tables
from pipeline.store.observations.keys import TIME

NAMES = ("valid_time", "location", "known_at", "u", "v")
FIRST = (1, "ab", 2, 1.5, None)
SECOND = (1, "c", 3, 0.0, 2.0)


def rows(*values: tuple[Any, ...]) -> pa.Table:
    types = {"valid_time": TIME, "known_at": TIME, "location": pa.string(), "u": pa.float64(), "v": pa.float64()}
    columns: Sequence[Sequence[Any]] = list(zip(*values, strict=True)) or [[]] * 5
    return pa.table({name: pa.array(column, types[name]) for name, column in zip(NAMES, columns, strict=True)})


def digest(*tables: pa.Table, variables: tuple[str, ...] = ("u", "v")) -> str:
    return digest_tables(tables, variables)


def test_the_split_into_tables_and_the_order_of_variables_do_not_matter() -> None:
    expected = digest(rows(FIRST, SECOND))
    assert digest(rows(FIRST), rows(), rows(SECOND)) == expected
    assert digest(rows((9, "x", 9, 9.0, 9.0), FIRST, SECOND).slice(1)) == expected
    assert digest(pa.concat_tables([rows(FIRST), rows(SECOND)])) == expected
    assert digest(rows(FIRST, SECOND), variables=("v", "u")) == expected


def test_null_equals_nan_and_zero_equals_minus_zero() -> None:
    nan = float("nan")
    assert digest(rows((1, "ab", 2, 1.5, nan), (1, "c", 3, -0.0, 2.0))) == digest(rows(FIRST, SECOND))
    assert digest(rows((1, "ab", 2, nan, -nan))) == digest(rows((1, "ab", 2, None, None)))


@pytest.mark.parametrize(
    "other",
    [
        [FIRST],
        [SECOND, FIRST],
        [FIRST, SECOND, SECOND],
        [(2, *FIRST[1:]), SECOND],
        [FIRST, (*SECOND[:2], 4, *SECOND[3:])],
        [(1, "a", *FIRST[2:]), (1, "bc", *SECOND[2:])],  # the same letters
        [FIRST, (*SECOND[:3], 2.0, 0.0)],
        [FIRST, (*SECOND[:4], 2.0 + 2**-51)],
        [FIRST, (*SECOND[:4], None)],
    ],
)
def test_any_difference_changes_the_digest(other: list[tuple[Any, ...]]) -> None:
    assert digest(rows(*other)) != digest(rows(FIRST, SECOND))


def test_variable_names_are_part_of_the_digest() -> None:
    renamed = rows(FIRST, SECOND).rename_columns([*NAMES[:4], "w"])
    assert digest_tables([renamed], ("u", "w")) != digest(rows(FIRST, SECOND))


def test_columns_are_hashed_as_little_endian_numbers() -> None:
    def sha256(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()

    nan = struct.unpack("<d", bytes.fromhex("000000000000f87f"))[0]
    values = {
        "valid_time": sha256(struct.pack("<2q", 1, 1)),
        "known_at": sha256(struct.pack("<2q", 2, 3)),
        "u": sha256(struct.pack("<2d", 1.5, 0.0)),
        "v": sha256(struct.pack("<2d", nan, 2.0)),
        "location": sha256(struct.pack("<2q", 2, 1)) + " " + sha256(b"abc"),
    }
    assert digest(rows(FIRST, SECOND)) == sha256(json.dumps(values, sort_keys=True).encode())
