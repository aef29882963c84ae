"""Lists in cells: what is one, which modality claims it, what of it is read and how it comes apart."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from consilience.data.loader import _sizes
from consilience.data.schema import best_claim, infer_schema, modality_of
from consilience.data.several import Many, below, holds_items, holds_lists
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.errors import ConsilienceError
from consilience.modalities.image import Picture
from consilience.modalities.tabular import Tabular
from consilience.modalities.text import Passage, Text
from consilience.predictors.base import make_encoder
from consilience.predictors.linear import Linear
from consilience.predictors.trees import Trees
from consilience.recipe import make_recipe
from consilience.types import ITEMS, Column, Input, Limits, Missing, Schema, Several

NOTES = Input("notes", "text", ("notes",), ("",), many=True)
SHOTS = Input("shots", "image", ("shots",), ("",), many=True)
TEXT, IMAGE = modality_of(NOTES), modality_of(SHOTS)


def png(level: int, side: int = 4) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (side, side), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def read(cell: Any) -> Several | Missing:
    found = TEXT.read(NOTES, {"notes": cell}, Limits())
    assert isinstance(found, Several | Missing)
    return found


def texts(sample: Any) -> list[str]:
    assert isinstance(sample, Several)
    return [item.text for item in sample.items if isinstance(item, Passage)]


def column(cells: list[Any], root: Path = Path()) -> Column:
    table = read_table(pa.table({"x": pa.array(cells)}), root)
    return table.column("x")


def make_schema(root: Path | None = None, recipe: dict[str, Any] | None = None, **cells: list[Any]) -> Schema:
    table = read_table(pa.table({name: pa.array(values) for name, values in cells.items()}), root)
    return infer_schema(table, make_recipe(None, settings=[recipe or {}]))


# Cells


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["one", "two"], ["one", "two"]),
        (("one",), ["one"]),
        ('["one", "two"]', ["one", "two"]),
        (' ["one"] ', ["one"]),
        ("one; two | three", ["one; two | three"]),
        ('["one", "two', ['["one", "two']),
        ("[sic]", ["[sic]"]),
        ("[" * 100_000 + "]" * 100_000, ["[" * 100_000]),
        ([1, 2.5], ["1", "2.5"]),
        (7, ["7"]),
    ],
)
def test_a_cell_is_a_list_or_one_item(cell: Any, expected: list[str]) -> None:
    assert [text[: len(want)] for text, want in zip(texts(read(cell)), expected, strict=True)] == expected


@pytest.mark.parametrize("cell", [None, "", " ", float("nan"), [], "[]", [None], ["", None], '["", null]'])
def test_a_list_without_anything_is_empty(cell: Any) -> None:
    assert read(cell) == Missing("empty")


def test_items_that_cannot_be_read_are_left_out_and_noted_once_for_each_reason() -> None:
    found = read(["a", b"x", None, "b", b"y"])
    assert texts(found) == ["a", "b"]
    assert isinstance(found, Several)
    assert found.notes == ("items that could not be read: not text but bytes", "items that could not be read: empty")


def test_a_list_without_an_item_is_missing_for_the_most_frequent_reason_the_first_of_equals() -> None:
    assert read([None, b"x", b"y"]) == Missing("not text but bytes")
    assert read([None, b"x"]) == Missing("empty")


def test_notes_of_items_are_those_of_the_list_and_the_tail_is_not_read() -> None:
    long = TEXT.read(NOTES, {"notes": ["abcdef", "abc", "abcdefg"]}, Limits(characters=4))
    assert isinstance(long, Several)
    assert long.notes == ("text cut at 4 characters",)
    found = read([*(str(number) for number in range(ITEMS)), "tail"])
    assert texts(found) == [str(number) for number in range(ITEMS)]
    assert isinstance(found, Several)
    assert found.notes == (f"only the first {ITEMS} items read",)
    assert read([None] * ITEMS + ["tail"]) == Missing("empty")
    full = read(["a"] * ITEMS)
    assert isinstance(full, Several) and full.notes == ()


def test_names_of_files_stand_below_the_root_and_fall_apart_only_where_no_file_has_the_whole_name(tmp_path: Path) -> None:
    (tmp_path / "x.png;y.png").write_bytes(png(3))
    assert below("a.png;b.png ; ", tmp_path) == [tmp_path / "a.png", tmp_path / "b.png"]
    assert below("a.png|b.png", tmp_path) == [tmp_path / "a.png", tmp_path / "b.png"]
    assert below("x.png;y.png", tmp_path) == [tmp_path / "x.png;y.png"]
    assert below("dir;name/a.png", tmp_path) == [tmp_path / "dir;name/a.png"]
    assert below('["a.png", ""]', tmp_path) == [tmp_path / "a.png", ""]
    assert below([b"1", None, "a.png"], tmp_path) == [b"1", None, tmp_path / "a.png"]
    assert below(None, tmp_path) == below([], tmp_path) == []


# Columns


def test_a_modality_claims_lists_by_their_different_items() -> None:
    name, claim = best_claim(column([["red", "new"], ["new"], ["old", "red", "new"], []] * 50))
    assert (name, claim.many, claim.confidence) == ("text", True, 0.5)
    assert claim.reason == "lists of 0 to 3 items; item by item: short text: 1 word in the middle cell, all cells differ"
    name, claim = best_claim(column([[png(row), png(row + 1)] for row in range(20)]))
    assert (name, claim.many) == ("image", True)
    assert claim.reason.startswith("lists of 2 items; item by item: 100% of 21 sampled cells are bytes")


def test_json_arrays_are_lists_before_they_are_text() -> None:
    cells = [json.dumps([f"the patient number {row} left", f"and came back on day {row}"]) for row in range(30)]
    assert best_claim(column(cells))[1].many
    name, claim = best_claim(column(cells[:10] + [f"a plain note about patient {row}" for row in range(20)]))
    assert (name, claim.many) == ("text", False)


def test_joined_names_are_a_list_where_one_cells_files_exist(tmp_path: Path) -> None:
    for row in range(12):
        (tmp_path / f"{row}.png").write_bytes(png(row))
    plain = [f"{row}.png" for row in range(10)]
    name, claim = best_claim(column([*plain, "10.png;11.png"], tmp_path))
    assert (name, claim.many) == ("image", True)
    assert claim.reason.startswith("lists of 1 to 2 items; item by item: 100% of 12 sampled cells end in .png and 12 of 12")
    for joined in ("10.png;gone.png", "10.png,11.png"):
        name, claim = best_claim(column([*plain, joined], tmp_path))
        assert (name, claim.many) == ("image", False)


@pytest.mark.parametrize(
    "cells",
    [
        [[1.5, 2.0], [3.0]],
        ["[1, 2]", "[3]"],
        [["1", "2"], ["3"]],
        [[["a b c", "d"]], [["e"]]],
        ["a note; another", "a third one here; and so on"],
        [[], []],
    ],
)
def test_other_cells_are_no_lists_of_items(cells: list[Any]) -> None:
    assert not best_claim(column(cells))[1].many


def test_lists_of_numbers_are_lists_but_none_of_items() -> None:
    numbers, words = column([[1.5, 2.0], [3.0]]), column([["a"], ["b"]])
    assert holds_lists(numbers) and not holds_items(numbers, media=False)
    assert holds_lists(words) and holds_items(words, media=False)
    assert not holds_lists(column(["a", "b"]))


def test_schema_says_that_an_input_is_of_lists() -> None:
    notes = [[f"note number {row} of many", "and one more"] for row in range(30)]
    schema = make_schema(notes=notes, one=[f"a single note about day {row}" for row in range(30)])
    assert schema.inputs == (replace(NOTES), Input("one", "text", ("one",), ("",)))


def test_a_recipe_names_the_modality_and_the_cells_say_that_they_are_lists() -> None:
    codes = [["I10", "E11"], ["J45"]] * 20  # which no modality claims of its own accord
    assert make_schema(codes=codes, age=[str(20 + row) for row in range(40)]).names == ("age",)
    recipe = {"inputs": {"codes": {"modality": "text", "columns": ["codes"]}}}
    for cells in (codes, [json.dumps(cell) for cell in codes]):
        assert make_schema(recipe=recipe, codes=cells)["codes"] == Input("codes", "text", ("codes",), ("",), many=True)
    plain = make_schema(recipe=recipe, codes=["I10", "E11"] * 20)
    assert plain["codes"] == Input("codes", "text", ("codes",), ("",))


@pytest.mark.parametrize("cell", [["red", "new"], '["red", "new"]', [1.0, 2.0]])
def test_columns_that_are_read_together_have_no_lists(cell: Any) -> None:
    recipe = {"inputs": {"tags": {"modality": "tabular", "columns": ["tags"]}}}
    with pytest.raises(ConsilienceError, match=r"(?s)'tags' as tabular, but its cells are lists.*one value a cell"):
        make_schema(recipe=recipe, tags=[cell] * 4)
    with pytest.raises(ConsilienceError, match="the modality tabular was asked for lists"):
        Many(Tabular())


def test_trees_take_columns_as_they_are_but_not_lists_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {**Text().encoders(), "raw": "consilience.modalities.tabular.raw:Raw"}
    monkeypatch.setattr(Text, "encoders", lambda self: raw)
    one = Input("one", "text", ("one",), ("number",))
    made = Trees(config=Trees.Config.model_validate({}), schema=Schema(None, (NOTES, one), ()))
    assert set(made.columns) == {"one"}


# Samples


def test_the_parts_of_all_items_are_numbered_through() -> None:
    sample = read(["a bb", "ccc", "d e"])
    assert [(part.index, part.label) for part in TEXT.parts(sample)] == [
        (0, "item 1: a"),
        (1, "item 1: bb"),
        (2, "item 2: ccc"),
        (3, "item 3: d"),
        (4, "item 3: e"),
    ]
    assert TEXT.size(sample) == 5
    assert texts(TEXT.keep(sample, range(5))) == ["a bb", "ccc", "d e"]
    assert texts(TEXT.keep(sample, {1, 3, 4})) == ["bb", "d e"]
    assert texts(TEXT.keep(sample, set())) == ["", "", ""]


def test_a_drawing_shows_every_item_with_its_own_weights() -> None:
    sample = read(["a <b>", "ccc"])
    drawn = TEXT.draw(sample, {1: 0.5, 2: -0.25})
    assert drawn.count("<li>") == 2
    assert 'title="+0.50">&lt;b&gt;</mark>' in drawn and 'title="-0.25">ccc</mark>' in drawn
    assert "<b>" not in drawn


def test_variation_and_damage_reach_every_item() -> None:
    words = "one two three four five six seven eight nine ten"
    sample = read([words] * 3)
    varied = texts(TEXT.augment(sample, np.random.default_rng(0)))
    assert len(varied) == 3 and len(set(varied)) == 3 and all(len(text) < len(words) for text in varied)
    assert set(TEXT.corruptions) == {"typos", "words", "cut"}
    damaged = TEXT.corruptions["cut"](sample, 1.0, np.random.default_rng(0))
    assert texts(damaged) == ["o"] * 3
    assert texts(TEXT.corruptions["cut"](sample, 0.0, np.random.default_rng(0))) == [words] * 3


def test_a_sample_weighs_as_much_as_its_items() -> None:
    found = IMAGE.read(SHOTS, {"shots": [png(1), png(2)]}, Limits())
    assert isinstance(found, Several)
    assert found.nbytes == 256 + 2 * (256 + 4 * 4 * 3)


def test_a_view_reads_lists_of_names_and_of_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(9))
    cells = ['["a.png", "b.png"]', "a.png;b.png;gone.png", "b.png", None, "[]", "gone.png;neither.png"]
    table = read_table(pa.table({"shots": cells}), tmp_path)
    view = View(table, Schema(None, (SHOTS,), ()), Store(), Limits())
    found = view.samples("shots", np.arange(6))
    counts = [len(sample.items) if isinstance(sample, Several) else sample.reason for sample in found]  # type: ignore[union-attr]
    assert counts == [2, 2, 1, "empty", "empty", "file not found"]
    assert all(isinstance(item, Picture) for item in found[0].items)  # type: ignore[union-attr]
    assert view.notes("shots", 1) == ("items that could not be read: file not found",)
    assert view.present(np.arange(6))["shots"].tolist() == [True, True, True, False, False, False]


def test_batches_by_size_count_each_item_up_to_what_its_encoder_returns() -> None:
    table = read_table(pa.table({"notes": pa.array([["a b c", "d"], ["e " * 20], None])}))
    view = View(table, Schema(None, (NOTES,), ()), Store(), Limits())
    config = Linear.Config.model_validate({"encoders": {"text": {"kind": "scratch", "length": 2}}})
    rows = np.arange(3)
    sizes = _sizes(view, {"notes": make_encoder(config, NOTES)}, rows, view.present(rows))
    assert sizes is not None
    assert sizes.tolist() == [3, 2, 0]  # two words of the first note and one of the second; two of twenty; nothing
