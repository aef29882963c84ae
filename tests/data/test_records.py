"""JSON keeps its types, whatever comes late; a column of several is text, and what is no record is named."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from consilience.data import records
from consilience.data.records import read_array, read_lines
from consilience.data.table import read_table
from consilience.errors import ConsilienceError

HERE = Path("t.json")

MIXED = "column 'a' holds cells of several types: all of it is read as text"

FORMS = ["array", "lines"]


class Drop(io.StringIO):
    """Text that comes a few characters at a time, however many are asked for."""

    size = 3

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self.size)


def read(text: str, form: str = "array", source: type[io.StringIO] = io.StringIO) -> tuple[pa.Table, tuple[str, ...]]:
    return (read_array if form == "array" else read_lines)(HERE, lambda: source(text))


def of(items: list[str], form: str) -> str:
    """Records, each as JSON, in one of the two forms."""
    return "\n".join(items) if form == "lines" else "[" + ",\n".join(items) + "]"


def column(values: list[str], form: str = "array") -> tuple[list[Any], str, tuple[str, ...]]:
    """Cells, type and notes of one column whose cells stand there as JSON."""
    table, notes = read(of([f'{{"a": {value}}}' for value in values], form), form)
    assert table.column_names == ["a"]
    return table.column("a").to_pylist(), str(table.schema.field("a").type), notes


def told(text: str, form: str = "array", source: type[io.StringIO] = io.StringIO) -> str:
    with pytest.raises(ConsilienceError) as caught:
        read(text, form, source)
    (problem,) = caught.value.problems
    assert str(HERE) in problem.found
    return problem.found


@pytest.fixture(params=["one batch", "a batch each"])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All records in a batch, or one in each: what is read must not depend on it."""
    if request.param == "a batch each":
        monkeypatch.setattr(records, "ROWS", 8)
    return request.param


# Cells and types


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "cells", "kind"),
    [
        (["1", "-2", "null"], [1, -2, None], "int64"),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)], "int64"),
        (["1", "2.5"], [1.0, 2.5], "double"),
        (["2.5", "1"], [2.5, 1.0], "double"),
        (["1e3", "-0.0", "1e999"], [1000.0, -0.0, math.inf], "double"),
        (["Infinity", "-Infinity", "1"], [math.inf, -math.inf, 1.0], "double"),
        (["true", "null", "false"], [True, None, False], "bool"),
        (['""', '" "', '"00123"', '"NA"'], ["", " ", "00123", "NA"], "string"),
        (['"2024-01-01"', '"2024-01-01T12:00:00"'], ["2024-01-01", "2024-01-01T12:00:00"], "string"),
        (["null", "null"], [None, None], "string"),
        (["null", "null", "7"], [None, None, 7], "int64"),
        (["[]", "[1, null]", "null", "[2.5]"], [[], [1.0, None], None, [2.5]], "list<item: double>"),
        (['["a"]', "[]"], [["a"], []], "list<item: string>"),
        (['{"x": 1}', '{"y": "z"}'], [{"x": 1, "y": None}, {"x": None, "y": "z"}], "struct<x: int64, y: string>"),
        (['{"x": {"y": null}}', '{"x": {"y": 1}}'], [{"x": {"y": None}}, {"x": {"y": 1}}], "struct<x: struct<y: int64>>"),
    ],
)  # fmt: skip
def test_cells_keep_the_type_that_holds_them_all(form: str, values: list[str], cells: list[Any], kind: str) -> None:
    assert column(values, form) == (cells, kind, ())


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "cells"),
    [
        (["1", '"x"', "null"], ["1", "x", None]),
        (["true", "1"], ["true", "1"]),
        (["0.5", "true"], ["0.5", "true"]),
        (["true", "0.5"], ["true", "0.5"]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["1", "123456789012345678901234567890"], ["1", "123456789012345678901234567890"]),
        (["9007199254740993", "0.5"], ["9007199254740993", "0.5"]),  # 2^53 + 1 is no float
        (["0.5", "1", "9007199254740993"], ["0.5", "1", "9007199254740993"]),
        (["[9007199254740993]", "[0.5]"], ["[9007199254740993]", "[0.5]"]),
        (["[1]", '["x", "ä"]'], ["[1]", '["x", "ä"]']),
        (["[1]", "1"], ["[1]", "1"]),
        (['{"x": 1}', '{"x": "1"}', "null"], ['{"x": 1}', '{"x": "1"}', None]),
        (['{"x": 1}', '"x"'], ['{"x": 1}', "x"]),
        (["NaN", '"x"', "Infinity"], [None, "x", "Infinity"]),
    ],
)
def test_a_column_of_several_types_is_text_and_says_so(form: str, values: list[str], cells: list[str | None]) -> None:
    assert column(values, form) == (cells, "string", (MIXED,))


