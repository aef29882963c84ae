"""Series: cells of all kinds -> samples, the channels of a column, and which columns are claimed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consilience.data.schema import infer_schema
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.errors import ConsilienceError
from consilience.modalities.series import Sensors, Series
from consilience.modalities.series.arrays import CHANNELS, Found
from consilience.modalities.series.channels import fitted, layout_from, written
from consilience.recipe import make_recipe
from consilience.types import Claim, Column, Input, Limits, Missing

SENSORS = Sensors()
NAN = float("nan")
BACKWARDS = "the time does not increase: one step is taken for a second"


def npy(values: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), **options)
    return buffer.getvalue()


def parquet(columns: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()


def read(cell: Any, kind: str = "", **limits: int) -> Series | Missing:
    return SENSORS.read(Input("pulse", "series", ("pulse",), (kind,)), {"pulse": cell, "other": 1}, Limits(**limits))


def found(cell: Any, kind: str = "", **limits: int) -> Series:
    sample = read(cell, kind, **limits)
    assert isinstance(sample, Series), sample
    assert sample.values.dtype == np.float32
    return sample


def same(one: np.ndarray, other: Any) -> bool:
    return np.array_equal(one, np.asarray(other, np.float32), equal_nan=True)


# Reading


@pytest.mark.parametrize("cell", [npy([1, 2, 4]), [1, 2, 4], "[1, 2.0, 4]", " [1,2,4] ", np.array([1, 2, 4]), [[1], [2], [4]]])
def test_one_channel_from_all_kinds_of_cells(cell: Any) -> None:
    sample = found(cell)
    assert same(sample.values, [[1], [2], [4]])
    assert (sample.rate, sample.channels, sample.notes, sample.nbytes) == (1.0, (), (), 256 + 12)


@pytest.mark.parametrize("kind", ["?", "u1", "i2", "<i8", ">i4", "f2", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_every_numeric_type_and_order(kind: str, order: Any) -> None:
    values = np.array([[0, 1], [0, 1], [1, 1]]).astype(kind, order=order)
    assert same(found(npy(values)).values, [[0, 1], [0, 1], [1, 1]])


def test_what_is_missing_is_nan_and_infinity_is_noted() -> None:
    assert same(found([1, None, NAN, Decimal("2.5")]).values, [[1], [NAN], [NAN], [2.5]])
    assert same(found([[1, None], None, [2, 3]]).values, [[1, NAN], [NAN, NAN], [2, 3]])
    for cell in ([1, float("inf")], npy([1.0, 1e200]), "[1, -Infinity]"):
        sample = found(cell)
        assert same(sample.values, [[1], [NAN]])
        assert sample.notes == ("infinite values made missing",)


def test_whole_numbers_are_exact_or_noted() -> None:
    assert found([2**24, -(2**24)]).notes == ()
    assert found(npy([2**24 + 1, 5])).notes == found([-(2**24) - 1]).notes == ("whole numbers over 16777216 rounded",)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "empty"),
        ("", "empty"),
        ("  ", "empty"),
        (b"", "empty"),
        ("[]", "empty"),
        ([], "empty"),
        ([[], []], "empty"),
        (npy(np.zeros((0, 3))), "empty"),
        (npy(3.0), "0 dimensions, not 1 or 2"),
        (npy(np.zeros((2, 2, 2))), "3 dimensions, not 1 or 2"),
        ([[[1]]], "3 dimensions, not 1 or 2"),
        (npy(np.zeros((3, CHANNELS + 1))), "over 256 channels"),
        ([NAN, None], "every value is missing"),
        (npy(np.array([1j])), "not numbers"),
        (npy(np.array(["a"])), "not numbers"),
        (npy(np.array([{}], object), allow_pickle=True), "not numbers"),
        (["a", 1], "not numbers"),
        (["1", "2"], "not numbers"),
        ([1, {}], "not numbers"),
        ([10**400], "not numbers"),
        ([[1, 2], [3]], "ragged lists"),
        ([[1, 2], 3], "ragged lists"),
        ([1, [2]], "ragged lists"),
        ([[1, [2]], [3, 4]], "ragged lists"),
        ("[1, 2", "not a JSON array"),
        ("[1 2]", "not a JSON array"),
        ('{"a": 1}', "not a JSON array"),
        ("[" * 100_000 + "]", "not a JSON array"),
        (npy(np.arange(99))[:-1], "truncated"),
        (b"\x93NUMPY", "damaged"),
        (npy([1])[:40], "damaged"),
        (npy([1]).replace(b"}", b"{"), "damaged"),
        (npy([1]).replace(b"(1,)", b"(1L,"), "damaged"),
        (npy([[1]]).replace(b"(1, 1)", b"(1, True)"), "damaged"),
        (b"PAR1 and no more", "damaged"),
        (b"RIFF0000WAVE", "not a known format"),
        (7.5, "neither a file nor a list"),
        ({}, "empty"),
        ({"x": None}, "empty"),
        ({"x": [1, 2], "y": [1]}, "ragged lists"),
        ({"x": [1, 2], "y": 1}, "not a struct of lists of numbers"),
        ({"x": [[1, 2]]}, "not a struct of lists of numbers"),
        ({"t": [1, 2]}, "no column of numbers"),
    ],
)
def test_what_is_no_series_is_missing_with_a_reason(cell: Any, reason: str) -> None:
    assert read(cell) == Missing(reason)


def test_limits_are_kept() -> None:
    for cell in ([[1, 2]] * 3, npy(np.zeros((3, 2))), parquet({"a": [1] * 3, "b": [2] * 3}), {"a": [1] * 3, "b": [2] * 3}):
        found(cell, values=6)
        assert read(cell, values=5) == Missing("over the value limit")
    assert read(npy([1]), bytes=20) == read("[" + "1, " * 20 + "1]", bytes=20) == Missing("over the byte limit")
    header = npy(np.zeros(1)).replace(b"(1,)", b"(9999999999999999999,)")  # nothing so large is allocated
    assert isinstance(read(header), Missing)


def test_an_array_that_would_run_code_is_not_opened() -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("unpickled",))

    assert read(npy(np.array([Evil()], object), allow_pickle=True)) == Missing("not numbers")


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy([[1, 2], [3, 4]]))
    assert same(found(tmp_path / "a.npy").values, [[1, 2], [3, 4]])
    (tmp_path / "a.csv").write_bytes(npy([[1, 2], [3, 4]]))  # the bytes say what it is
    assert same(found(tmp_path / "a.csv").values, [[1, 2], [3, 4]])
    (tmp_path / "b.npy").write_bytes(b"nothing")
    (tmp_path / "c.csv").write_bytes(b"")
    reasons = {"b.npy": "damaged", "c.csv": "empty file", "d.npy": "file not found", ".": "is a directory"}
    assert {name: read(tmp_path / name) for name in reasons} == {name: Missing(reason) for name, reason in reasons.items()}


def csv(folder: Path, text: str, name: str = "a.csv", kind: str = "") -> Series | Missing:
    (folder / name).write_text(text, encoding="utf-8")
    return read(folder / name, kind)


@pytest.mark.parametrize(
    ("text", "values", "rate", "channels", "notes"),
    [
        ("x,y\n1,2\n3,\n", [[1, 2], [3, NAN]], 1.0, ("x", "y"), ()),
        ("1,2\n3,4\n", [[1, 2], [3, 4]], 1.0, (), ()),
        ("5\n6\n", [[5], [6]], 1.0, (), ()),
        ("time,x\n0,1\n0.5,2\n1.0,3\n", [[1], [2], [3]], 2.0, ("x",), ()),
        ("x,Time (ms)\n1,100\n2,120\n3,140\n", [[1], [2], [3]], 50.0, ("x",), ()),
        ("timestamp,on\n2024-01-01 00:00:00,true\n2024-01-01 00:00:04,false\n", [[1], [0]], 0.25, ("on",), ()),
        ("t,x\n1,1\n2,2\n3,3\n9,4\n", [[1], [2], [3], [4]], 1.0, ("x",), ("the time has gaps, which are not filled",)),
        ("t,x\n2,1\n1,2\n", [[1], [2]], 1.0, ("x",), (BACKWARDS,)),
        ("t,x\n0,1\n2,2\n1,3\n3,4\n", [[1], [2], [3], [4]], 1.0, ("x",), (BACKWARDS,)),
        ("t,x\n0,1\n,2\n9,3\n", [[1], [2], [3]], 1.0, ("x",), (BACKWARDS,)),
        ("x,who,y\n1,me,\n2,you,\n", [[1, NAN], [2, NAN]], 1.0, ("x", "y"), ("1 columns that are no channels left out",)),
    ],
)
def test_tables_have_channels_and_a_clock(
    tmp_path: Path, text: str, values: Any, rate: float, channels: tuple[str, ...], notes: tuple[str, ...]
) -> None:
    for sample in (csv(tmp_path, text), csv(tmp_path, text.replace(",", "\t"), "a.tsv")):
        assert isinstance(sample, Series)
        assert same(sample.values, values)
        assert (sample.rate, sample.channels, sample.notes) == (pytest.approx(rate), channels, notes)


def test_tables_that_are_no_series(tmp_path: Path) -> None:
    texts = {
        "a,b\nx,y\n": "no column of numbers",
        "time\n1\n2\n": "no column of numbers",
        "a,b\n1\n": "damaged",
        "a,b\n": "empty",
    }
    assert [csv(tmp_path, text) for text in texts] == [Missing(reason) for reason in texts.values()]


def test_names_and_times_that_are_none_are_damage(tmp_path: Path) -> None:
    for name, head in (("a.csv", b"x\xb0,y\n1,2\n"), ("b.csv", b"0.\xff,1\n0.5,2\n")):
        (tmp_path / name).write_bytes(head)
        assert read(tmp_path / name) == Missing("damaged")
    late = pa.array([0, 2**60], pa.timestamp("ms"))  # microseconds cannot hold it
    assert read(parquet({"time": late, "x": [1, 2]})) == Missing("damaged")


def test_parquet_and_structs_are_tables_too() -> None:
    columns = {"x": [1, None, 3], "seconds": [0.0, 0.1, 0.2], "flag": [True, False, True]}
    for cell in (parquet(columns), columns, pa.array([columns]).to_pylist()[0]):
        sample = found(cell)
        assert same(sample.values, [[1, 1], [NAN, 0], [3, 1]])
        assert (sample.rate, sample.channels) == (pytest.approx(10), ("x", "flag"))
    assert same(found({"x": [1, 2], "y": None}).values, [[1, NAN], [2, NAN]])


# Channels


def test_the_kind_of_a_column_survives_as_text() -> None:
    for layout in (3, ("x", 'a "b"', "ü"), None):
        assert layout_from((written(layout),)) == layout
    assert layout_from(()) is None


more = "1 channels more than 2 left out"


@pytest.mark.parametrize(
    ("values", "names", "layout", "expected", "channels", "notes"),
    [
        ([[1, 2]], (), 2, [[1, 2]], (), ()),
        ([[1, 2]], (), 3, [[1, 2, NAN]], (), ("1 of 3 channels missing",)),
        ([[1, 2, 3, 4]], (), 2, [[1, 2]], (), ("2 channels more than 2 left out",)),
        ([[1, 2]], ("x", "y"), ("x", "y"), [[1, 2]], ("x", "y"), ()),
        ([[1, 2]], ("y", "x"), ("x", "y"), [[2, 1]], ("x", "y"), ()),
        (
            [[1, 2]],
            ("y", "z"),
            ("x", "y"),
            [[NAN, 1]],
            ("x", "y"),
            ("1 of 2 channels missing", "1 channels more than 2 left out"),
        ),
        ([[1]], (), ("x", "y"), [[1, NAN]], ("x", "y"), ("1 of 2 channels missing",)),
        ([[1, 2]], ("y", "x"), 2, [[1, 2]], ("y", "x"), ()),
        ([[1, 2]], ("y", "x"), None, [[1, 2]], ("y", "x"), ()),
    ],
)
def test_samples_are_brought_to_the_channels_of_the_column(
    values: Any, names: Any, layout: Any, expected: Any, channels: Any, notes: Any
) -> None:
    sample = fitted(Found(np.array(values, np.float32), channels=names), layout)
    assert same(sample.values, expected)
    assert (sample.channels, sample.notes) == (channels, notes)


def test_reading_follows_the_kind_of_the_column() -> None:
    sample = found([[1], [2]], "2")
    assert same(sample.values, [[1, NAN], [2, NAN]])
    assert sample.notes == ("1 of 2 channels missing",)
    assert read({"z": [1, 2]}, '["x", "y"]') == Missing("no value in a known channel")


# Claims


def claim(cells: list[Any], root: Path = Path()) -> Claim | None:
    return SENSORS.detect(Column("pulse", cells, rows=len(cells), empty=0, distinct=len(cells), root=root))


def test_lists_arrays_and_bytes_are_claimed() -> None:
    assert claim([[1, 2], [3.5]]) == Claim(0.95, "100% of 2 sampled cells are lists of numbers", "1")
    three = ["[[1, 2], [3, 4]]", "[[1, 2]]", "[[1, 2, 3]]", "[5, 6]", "none"]
    assert claim(three) == Claim(0.95, "80% of 5 sampled cells are JSON arrays of numbers", "2")
    data = npy([[1, 2, 3]])
    assert claim([data, data]) == Claim(0.95, "100% of 2 sampled cells are bytes that start as npy or Parquet", "3")
    assert claim([{"x": [1, 2], "y": [1, 2]}]) == Claim(0.95, "100% of 1 sampled cells are lists of numbers", '["x", "y"]')


def test_file_names_are_claimed(tmp_path: Path) -> None:
    (tmp_path / "0.npy").write_bytes(npy([[1, 2]]))
    cells = ["0.npy", "1.npy", "2.npy", "notes.txt"]
    assert claim(cells[:3], tmp_path) == Claim(0.95, "100% of 3 sampled cells end in .npy (1 of 3 files exist)", "2")
    # Below the share it lends its kind to a recipe that names the modality, and no automatic choice falls for it.
    assert claim(cells, tmp_path) == Claim(0.05, "75% of 4 sampled cells end in .npy (1 of 3 files exist)", "2")
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert claim(["a.csv", "a.csv"], tmp_path) == Claim(
        0.95, "100% of 2 sampled cells end in .csv (2 of 2 files exist)", '["x"]'
    )


@pytest.mark.parametrize(
    "cells",
    [
        [],
        ["b.csv", "c.parquet"],
        ["please load x.npy"],
        ["a.png"],
        [1, 2.5],
        ["[a]", "[1, x]"],
        [["a", "b"]],
        [b"RIFF0000WAVE"],
    ],
)
def test_other_columns_are_not_claimed(cells: list[Any]) -> None:
    assert claim(cells) is None


def test_names_and_arrays_of_a_table_arrive_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "0.npy").write_bytes(npy([7, 8]))
    cells = ["[1.5, 2, .5e1]".replace(".5e1", "5.0"), "0.npy", "[1, 2]", None, "gone.npy", "[1]"] * 3
    table = read_table(pa.table({"pulse": cells, "answer": ["yes", "no"] * 9}), tmp_path)
    schema = infer_schema(table, make_recipe("answer"))
    assert [(item.name, item.modality, item.kinds) for item in schema.inputs] == [("pulse", "series", ("1",))]
    samples = View(table, schema, Store(), Limits()).samples("pulse", np.arange(6))
    shown = [item if isinstance(item, Missing) else item.values.ravel().tolist() for item in samples]  # type: ignore[attr-defined]
    assert shown == [[1.5, 2, 5], [7, 8], [1, 2], Missing("empty"), Missing("file not found"), [1]]


def test_arrow_lists_are_a_series_and_not_several() -> None:
    cells = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], None]
    table = read_table(pa.table({"pulse": cells * 4, "answer": ["yes", "no"] * 6}))
    (item,) = infer_schema(table, make_recipe("answer")).inputs
    assert (item.modality, item.kinds, item.many) == ("series", ("2",), False)


def test_a_signalling_nan_is_missing_without_a_warning() -> None:
    data = npy(np.array([1.0, np.nan, 3.0], "<f8")).replace(np.float64(np.nan).tobytes(), b"\1\0\0\0\0\0\xf0\x7f")
    found = read(data)
    assert isinstance(found, Series)
    assert np.isnan(found.values[:, 0]).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["x", "0", "-1", "1.5", "true", "null", "[]", "[1]", "257", '{"a": 1}', "3 4"])
def test_channels_that_are_none_are_refused(kind: str) -> None:
    with pytest.raises(ConsilienceError, match="the channels of a series are"):
        layout_from((kind,))
