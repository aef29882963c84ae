"""A view gives as many answers as rows are asked for, in that order, and says why there is none."""

from __future__ import annotations

import math
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
from consilience.data.view import View
from consilience.encoders.base import CHUNK, Encoder
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


class Age(Encoder):
    """One token, the age."""

    modality = "tabular"
    width, length, frozen = 1, 1, True

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Record)
        age = sample.values["age"]
        return {"age": torch.tensor([age if isinstance(age, float) else math.nan], dtype=torch.float64)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["age"].unsqueeze(1), torch.ones(len(batch["age"]), 1, dtype=torch.bool))


def make(root: Path | None = None, limits: Limits | None = None, weight: str | None = None, **columns: list[Any]) -> View:
    rows = len(next(iter(columns.values())))
    columns = {name: [None] * rows for name in ("photo", "note", "age", "ward", "answer", "person", "w")} | columns
    table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
    roles = (ColumnRole("person", "group", "named"), ColumnRole("answer", "target", "named"))
    return View(read_table(table, root), Schema("answer", INPUTS, roles), Store(), limits or Limits(), weight)


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


# Samples


def test_samples_come_in_the_order_asked_for_and_missing_ones_say_why() -> None:
    view = make(note=["a b", None, " ", "c"])
    found = view.samples("note", rows(3, 1, 0, 3, 2))
    assert [sample.text if isinstance(sample, Passage) else sample for sample in found] == [
        "c",
        Missing("empty"),
        "a b",
        "c",
        Missing("empty"),
    ]
    assert view.samples("note", rows()) == []


def test_a_record_is_missing_only_where_all_its_cells_are() -> None:
    view = make(age=["3", None, None, "x"], ward=["north", None, "south", None])
    found = view.samples("tabular", rows(0, 1, 2, 3))
    assert [sample.values if isinstance(sample, Record) else sample for sample in found] == [
        {"age": 3.0, "ward": "north"},
        Missing("empty"),
        {"age": None, "ward": "south"},
        Missing("not a number"),
    ]


def test_pictures_are_looked_up_below_the_root_and_bad_ones_are_missing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    PIL.Image.new("RGB", (3, 2), "red").save(tmp_path / "in/red.png")
    (tmp_path / "bad.png").write_bytes(b"nothing of the kind")
    (tmp_path / "none.png").write_bytes(b"")
    cells = ["in/red.png", "bad.png", "gone.png", None, "", "none.png", "in", str(tmp_path / "in/red.png")]
    view = make(tmp_path, photo=cells)
    found = view.samples("photo", np.arange(8))
    for place in (0, 7):
        sample = found[place]
        assert isinstance(sample, Picture)
        assert sample.pixels.shape == (2, 3, 3)
    assert [sample.reason for sample in found if isinstance(sample, Missing)] == [
        "not an image",
        "file not found",
        "empty",
        "empty",
        "empty file",
        "is a directory",
    ]


def test_bytes_are_pictures_too_and_limits_apply(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (3, 2), "red").save(tmp_path / "red.png")
    content = (tmp_path / "red.png").read_bytes()
    assert isinstance(make(photo=[content]).samples("photo", rows(0))[0], Picture)
    view = make(photo=[content], note=["abcdef"], limits=Limits(pixels=5, characters=3))
    assert view.samples("photo", rows(0)) == [Missing("over the pixel limit")]
    assert view.counts(rows(0)) == {
        "photo": Counter({"over the pixel limit": 1}),
        "note": Counter({"text cut at 3 characters": 1}),
        "tabular": Counter({"empty": 1}),
    }


def test_each_media_cell_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    PIL.Image.new("RGB", (3, 2), "red").save(tmp_path / "red.png")
    view = make(photo=["red.png", None, "red.png"], root=tmp_path)
    read: list[int] = []
    original = View._read
    monkeypatch.setattr(View, "_read", lambda self, item, rows: (read.extend(rows.tolist()), original(self, item, rows))[1])
    view.samples("photo", rows(0, 1, 1, 0))
    view.samples("photo", rows(2, 1, 0))
    view.present(rows(0, 1, 2), ("photo",))
    assert read == [0, 1, 2]