def test_not_a_number_is_an_empty_cell_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"a": NaN}, {"a": 1.5}, {"a": null}]')
    table = read_table(path)
    assert table.filled("a").tolist() == [False, True, False]
    assert table.column("a").empty == 2


@pytest.mark.usefixtures("batches")
def test_only_the_column_that_is_mixed_becomes_text() -> None:
    table, notes = read('[{"a": 1, "b": 2, "c": 9007199254740993}, {"a": "x", "b": 3, "c": 0.5}]')
    assert table.to_pylist() == [{"a": "1", "b": 2, "c": "9007199254740993"}, {"a": "x", "b": 3, "c": "0.5"}]
    assert notes == (MIXED, MIXED.replace("'a'", "'c'"))


@pytest.mark.usefixtures("batches")
@pytest.mark.parametrize("form", FORMS)
def test_keys_may_be_left_out_come_late_and_in_any_order(form: str) -> None:
    table, notes = read(of(['{"b": 1}', "{}", '{"a": "x", "b": 2}', '{"c": [1], "a": "y"}'], form), form)
    assert table.column_names == ["b", "a", "c"]
    assert table.to_pylist() == [
        {"b": 1, "a": None, "c": None},
        {"b": None, "a": None, "c": None},
        {"b": 2, "a": "x", "c": None},
        {"b": None, "a": "y", "c": [1]},
    ]
    assert notes == ()


def test_what_changes_after_8192_records_changes_all_of_them() -> None:
    assert records.ROWS // 8 == 8192
    values = ["9007199254740993", *["1"] * 8192]
    for last, cells in (("2", [2**53 + 1, *[1] * 8192, 2]), ("0.5", [*values, "0.5"]), ('"x"', [*values, "x"])):
        assert column([*values, last])[0] == cells
    table, _ = read("[" + '{"a": null},' * 8192 + '{"b": true, "a": 1}]')
    assert table.num_rows == 8193
    assert table.slice(8191).to_pylist() == [{"a": None, "b": None}, {"a": 1, "b": True}]


def test_a_key_given_twice_is_the_last_as_in_python() -> None:
    assert column(["1"])[0] == [1]
    assert read('[{"a": 1, "a": 2}]')[0].to_pylist() == [{"a": 2}]


