"""What is laid aside is what was given, whatever its type; nothing is left on the disk, and a full one is told of."""

from __future__ import annotations

import datetime as dt
import errno
import io
import math
import os
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from consilience.data.keeping import column_of, kept, mixed, plain, plain_type, written
from consilience.data.table import read_table
from consilience.errors import ConsilienceError

BERLIN, UTC = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def keep(*arrays: pa.Array) -> pa.ChunkedArray:
    """One column, an array a batch."""
    schema = pa.schema([("a", arrays[0].type)])
    return kept(schema, [pa.record_batch([array], schema=schema) for array in arrays]).column("a")


def coded(words: list[Any], codes: list[int | None], kind: pa.DataType | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(words, kind))


def nested(kind: pa.DataType) -> pa.DataType:
    return pa.struct([("x", pa.list_(kind))])


# Types

SAME: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None, None]),
    (pa.bool_(), [True, None, False]),
    (pa.int8(), [-128, None, 127]),
    (pa.uint64(), [2**64 - 1, None]),
    (pa.int64(), [-(2**63), None, 2**63 - 1]),
    (pa.float16(), [0.5, None, -2.0]),
    (pa.float32(), [0.5, None, math.inf]),
    (pa.float64(), [0.1, None, -0.0, 5e-324]),
    (pa.decimal128(5, 2), [Decimal("1.10"), None, Decimal("-999.99")]),
    (pa.decimal256(60, 1), [Decimal("1" * 59 + ".5"), None]),
    (pa.string(), ["", None, "日\n", " "]),
    (pa.large_string(), ["ä", None, ""]),
    (pa.binary(), [b"\0\xff", None, b""]),
    (pa.large_binary(), [b"\0", None]),
    (pa.binary(2), [b"ab", None]),
    (pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    (pa.date64(), [dt.date(2024, 2, 29), None]),
    (pa.time32("s"), [dt.time(23, 59, 59), None]),
    (pa.time64("us"), [dt.time(1, 2, 3, 4), None]),
    (pa.duration("us"), [dt.timedelta(days=-1, microseconds=1), None]),
    (pa.timestamp("s"), [dt.datetime(1, 1, 1), None]),
    (pa.timestamp("ms"), [dt.datetime(2024, 5, 1, 12, 0, 0, 1000), None]),
    (pa.timestamp("us"), [dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None]),
    (pa.timestamp("us", "UTC"), [dt.datetime(2024, 5, 1, 12, tzinfo=UTC), None]),
    (pa.timestamp("ms", "Europe/Berlin"), [dt.datetime(2024, 5, 1, 12, tzinfo=BERLIN), None]),
    (pa.list_(pa.int64()), [[1, None], None, []]),
    (pa.large_list(pa.string()), [["a"], None, []]),
    (pa.list_(pa.float32(), 2), [[0.5, 1.5], None]),
    (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), [{"bytes": b"x", "path": None}, None]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], None, []]),
    (nested(pa.string()), [{"x": ["a", None]}, None, {"x": None}]),
    (pa.uuid(), [UUID(int=7), None]),
]


@pytest.mark.parametrize(("kind", "cells"), SAME, ids=lambda value: str(value) if isinstance(value, pa.DataType) else "")
def test_what_is_kept_is_what_was_given(kind: pa.DataType, cells: list[Any]) -> None:
    array = pa.array(cells, kind)
    assert plain_type(kind) == kind
    assert plain(array).equals(array)
    got = keep(array, array.slice(1), array.slice(0, 0), array)
    assert got.type == kind
    assert got.to_pylist() == [*cells, *cells[1:], *cells]


NANO = dt.datetime(2024, 5, 1, 12, 0, 0, 1)
TICKS = (1_714_564_800 * 1_000_000 + 1) * 1_000 + 999
"""NANO and 999 nanoseconds, which Python's datetime cannot hold."""