def test_what_the_store_let_go_is_read_again_but_its_reason_is_kept() -> None:
    view = make(note=["a", None, "b"])
    view.store.limit = 1  # holds one sample at a time
    first = view.samples("note", rows(0, 1, 2))
    second = view.samples("note", rows(0, 1, 2))
    assert [getattr(sample, "text", "") for sample in second] == [getattr(sample, "text", "") for sample in first]
    assert view.reasons("note", rows(0, 1, 2)) == ["", "empty", ""]


def test_a_file_that_is_gone_since_is_an_error_and_not_a_missing_cell(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (4, 4)).save(tmp_path / name)
    view = make(tmp_path, photo=["a.png", "b.png", None])
    assert view.present(rows(0, 1, 2))["photo"].tolist() == [True, True, False]
    view.store = Store(0)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ConsilienceError, match=r"1 cells of 'photo' were read before .* the first in row 1: file not found"):
        view.samples("photo", rows(0, 1, 2))
    assert view.present(rows(0, 1, 2))["photo"].tolist() == [True, True, False]


# Presence, reasons, notes


def test_presence_is_a_bool_a_row_for_every_input() -> None:
    view = make(note=["a", None, "b"], age=["1", "2", None])
    present = view.present(rows(2, 0, 1))
    assert {name: values.tolist() for name, values in present.items()} == {
        "photo": [False] * 3,
        "note": [True, True, False],
        "tabular": [False, True, True],
    }
    assert list(view.present(rows(0), ("note",))) == ["note"]
    assert view.present(rows())["note"].dtype == bool


def test_reasons_and_notes_are_counted_for_the_rows_asked_for() -> None:
    view = make(note=["a\0b", None, "c\0"], age=["1", "x", "2"], ward=[None, "n", "s"])
    assert view.reasons("note", rows(1, 0)) == ["empty", ""]
    assert view.notes("note", 0) == ("control characters removed",)
    assert view.notes("note", 1) == ()
    assert view.counts(rows(1, 2)) == {
        "photo": Counter({"empty": 2}),
        "note": Counter({"empty": 1, "control characters removed": 1}),
        "tabular": Counter({"age: not a number": 1}),
    }


# Tokens


def test_tokens_by_hand() -> None:
    view = make(note=["ab c", None, "def", "g h i"])
    tokens = view.tokens(Words(), "note", rows(2, 1, 0, 2))
    assert tokens.mask.tolist() == [[True, False], [False, False], [True, True], [True, False]]
    assert tokens.values[:, :, 0].tolist() == [[3.0, 0.0], [0.0, 0.0], [2.0, 1.0], [3.0, 0.0]]
    assert tokens.values[0, 0].tolist() == [3.0, 1.0]


def test_where_all_are_missing_there_is_one_token_that_is_not_there() -> None:
    tokens = make(note=[None, ""]).tokens(Words(), "note", rows(0, 1))
    assert tokens.values.shape == (2, 1, 2)
    assert not tokens.mask.any()


def test_an_encoder_sees_each_cell_once_in_batches_of_one_shape() -> None:
    view, encoder = make(note=[f"{'x' * (1 + row % 7)} y" for row in range(CHUNK + 5)]), Words()
    view.tokens(encoder, "note", np.arange(CHUNK + 5))
    assert encoder.shapes == [(CHUNK, 4), (CHUNK, 4)]
    assert view.store.encoded == CHUNK + 5
    view.tokens(encoder, "note", rows(3, 3, CHUNK))
    same = Words()
    view.tokens(same, "note", rows(7))
    assert view.store.encoded == CHUNK + 5
    assert same.shapes == []