@pytest.mark.parametrize("form", FORMS)
def test_escapes_are_what_they_stand_for(form: str) -> None:
    values = [r'"\u00e9\n\t\"\\\/"', r'"\ud83d\ude00"', r'"\u0000"', '"日\u2028\x85"']
    assert column(values, form)[0] == ['é\n\t"\\/', "😀", "\0", "日\u2028\x85"]
    table, _ = read(of([r'{"\u00e4": 1}', '{"ä": 2}'], form), form)
    assert table.to_pylist() == [{"ä": 1}, {"ä": 2}]


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"\udc00": 1}', r'{"a": ["x\ud83d"]}', r'{"a": {"b": "\ud800"}}'])
def test_half_a_character_is_told_of(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(of(['{"a": 1}', text], "lines" if name.endswith("l") else "array"))
    with pytest.raises(ConsilienceError) as caught:
        read_table(path)
    assert f"{path} cannot be read" in caught.value.problems[0].found
    assert "surrogates not allowed" in caught.value.problems[0].found


def test_half_a_character_in_a_mapping_is_told_of_too() -> None:
    with pytest.raises(ConsilienceError, match=r"text that is no Unicode: .* surrogates not allowed"):
        read_table({"a": ["x", "\ud800"]})


@pytest.mark.parametrize("form", FORMS)
def test_a_cell_of_megabytes_is_whole(form: str) -> None:
    long = "ab\n" * 1_500_000
    table, _ = read(of(['{"a": "x"}', json.dumps({"a": long}), '{"a": "y"}'], form), form)
    assert table.column("a").to_pylist() == ["x", long, "y"]


# Over the borders of what is read at a time


@pytest.mark.parametrize("size", range(1, 12))
def test_an_array_is_read_over_any_border(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(Drop, "size", size)
    text = ' [ {"a": "ä, ]}{", "b": 12.5} ,{"a": "\\u00e9\\\\", "b": -1e2}\n,\r\n{"b": null} ]\n \n'
    assert read(text, source=Drop)[0].to_pylist() == [
        {"a": "ä, ]}{", "b": 12.5},
        {"a": "é\\", "b": -100.0},
        {"a": None, "b": None},
    ]
    assert read(" [ ] ", source=Drop)[0].num_rows == 0
    assert told("[12, 3]", source=Drop).endswith("record 1 is int")


def test_records_over_a_border_of_a_megabyte() -> None:
    rows = [{"n": row, "text": "x" * (row * 3)} for row in range(1300)]
    text = json.dumps(rows)
    assert len(text) > 2 << 20
    assert read(text)[0].to_pylist() == rows


def test_an_object_may_not_be_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST", 100)
    assert read('[{"a": "' + "x" * 50 + '"}]', source=Drop)[0].num_rows == 1
    assert "object 2 is no JSON: Unterminated string" in told('[{"a": 1}, {"a": "' + "x" * 200 + '"}]', source=Drop)


# What is no table


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is no array"),
        ('{"a": 1}', "is no array"),
        ('"[]"', "is no array"),
        ("a,b\n1,2\n", "is no array"),
        ("[", "object 1 is no JSON: Expecting value"),
        ("[,]", "object 1 is no JSON: Expecting value"),
        ('[{"a": 1},]', "object 2 is no JSON: Expecting value"),
        ('[{"a": 1}, , {"a": 2}]', "object 2 is no JSON: Expecting value"),
        ('[{"a": 1,}]', "object 1 is no JSON: "),
        ("[{'a': 1}]", "object 1 is no JSON: Expecting property name"),
        ('[{"a": 01}]', "object 1 is no JSON: Expecting ',' delimiter"),
        ('[{"a": "x\ny"}]', "object 1 is no JSON: Invalid control character"),
        (r'[{"a": "\ud80"}]', r"object 1 is no JSON: Invalid \uXXXX escape"),
        ('[{"a": 1}', "the array ends after object 1"),
        ('[{"a": 1},', "object 2 is no JSON: Expecting value"),
        ('[{"a": 1}, {"a": "x', "object 2 is no JSON: Unterminated string"),
        ('[{"a": 1} {"a": 2}]', "a comma is missing after object 1"),
        ('[{"a": 1}] [', "goes on after the end of its array"),
        ('[{"a": 1}, 3]', "record 2 is int"),
        ('[{"a": 1}, null]', "record 2 is NoneType"),
        ('[{"a": 1}, {"a": 2}, ["a", 3]]', "record 3 is list"),
        ('["a"]', "record 1 is str"),
        ('[{"a": ' + "1" * 5000 + "}]", "object 1 is no JSON: Exceeds the limit (4300 digits)"),
        ('[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]", "object 1 is no JSON: maximum recursion depth"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", [io.StringIO, Drop])
def test_what_is_no_array_of_objects_is_told_of(text: str, found: str, source: type[io.StringIO]) -> None:
    if len(text) > 1000:  # three characters at a time, it would take minutes
        source = io.StringIO
    assert found in told(text, "array", source)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}\n\n{"a": 2,}', "line 3, is no JSON: "),
        ('{"a": 1}\n{"a": \n2}', "line 2, is no JSON: Expecting value"),
        ('{"a": 1} {"a": 2}', "line 1, is no JSON: Extra data"),
        ("a,b\n1,2\n", "line 1, is no JSON: Expecting value"),
        ('[{"a": 1}]', "record 1 is list"),
        ('{"a": 1}\n\n7\n', "record 2 is int"),
        ('{"a": 1}\n"x"\n', "record 2 is str"),
        ('{"a": ' + "1" * 5000 + "}", "line 1, is no JSON: Exceeds the limit (4300 digits)"),
        ('{"a": 1}\n{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 2, is no JSON: maximum recursion depth"),
    ],
)
def test_what_is_no_object_a_line_is_told_of_with_its_place(text: str, found: str) -> None:
    assert found in told(text, "lines")


@pytest.mark.parametrize("depth", [70, 900])
@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_lists_in_lists_in_lists_are_told_of_where_arrow_holds_no_more(tmp_path: Path, name: str, depth: int) -> None:
    path = tmp_path / name
    path.write_text(of(['{"a": ' + "[" * depth + "]" * depth + "}"], "lines" if name.endswith("l") else "array"))
    with pytest.raises(ConsilienceError, match=r"cannot be read: [Mm]ax.* recursion depth"):
        read_table(path)


@pytest.mark.parametrize(("name", "text"), [("t.json", "[]"), ("t.json", "[{}, {}]"), ("t.jsonl", "{}\n"), ("t.jsonl", "")])
def test_no_cell_is_no_row(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConsilienceError, match=f"{name} has no rows"):
        read_table(path)


def test_a_key_must_not_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"": 1, "a": 2}]')
    with pytest.raises(ConsilienceError, match="has a column without a name"):
        read_table(path)