@pytest.mark.parametrize(
    ("array", "kind", "cells"),
    [
        (coded(["b", "a"], [0, None, 1, 0]), pa.string(), ["b", None, "a", "b"]),
        (coded(["b", None], [0, None, 1]), pa.string(), ["b", None, None]),
        (coded([7, 8], [1, None]), pa.int64(), [8, None]),
        (coded(["b", "a"], [1, None], pa.string_view()), pa.large_string(), ["a", None]),
        (coded([0, TICKS], [1, None], pa.timestamp("ns")), pa.timestamp("us"), [NANO, None]),
        (pa.array(["ä", None, "x" * 99], pa.string_view()), pa.large_string(), ["ä", None, "x" * 99]),
        (pa.array([b"\0", None, b"x" * 99], pa.binary_view()), pa.large_binary(), [b"\0", None, b"x" * 99]),
        (pa.array([TICKS, None], pa.timestamp("ns")), pa.timestamp("us"), [NANO, None]),
        (pa.array([TICKS], pa.timestamp("ns", "UTC")), pa.timestamp("us", "UTC"), [NANO.replace(tzinfo=UTC)]),
        (pa.array([["a"], None, []], pa.list_(pa.string_view())), pa.list_(pa.large_string()), [["a"], None, []]),
        (pa.array([["a"], None], pa.large_list(pa.string_view())), pa.large_list(pa.large_string()), [["a"], None]),
        (pa.array([[b"a"], None], pa.list_(pa.binary_view(), 1)), pa.list_(pa.large_binary(), 1), [[b"a"], None]),
        (pa.array([{"x": ["a"]}, None], nested(pa.string_view())), nested(pa.large_string()), [{"x": ["a"]}, None]),
        (pa.array([[TICKS], None], pa.list_(pa.timestamp("ns"))), pa.list_(pa.timestamp("us")), [[NANO], None]),
        (
            pa.ListArray.from_arrays([0, 1, 3], coded(["b", "a"], [1, None, 0])),
            pa.list_(pa.string()),
            [["a"], [None, "b"]],
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_types_that_cannot_be_shown_become_plain_ones(array: pa.Array, kind: pa.DataType, cells: list[Any]) -> None:
    assert plain_type(array.type) == kind
    assert plain(array).type == kind
    assert plain(array).to_pylist() == cells
    assert plain(array.slice(1)).to_pylist() == cells[1:]
    got = keep(array, array.slice(1), array)
    assert got.type == kind
    assert got.to_pylist() == [*cells, *cells[1:], *cells]
    assert got.take(pa.array([0])).to_pylist() == cells[:1]  # Arrow can: it cannot of all types


def test_words_of_a_list_with_codes_of_views_are_left_as_they_are() -> None:
    array = pa.ListArray.from_arrays([0, 1, 3], coded(["b", "a"], [1, None, 0], pa.string_view()))
    assert plain_type(array.type) == array.type
    assert keep(array).to_pylist() == [["a"], [None, "b"]]


def test_every_batch_may_have_words_of_its_own() -> None:
    first, second = coded(["b", "a"], [1, 0]), coded(["c", "b", "a"], [0, 1])
    assert keep(first, second).to_pylist() == ["a", "b", "c", "b"]
    lists = [pa.ListArray.from_arrays([0, 2], array) for array in (first, second)]
    assert keep(*lists).to_pylist() == [["a", "b"], ["c", "b"]]


def test_names_and_their_order_are_kept_where_some_columns_change() -> None:
    batch = pa.record_batch([pa.array([1, 2]), coded(["x"], [0, None]), pa.array([True, None])], names=["b", "a", "c"])
    table = kept(batch.schema, iter([batch, batch.slice(1)]))
    assert table.to_pylist() == [
        {"b": 1, "a": "x", "c": True},
        {"b": 2, "a": None, "c": None},
        {"b": 2, "a": None, "c": None},
    ]


def test_columns_that_forbid_empty_cells_are_kept_too() -> None:
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    assert kept(schema, [pa.record_batch([pa.array([1])], schema=schema)]).column("a").to_pylist() == [1]


def test_no_batch_is_a_table_of_no_rows() -> None:
    table = kept(pa.schema([("a", pa.dictionary(pa.int8(), pa.string()))]), [])
    assert (table.num_rows, table.schema) == (0, pa.schema([("a", pa.string())]))


# The file


def test_nothing_is_left_in_the_folder_and_the_table_can_still_be_read(temporary: Path) -> None:
    during: list[list[str]] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for row in range(3):
            during.append([path.name for path in temporary.iterdir()])
            yield pa.record_batch({"a": [row]})

    table = kept(pa.schema([("a", pa.int64())]), batches())
    assert [[name[:12], name[-6:]] for names in during for name in names] == [["consilience-", ".arrow"]] * 3
    assert list(temporary.iterdir()) == []
    assert table.column("a").to_pylist() == [0, 1, 2]


def test_nor_where_the_batches_break_off(temporary: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise ConnectionError("the line is dead")

    with pytest.raises(ConnectionError, match="the line is dead"):
        kept(pa.schema([("a", pa.int64())]), batches())
    assert list(temporary.iterdir()) == []


class Broken(io.BytesIO):
    """A file that takes no more bytes after the first thousand."""

    code = errno.ENOSPC

    def write(self, data: Any, /) -> int:
        if self.tell() > 1000:
            raise OSError(self.code, os.strerror(self.code))
        return super().write(data)


def write_broken(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Keep some thousand bytes where they cannot be written."""

    def opened(handle: int, mode: str) -> Broken:
        os.close(handle)
        return Broken()

    monkeypatch.setattr(Broken, "code", code)
    monkeypatch.setattr(os, "fdopen", opened)
    keep(*[pa.array(["x" * 500])] * 20)


def test_a_full_disk_is_told_of_with_its_folder(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConsilienceError) as caught:
        write_broken(monkeypatch, errno.ENOSPC)
    (problem,) = caught.value.problems
    assert problem.found == f"the disk is full: no room in {temporary} to unpack the table"
    assert "TMPDIR" in problem.do
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EIO, errno.EDQUOT, errno.EFBIG])
def test_another_fault_of_the_disk_is_not_swallowed(temporary: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write_broken(monkeypatch, code)
    assert caught.value.errno == code
    assert list(temporary.iterdir()) == []


# Python's objects


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, None, -3], pa.int64()),
        ([1, 2.5, None], pa.float64()),
        ([2.5, 1, None], pa.float64()),
        ([True, None], pa.bool_()),
        (["a", None, ""], pa.string()),
        ([b"a", None], pa.binary()),
        ([dt.date(2024, 1, 1), None], pa.date32()),
        ([dt.datetime(2024, 1, 1, 12), None], pa.timestamp("us")),
        ([Decimal("1.5"), None], pa.decimal128(2, 1)),
        ([[1], None, [None]], pa.list_(pa.int64())),
        ([{"x": 1}, None], pa.struct([("x", pa.int64())])),
        ([None, None], pa.null()),
        ([], pa.null()),
    ],
)
def test_objects_of_one_type_keep_it(cells: list[Any], kind: pa.DataType) -> None:
    column, text = column_of(cells)
    assert (column.type, column.to_pylist(), text) == (kind, cells, False)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, "x", None], ["1", "x", None]),
        ([True, 2], ["true", "2"]),
        ([True, 0.5], ["true", "0.5"]),
        ([0.5, True, None], ["0.5", "true", None]),
        ([2**64, 1], ["18446744073709551616", "1"]),
        ([2**53 + 1, 0.5], ["9007199254740993", "0.5"]),
        ([[1], ["ä"]], ["[1]", '["ä"]']),
        ([{"x": 1}, "y"], ['{"x": 1}', "y"]),
        ([[dt.date(2024, 1, 1)], "y"], ['["2024-01-01"]', "y"]),
        ([Path("a.png"), None], ["a.png", None]),
        ([dt.date(2024, 1, 1), dt.datetime(2024, 1, 2, 12)], ["2024-01-01", "2024-01-02 12:00:00"]),
        ([math.nan, "x"], [None, "x"]),
    ],
)
def test_objects_of_several_types_become_text(cells: list[Any], expected: list[str | None]) -> None:
    column, text = column_of(cells)
    assert (column.type, column.to_pylist(), text) == (pa.string(), expected, True)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (None, None),
        (math.nan, None),
        (np.float64("nan"), None),
        ("NaN", "NaN"),
        ("", ""),
        (False, "false"),
        (0.1, "0.1"),
        (math.inf, "Infinity"),
        (["日", None], '["日", null]'),
        (Decimal("1.10"), "1.10"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_a_cell_written_out(cell: Any, expected: str | None) -> None:
    assert written(cell) == expected


def test_each_mixed_column_has_a_note() -> None:
    assert mixed([]) == ()
    assert mixed(iter(["a", "it's"])) == (
        "column 'a' holds cells of several types: all of it is read as text",
        'column "it\'s" holds cells of several types: all of it is read as text',
    )


@pytest.mark.parametrize(
    ("kind", "day"),
    [
        (pa.timestamp("s"), 86_400),
        (pa.timestamp("ms", "UTC"), 86_400_000),
        (pa.timestamp("us", "Asia/Tokyo"), 86_400_000_000),
        (pa.date64(), 86_400_000),
    ],
)
def test_times_that_python_cannot_show_are_missing_and_counted(kind: pa.DataType, day: int) -> None:
    # Day 2_932_896 is 9999-12-31, day -719_162 is 0001-01-01; with a zone a day less on either side can be shown.
    less = int(getattr(kind, "tz", None) is not None)
    days = [0, None, 2_932_896 - less, 2_932_897 - less, -719_162 + less, -719_163 + less, 2**62 // day]
    column = pa.array([None if one is None else one * day for one in days], pa.int64()).cast(kind)
    table = read_table(pa.table({"when": column}))
    assert [cell is not None for cell in table.cells("when")] == [True, False, True, False, True, False, False]
    assert table.notes == ("column 'when': 3 times outside of the years 1 to 9999 are missing",)
    assert read_table(pa.table({"when": column.slice(0, 3)})).notes == ()


def test_a_date_of_days_beyond_python_is_missing() -> None:
    table = read_table(pa.table({"when": pa.array([19_000, 2**31 - 1, None], pa.int32()).cast(pa.date32())}))
    assert table.cells("when") == [dt.date(2022, 1, 8), None, None]


def test_a_time_of_a_zone_that_is_not_known_is_shown_in_utc() -> None:
    for zone in ("Nowhere/There", "+99:99"):
        column = pa.array([0, 86_400_000], pa.int64()).cast(pa.timestamp("ms", zone))
        found = read_table(pa.table({"when": column})).cells("when")
        assert found == [dt.datetime(1970, 1, day, tzinfo=UTC) for day in (1, 2)]
