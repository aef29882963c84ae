"""Roles and inputs: what each column is used for, and the reason that is given for it."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from consilience.data.schema import best_claim, check_columns, infer_schema
from consilience.data.table import Table, read_table
from consilience.errors import ConsilienceError
from consilience.recipe import make_recipe
from consilience.types import Input, Schema

N = 40
NOTE = [f"the patient number {row} came with {('pain', 'fever', 'a cough')[row % 3]} and left" for row in range(N)]
AGE = [f"{20 + row * 7 % 31}" for row in range(N)]
COLOUR = [("red", "green", "blue")[row % 3] for row in range(N)]
ANSWER = [("yes", "no")[row % 2] for row in range(N)]


def make(**columns: list[Any]) -> Table:
    return read_table(pa.table({name: pa.array(cells) for name, cells in columns.items()}))


def infer(table: Table, target: str | None = "answer", **settings: Any) -> Schema:
    return infer_schema(table, make_recipe(target, settings=[settings]))


def whole(**more: list[Any]) -> Table:
    return make(**{"note": NOTE, "age": AGE, "colour": COLOUR, "answer": ANSWER} | more)


def roles(schema: Schema) -> dict[str, str]:
    return {column.column: column.role for column in schema.columns}


def reason(schema: Schema, column: str) -> str:
    return next(item.reason for item in schema.columns if item.column == column)


def problems(table: Table, target: str | None = "answer", **settings: Any) -> list[str]:
    with pytest.raises(ConsilienceError) as caught:
        infer(table, target, **settings)
    return [str(problem) for problem in caught.value.problems]


# Roles


def test_columns_become_inputs_in_the_order_of_the_table() -> None:
    schema = infer(whole())
    assert schema.inputs == (
        Input("note", "text", ("note",), ("",)),
        Input("tabular", "tabular", ("age", "colour"), ("number", "category")),
    )
    assert schema.names == ("note", "tabular")
    assert schema.target == "answer"
    assert [column.column for column in schema.columns] == ["note", "age", "colour", "answer"]
    assert [(column.role, column.input) for column in schema.columns] == [
        ("input", "note"),
        ("input", "tabular"),
        ("input", "tabular"),
        ("target", ""),
    ]


def test_every_column_has_a_reason() -> None:
    schema = infer(whole(empty=[None] * N, constant=["x"] * N, patient_id=[f"p{row}" for row in range(N)]))
    assert all(column.reason for column in schema.columns)
    assert reason(schema, "age") == "40 of 40 sampled cells are numbers"
    assert reason(schema, "answer") == "named as target"


def test_without_a_target_the_column_is_an_input_like_any_other() -> None:
    assert infer(whole(), target=None)["tabular"].columns == ("age", "colour", "answer")


@pytest.mark.parametrize(
    ("name", "cells", "role", "why"),
    [
        ("empty", [None] * N, "excluded", "every cell is empty"),
        ("blank", [" "] * N, "excluded", "every cell is empty"),
        ("constant", ["x"] * N, "excluded", "every cell is the same"),
        ("patient id", [f"p{row}" for row in range(N)], "id", "identifier"),
        ("customerId", list(range(N)), "id", "identifier"),
        ("Unnamed: 0", list(range(N)), "id", "identifier"),
        ("id", [row // 2 for row in range(N)], "input", "numbers"),  # not all different
        ("candid", [f"{row}" for row in range(N)], "input", "numbers"),  # ends in id, but is no word for it
        ("split", ["train", "val"] * (N // 2), "split", "its cells are train, val"),
        ("Subset", ["Train", "TEST"] * (N // 2), "split", "its cells are TEST, Train"),
        ("split", ["test", "valid"] * (N // 2), "input", "different values"),  # nothing to train on
        ("split", ["train", "other"] * (N // 2), "input", "different values"),
        ("half", ["train", "test"] * (N // 2), "input", "different values"),  # its name does not say it
        ("mark", ["x"] * (N - 1) + [None], "input", "1 different values"),  # there or not: that tells something
        ("code", [f"00{row:03}" for row in range(N)], "excluded", "leading zeros.*; name it under inputs to use it"),
        ("struct", [{"a": 1}] * (N // 2) + [{"a": 2}] * (N // 2), "excluded", "no modality recognises its cells"),
    ],
)
def test_roles_told_from_the_column(name: str, cells: list[Any], role: str, why: str) -> None:
    schema = infer(whole(**{name: cells}))
    assert roles(schema)[name] == role
    assert re.search(why, reason(schema, name))


def test_a_split_column_is_looked_for_only_where_nothing_else_is_said() -> None:
    table = whole(split=["train", "test"] * (N // 2))
    assert roles(infer(table))["split"] == "split"
    assert roles(infer(table, split={"method": "random"}))["split"] == "input"
    assert roles(infer(table, split={"column": "colour"}))["split"] == "input"
    assert infer(table).role("split") == "split"


def test_named_roles_win_over_what_the_cells_look_like() -> None:
    table = whole(
        person=[f"p{row // 4}" for row in range(N)], day=[f"2024-01-{1 + row % 28:02}" for row in range(N)], w=[1.0] * N
    )
    schema = infer(table, exclude=["colour"], weight="w", split={"group": "person", "time": "day"})
    assert {name: role for name, role in roles(schema).items() if role != "input"} == {
        "colour": "excluded",
        "answer": "target",
        "person": "group",
        "day": "time",
        "w": "weight",
    }
    assert reason(schema, "person") == "named as split.group"
    assert schema.role("time") == "day"
    assert schema.role("split") is None


def test_a_column_may_be_excluded_and_still_split_the_rows() -> None:
    table = whole(part=["train", "test"] * (N // 2))
    assert roles(infer(table, exclude=["part"], split={"column": "part"}))["part"] == "split"


# Blocks


@pytest.mark.parametrize("numbered", ["x{}", "x_{}", "x-{}", "x.{}", "x {}"])
def test_eight_numbered_columns_are_an_input(numbered: str) -> None:
    names = [numbered.format(index) for index in range(1, 9)]
    schema = infer(whole(**dict.fromkeys(names, AGE)))
    assert schema["x"] == Input("x", "tabular", tuple(names), ("number",) * 8)
    assert schema["tabular"].columns == ("age", "colour")
    assert reason(schema, names[0]) == "one of 8 numbered columns x..: a block; 40 of 40 sampled cells are numbers"


def test_seven_are_none_and_each_stem_is_a_block_of_its_own() -> None:
    seven = {f"x{index}": AGE for index in range(7)}
    assert infer(whole(**seven)).names == ("note", "tabular")
    two = {f"a{index}": AGE for index in range(8)} | {f"b{index}": AGE for index in range(9)}
    schema = infer(whole(**two))
    assert {item.name: len(item.columns) for item in schema.inputs} == {"note": 1, "tabular": 2, "a": 8, "b": 9}


def test_numbers_alone_are_no_stem() -> None:
    years = {str(2000 + index): AGE for index in range(8)}
    assert len(infer(whole(**years))["tabular"].columns) == 10


def test_a_single_column_gives_its_name_to_the_input() -> None:
    assert infer(make(note=NOTE, age=AGE, answer=ANSWER)).names == ("note", "age")


# Names never clash


def test_a_block_whose_stem_is_taken_gets_another_name() -> None:
    schema = infer(whole(**{f"note{index}": AGE for index in range(8)}))
    assert schema.names == ("note", "tabular", "note_tabular")


def test_an_explicit_input_keeps_its_name_and_others_give_way() -> None:
    inputs = {
        "tabular": {"modality": "text", "columns": ["note"]},
        "tabular_tabular": {"modality": "tabular", "columns": ["age"]},
    }
    schema = infer(make(note=NOTE, age=AGE, colour=COLOUR, size=AGE, answer=ANSWER), inputs=inputs)
    assert schema.names == ("tabular", "tabular_tabular", "tabular_tabular_tabular")
    assert len(set(schema.names)) == 3


def test_an_explicit_input_may_have_the_name_of_another_column() -> None:
    schema = infer(whole(other=NOTE), inputs={"note": {"modality": "text", "columns": ["other"]}})
    assert {item.name: item.columns[0] for item in schema.inputs if item.modality == "text"} == {
        "note": "other",
        "note_text": "note",
    }
    assert {column.column: column.input for column in schema.columns}["note"] == "note_text"


# Explicit inputs


def test_patterns_stand_for_columns_that_have_no_other_role() -> None:
    table = whole(lab_a=AGE, lab_b=AGE, lab_c=ANSWER)
    schema = infer(table, target="lab_c", inputs={"blood": {"modality": "tabular", "columns": ["lab_*", "age"]}})
    assert schema["blood"] == Input("blood", "tabular", ("lab_a", "lab_b", "age"), ("number",) * 3)
    assert reason(schema, "lab_a") == "named in inputs.blood of the recipe"
    assert schema["tabular"].columns == ("colour", "answer")


def test_a_column_with_a_star_in_its_name_is_itself() -> None:
    schema = infer(whole(**{"x*": AGE, "xy": AGE}), inputs={"one": {"modality": "tabular", "columns": ["x*"]}})
    assert schema["one"].columns == ("x*",)


def test_a_column_of_an_unsure_claim_can_be_named() -> None:
    codes = [f"00{row:03}" for row in range(N)]
    schema = infer(whole(code=codes), inputs={"code": {"modality": "tabular", "columns": ["code"]}})
    assert schema["code"] == Input("code", "tabular", ("code",), ("category",))


def test_what_a_recipe_says_of_a_medium_goes_before_what_the_cells_look_like() -> None:
    schema = infer(whole(), inputs={"scan": {"modality": "image", "columns": ["note"]}})
    assert schema["scan"] == Input("scan", "image", ("note",), ("",))


def test_one_column_may_be_two_inputs() -> None:
    spec = {"modality": "text", "columns": ["note"]}
    assert infer(whole(), inputs={"one": spec, "two": spec}).names == ("one", "two", "tabular")


@pytest.mark.parametrize(
    ("inputs", "messages"),
    [
        ({"x": {"modality": "text", "columns": ["notes"]}}, ["inputs.x.columns names 'notes'.*did you mean 'note'"]),
        ({"x": {"modality": "tabular", "columns": ["z*"]}}, ["inputs.x.columns names 'z\\*'"]),
        ({"x": {"modality": "txt", "columns": ["note"]}}, ["inputs.x.modality is 'txt'.*did you mean 'text'"]),
        ({"x": {"modality": "text", "columns": ["note", "colour"]}}, ["inputs.x has 2 columns.*one column for text"]),
        ({"x": {"modality": "tabular", "columns": ["answer"]}}, ["inputs.x uses the column 'answer', which has another role"]),
        ({"x": {"modality": "tabular", "columns": ["pair"]}}, ["'pair' as tabular, but its cells are lists"]),
        ({"x": {"modality": "tabular", "columns": ["odd"]}}, ["'odd' as tabular, but its cells are of no kind"]),
        ({"x": {"modality": "txt", "columns": ["nope", "neither"]}}, ["'nope'", "'neither'", "'txt'"]),
        ({"x": {"modality": "tabular", "columns": []}}, ["inputs.x has no column that is free"]),
        ({"x": {"modality": "tabular", "columns": ["ans*"]}}, ["inputs.x has no column that is free"]),
    ],
)
def test_explicit_inputs_that_cannot_be(inputs: dict[str, Any], messages: list[str]) -> None:
    found = problems(whole(pair=[[1, 2]] * N, odd=[{"a": 1}] * N), inputs=inputs)
    assert len(found) == len(messages)
    for text, message in zip(found, messages, strict=True):
        assert re.search(message, text, re.DOTALL), text


# Errors


def test_every_wrong_column_is_named_at_once() -> None:
    found = problems(whole(), "anwser", weight="agee", exclude=["color"], split={"group": "zzz"})
    assert [re.sub(r"\n.*", "", text) for text in found] == [
        "target names the column 'anwser'",
        "weight names the column 'agee'",
        "split.group names the column 'zzz'",
        "exclude names the column 'color'",
    ]
    assert [word in found[index] for index, word in ((0, "'answer'"), (1, "'age'"), (3, "'colour'"))] == [True] * 3
    assert "choose one of: age, answer, colour, note" in found[2]


def test_an_excluded_target_and_a_column_of_two_roles_are_errors() -> None:
    assert problems(whole(), exclude=["answer"]) == [
        "the target 'answer' is excluded\n  expected: a target that is kept\n  do: remove it from exclude"
    ]
    (text,) = problems(whole(), weight="age", split={"group": "age"})
    assert "the column 'age' is both weight and group" in text


def test_a_table_without_a_usable_column_says_why_of_each() -> None:
    (text,) = problems(make(a=["x"] * N, b=[None] * N, answer=ANSWER))
    assert "a: every cell is the same; b: every cell is empty; answer: named as target" in text


# Claims and columns


def test_the_surest_modality_takes_the_column() -> None:
    table = make(note=NOTE, age=AGE, odd=[{"a": 1}] * N)
    assert best_claim(table.column("note"))[0] == "text"
    name, claim = best_claim(table.column("age"))
    assert (name, claim.kind, claim.confidence) == ("tabular", "number", 0.9)
    name, claim = best_claim(table.column("odd"))
    assert (name, claim.confidence) == (None, 0.0)


def test_a_table_must_have_the_columns_of_the_run_and_may_have_others() -> None:
    schema = infer(whole(w=[1.0] * N), weight="w")
    check_columns(schema, make(colour=[1], age=[1], note=[1], more=[1]))
    with pytest.raises(ConsilienceError) as caught:
        check_columns(schema, make(Note=["x"], colour=["y"]))
    assert [problem.found for problem in caught.value.problems] == [
        "the table has no column 'note'",
        "the table has no column 'age'",
    ]
    assert caught.value.problems[0].do == "add it, empty where it is not known, or rename one: did you mean 'Note'?"
    for column in ("answer", "w"):  # what scoring needs beside
        with pytest.raises(ConsilienceError, match=f"no column '{column}'"):
            check_columns(schema, Table(whole(w=[1.0] * N).data.drop_columns([column]), "the table"), target=True)
