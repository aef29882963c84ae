"""What a view tells of its rows, damaged views, and the numbers of cells, which no process may see differently."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.told import Told
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.image import Picture
from consilience.modalities.tabular import Record
from consilience.modalities.text import Passage
from consilience.types import ColumnRole, Input, Limits, Missing, Sample, Schema, Tokens

INPUTS = (
    Input("photo", "image", ("photo",)),
    Input("note", "text", ("note",)),
    Input("tabular", "tabular", ("age", "ward"), ("number", "category")),
)


class Words(Encoder):
    """A token for each word: its length, and 1. It notes the shapes that it is asked for."""

    modality = "text"
    width, length, frozen = 2, 4, True

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__(config=Encoder.Config(), input=INPUTS[1])
        self.offset = torch.nn.Parameter(torch.tensor(offset))
        self.shapes: list[tuple[int, ...]] = []

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Passage)
        lengths = [float(len(word)) for word in sample.text.split()]
        return {"lengths": torch.tensor(lengths + [0.0] * (self.length - len(lengths)))}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        lengths = batch["lengths"]
        self.shapes.append(tuple(lengths.shape))
        return Tokens(torch.stack([lengths + self.offset, torch.ones_like(lengths)], dim=2), lengths > 0)


def make(root: Path | None = None, limits: Limits | None = None, weight: str | None = None, **columns: list[Any]) -> View:
    rows = len(next(iter(columns.values())))
    columns = {name: [None] * rows for name in ("photo", "note", "age", "ward", "answer", "person", "w")} | columns
    table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
    roles = (ColumnRole("person", "group", "named"), ColumnRole("answer", "target", "named"))
    return View(read_table(table, root), Schema("answer", INPUTS, roles), Store(), limits or Limits(), weight)


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


# What is told of a row


def test_a_word_is_told_of_each_row_and_of_others_nothing() -> None:
    told = Told(5)
    assert [told[row] for row in range(5)] == [None] * 5
    told.tell([3, 1, 0], ["a", "", "a"])
    told.tell([4], [("x", "y")])
    assert [told[row] for row in range(5)] == ["a", "", None, "a", ("x", "y")]
    told.tell([3, 1], [None, "b"])
    told.tell([], [])
    assert [told[row] for row in range(5)] == ["a", "b", None, None, ("x", "y")]


def test_equal_words_have_equal_codes_whenever_they_are_told() -> None:
    told = Told(6)
    told.tell([0, 1, 2], ["a", "b", "a"])
    told.tell([4, 5], ["b", None])
    told.tell([3], ["a"])
    assert told.codes.tolist() == [1, 2, 1, 1, 2, 0]
    assert told.words == [None, "a", "b"]


def test_rows_of_a_word_are_found_and_counted_in_the_order_asked_for() -> None:
    told = Told(5)
    told.tell([0, 1, 3], ["a", "", "a"])
    assert told.are("a", rows(3, 2, 0, 1, 3)).tolist() == [True, False, True, False, True]
    assert told.are(None, rows(4, 3)).tolist() == [True, False]
    assert told.are("", rows(0, 1)).tolist() == [False, True]
    assert told.are("never told", rows(0, 1, 2)).tolist() == [False] * 3
    assert told.are("a", rows()).tolist() == []
    assert told.count(rows(3, 0, 0, 1, 2)) == Counter({"a": 3, "": 1})  # row 2 has no word
    assert told.count(rows(2)) == Counter()


def test_rows_of_which_the_same_is_told_have_equal_numbers() -> None:
    view = make(
        note=["a\0b", None, "c\0", " ", "d"],
        age=["1", None, "2", "x", "3"],
        ward=["n", None, "s", "e", None],
    )
    told = view.told(rows(0, 1, 2, 3, 4))
    assert told.shape == (5, 2 * 3)
    by_column = [[row.tolist().index(code) for code in row] for row in told.T]  # the first row of which the same is told
    assert by_column == [
        [0, 0, 0, 0, 0],  # photo: empty
        [0, 0, 0, 0, 0],
        [0, 1, 0, 1, 0],  # note: there or empty
        [0, 1, 0, 1, 1],  # control characters removed, or nothing to note
        [0, 1, 0, 0, 0],  # tabular: there or empty
        [0, 0, 0, 3, 0],  # "age: not a number"
    ]
    assert view.told(rows(3, 0, 3)).tolist() == told[[3, 0, 3]].tolist()
    assert view.told(rows()).shape == (0, 6)


# Damage

NOTES = [f"the patient {word} slept well on ward {word} and asked for tea" for word in ("one", "two", "three", "four")]


def texts(view: View, *numbers: int) -> list[Any]:
    return [sample.text if isinstance(sample, Passage) else sample for sample in view.samples("note", rows(*numbers))]


@pytest.mark.parametrize("corruption", ["typos", "words", "cut"])
def test_damage_is_the_same_in_whatever_order_and_batch_rows_are_read(corruption: str) -> None:
    view = make(note=NOTES)
    whole = texts(view.damaged("note", corruption, 0.5, 7), 0, 1, 2, 3)
    assert all(damaged != note for damaged, note in zip(whole, NOTES, strict=True))
    assert texts(view.damaged("note", corruption, 0.5, 7), 3, 1, 1, 0, 2) == [whole[row] for row in (3, 1, 1, 0, 2)]
    one = view.damaged("note", corruption, 0.5, 7)
    assert [texts(one, row) for row in (2, 0, 3, 2)] == [[whole[row]] for row in (2, 0, 3, 2)]
    assert texts(view, 0, 1, 2, 3) == NOTES, "the view itself is as it was"


def test_a_damage_of_another_seed_or_severity_is_another() -> None:
    view = make(note=NOTES)
    first = texts(view.damaged("note", "typos", 0.5, 7), 0, 1)
    assert texts(view.damaged("note", "typos", 0.5, 8), 0, 1) != first
    assert texts(view.damaged("note", "typos", 0.1, 7), 0, 1) != first
    assert texts(view.damaged("note", "typos", 0.0, 7), 0, 1) == NOTES[:2]


def test_equal_cells_of_different_rows_are_damaged_differently() -> None:
    one, other = texts(make(note=[NOTES[0], NOTES[0]]).damaged("note", "typos", 0.5, 7), 0, 1)
    assert one != other


def test_by_hand_half_a_text_is_cut_off() -> None:
    assert texts(make(note=["abcdefg", None, "a"]).damaged("note", "cut", 0.5, 0), 0, 1, 2) == ["abcd", Missing("empty"), "a"]


def test_what_is_missing_stays_missing_and_other_inputs_are_as_they_were() -> None:
    view = make(note=["one two three", None, " "], age=["3", None, "x"], ward=["n", None, None])
    hurt = view.damaged("note", "words", 1.0, 0)
    assert texts(hurt, 1, 2) == [Missing("empty"), Missing("empty")]
    assert len(str(texts(hurt, 0)[0]).split()) == 1
    assert hurt.reasons("note", rows(0, 1, 2)) == ["", "empty", "empty"]
    assert hurt.counts(rows(0, 1, 2)) == view.counts(rows(0, 1, 2))
    for one, other in zip(hurt.samples("tabular", rows(0, 1, 2)), view.samples("tabular", rows(0, 1, 2)), strict=True):
        assert one == other if isinstance(one, Missing) else vars(one) == vars(other)


def test_pictures_damaged_and_not_are_kept_apart_in_one_store(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (3, 2), "red").save(tmp_path / "red.png")
    view = make(tmp_path, photo=["red.png", None, "red.png"], note=["a", "b", "c"], age=["3", "4", "5"])

    def pixels(view: View, *numbers: int) -> list[bytes]:
        return [sample.pixels.tobytes() for sample in view.samples("photo", rows(*numbers)) if isinstance(sample, Picture)]

    red = np.tile(np.array([255, 0, 0], np.uint8), (2, 3, 1)).tobytes()
    assert pixels(view, 0, 1, 2) == [red, red]
    hurt = view.damaged("photo", "noise", 1.0, 3)
    assert hurt.store is view.store
    first = pixels(hurt, 0, 1, 2)
    assert len({red, *first}) == 3
    assert pixels(hurt, 2, 0) == [first[1], first[0]]
    assert pixels(view, 2, 0) == [red, red]
    assert pixels(view.damaged("photo", "noise", 1.0, 3), 2, 0) == [first[1], first[0]]
    view.store.limit = 1
    assert pixels(view.damaged("photo", "noise", 1.0, 3), 0, 2, 0) == [first[0], first[1], first[0]]
    assert hurt.samples("photo", rows(1)) == [Missing("empty")]
    assert texts(hurt, 0, 1, 2) == ["a", "b", "c"]
    numbers = [sample.values["age"] for sample in hurt.samples("tabular", rows(0, 1, 2)) if isinstance(sample, Record)]
    assert numbers == [3.0, 4.0, 5.0], "numbers know a damage of that name too"


def test_tokens_of_a_damaged_view_are_its_own() -> None:
    view, encoder = make(note=["ab abc", "abcd"]), Words()
    before = view.tokens(encoder, "note", rows(0, 1)).values
    hurt = view.damaged("note", "cut", 0.5, 0).tokens(encoder, "note", rows(0, 1))
    assert hurt.values[:, :, 0].tolist() == [[2.0, 1.0], [2.0, 0.0]]  # 2 of 6 and 2 of 4 characters go: "ab a", "ab"
    assert torch.equal(view.tokens(encoder, "note", rows(0, 1)).values, before)
    assert before[:, :, 0].tolist() == [[2.0, 3.0], [4.0, 0.0]]


def test_a_damage_that_its_modality_does_not_know_is_an_error_with_the_nearest() -> None:
    view = make(note=["a"])
    with pytest.raises(ConsilienceError, match=r"'note' has no corruption 'typo'\n.*\n.*did you mean 'typos'"):
        view.damaged("note", "typo", 0.5, 0)
    with pytest.raises(ConsilienceError, match="'photo' has no corruption 'words'"):
        view.damaged("photo", "words", 0.5, 0)


# Codes do not depend on how Python hashes

CODES = """
import datetime, pyarrow as pa
from consilience.data import table
table.ROWS = 4
made = table.read_table(pa.table({
    "word": ["b", None, "a", " b ", "", "None", "c", "a", "1", "b"],
    "number": [2, None, 1, 2, 10, 3, 3, 1, None, 2],
    "bytes": [b"x", b"", None, b"x", b"y", b"", b"z", b"x", b"q", b"y"],
    "list": [["x"], ["y"], None, ["x"], [], ["y"], ["x", "y"], [], ["z"], ["x"]],
    "day": [datetime.date(2024, 1, day) for day in (9, 2, 9, 2, 5, 9, 1, 5, 2, 1)],
}))
print([made.codes(name).tolist() for name in made.names], made.column("word").distinct)
"""


def test_codes_are_the_same_in_every_process() -> None:
    found = []
    for seed in ("1", "2", "random"):
        env = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([sys.executable, "-c", CODES], env=env, capture_output=True, text=True, check=True)
        found.append(done.stdout.strip())
    # Numbers in the order of appearance; empty cells take part in it, and so leave gaps; an empty cell of row R is -1 - R.
    assert (
        found
        == [
            "[[0, -2, 2, 0, -5, 1, 4, 2, 5, 0], "
            "[0, -2, 2, 0, 3, 4, 4, 2, -9, 0], "
            "[0, 1, -3, 0, 3, 1, 4, 0, 5, 3], "
            "[0, 1, -3, 0, 3, 1, 4, 3, 5, 0], "
            "[0, 1, 0, 1, 2, 0, 3, 2, 1, 3]] 6"
        ]
        * 3
    )