def test_variations_are_the_same_wherever_a_sample_stands() -> None:
    texts = ["aa bbb c dddd", "aa bbb c dddd", "ee f", None]
    view, encoder = make(note=texts), Words()
    plain = view.tokens(encoder, "note", rows(0, 1, 2, 3))
    none = view.tokens(encoder, "note", rows(0, 1, 2, 3), np.zeros(4, int))
    assert torch.equal(none.values, plain.values) and torch.equal(none.mask, plain.mask)
    numbers = np.arange(1, 30)
    first, second = (view.tokens(encoder, "note", np.full(29, row), numbers) for row in (0, 1))
    assert torch.equal(first.values, second.values) and torch.equal(first.mask, second.mask)
    assert (first.mask.sum(1) < 4).any(), "a word is left out now and then"
    mixed = view.tokens(encoder, "note", rows(2, 0, 3, 0), np.array([0, 0, 5, 7]))
    assert mixed.mask.sum(1).tolist()[:3] == [2, 4, 0]
    assert torch.equal(mixed.values[1], plain.values[0])
    alone = view.tokens(encoder, "note", rows(0), np.array([7]))
    assert torch.equal(mixed.values[3][mixed.mask[3]], alone.values[0][alone.mask[0]])


def test_another_encoder_gets_tokens_of_its_own() -> None:
    view = make(note=["ab"])
    assert view.tokens(Words(), "note", rows(0)).values[0, 0, 0] == 2.0
    assert view.tokens(Words(0.5), "note", rows(0)).values[0, 0, 0] == 2.5


def test_an_encoder_that_trains_has_no_tokens_to_store() -> None:
    encoder = Words()
    encoder.frozen = False
    with pytest.raises(AssertionError, match="learns"):
        make(note=["a"]).tokens(encoder, "note", rows(0))


def test_pooled_is_mean_and_deviation_of_the_tokens_and_nan_where_missing() -> None:
    view = make(note=["ab abcd", None, "abc"])
    pooled = view.pooled(Words(), "note", rows(0, 1, 2))
    assert pooled.dtype == np.float64
    assert pooled[[0, 2]].tolist() == [[3.0, 1.0, 1.0, 0.0], [3.0, 1.0, 0.0, 0.0]]
    assert np.isnan(pooled[1]).all()


def test_pooled_of_one_token_is_the_token() -> None:
    view = make(age=["3", None, None, "0.1"], ward=[None, "n", None, None])
    pooled = view.pooled(Age(config=Encoder.Config(), input=INPUTS[2]), "tabular", rows(3, 2, 1, 0))
    assert pooled[[0, 3]].tolist() == [[0.1], [3.0]]
    assert np.isnan(pooled[[1, 2]]).all()


# Target, weight, group


def test_targets_come_in_the_order_asked_for() -> None:
    assert list(make(answer=["a", None, "b"]).target(rows(2, 0, 1))) == ["b", "a", None]


def test_weights_are_ones_or_what_the_column_says() -> None:
    assert make(note=["a", "b"]).weight(rows(0, 1)).tolist() == [1.0, 1.0]
    assert make(w=["1", " 2.5 ", "0"], weight="w").weight(rows(1, 2)).tolist() == [2.5, 0.0]


def test_cells_that_are_no_weight_are_counted() -> None:
    with pytest.raises(ConsilienceError, match="'w' has 5 cells that are no weight"):
        make(w=["1", "-1", "x", None, "nan", "inf"], weight="w").weight(np.arange(6))


def test_groups_are_numbered_and_an_empty_cell_is_its_own_group() -> None:
    groups = make(person=["b", None, "a", "b ", None, " "]).groups(rows(0, 1, 2, 3, 4, 5))
    assert groups is not None
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 5
    numbers = make(person=[1.5, math.nan, 1.5, math.nan]).groups(np.arange(4))
    assert numbers is not None
    assert len(set(numbers.tolist())) == 3


def test_without_a_group_column_there_are_no_groups() -> None:
    view = make(note=["a"])
    view.schema = Schema("answer", INPUTS, ())
    assert view.groups(rows(0)) is None
    view.schema = Schema("answer", INPUTS, (ColumnRole("elsewhere", "group", "named"),))
    assert view.groups(rows(0)) is None


def test_the_chunk_leaves_no_row_over_where_products_and_loops_take_several_at_a_time() -> None:
    assert [CHUNK % step for step in (4, 6, 8, 12, 16, 24, 32)] == [0] * 7
