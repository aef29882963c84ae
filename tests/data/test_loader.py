"""Batches hold what is present; in a batch of fixed shape nothing of the shape tells what that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from consilience.data.loader import Batch, _order, make_batch, training_batches
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.modalities.text import Passage
from consilience.types import Input, Limits, Sample, Schema, Tokens

INPUTS = (Input("one", "text", ("one",)), Input("two", "text", ("two",)))
WORDS = "a bb ccc dddd eeeee ffffff"


class Words(Encoder):
    """A token [1] for each word: its length."""

    modality = "text"
    width, length = 1, 6

    def __init__(self, name: str, *, frozen: bool) -> None:
        super().__init__(config=Encoder.Config(), input=Input(name, "text", (name,)))
        self.frozen = frozen

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Passage)
        return {"lengths": torch.tensor([float(len(word)) for word in sample.text.split()])}

    def collate(self, items: Any, length: int | None = None) -> dict[str, Tensor]:
        most = length or max(len(item["lengths"]) for item in items)
        rows = [torch.nn.functional.pad(item["lengths"], (0, most - len(item["lengths"]))) for item in items]
        return {"lengths": torch.stack(rows)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["lengths"].unsqueeze(2), batch["lengths"] > 0)


def make_view(**columns: list[str | None]) -> View:
    rows = len(next(iter(columns.values())))
    columns = {"one": [None] * rows, "two": [None] * rows} | columns
    table = pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
    return View(read_table(table), Schema(None, INPUTS, ()), Store(), Limits())


def encoders() -> dict[str, Encoder]:
    """`one` is frozen, `two` is trained."""
    return {"one": Words("one", frozen=True), "two": Words("two", frozen=False)}


def batch_of(view: View, *rows: int, **options: Any) -> Batch:
    chosen = np.array(rows)
    return make_batch(view, encoders(), chosen, view.present(chosen), **options)


def lengths(given: Tokens | dict[str, Tensor] | None) -> list[list[float]] | None:
    """The word lengths of a batch, in whichever form it holds them."""
    if given is None:
        return None
    return (given.values[:, :, 0] if isinstance(given, Tokens) else given["lengths"]).tolist()


VIEW = make_view(one=["a bb", None, "ccc", None], two=[None, "a", "bb ccc dddd", None])


def test_a_batch_holds_only_what_is_present() -> None:
    batch = batch_of(VIEW, 2, 1, 3, 0)
    assert batch.rows.tolist() == [2, 1, 3, 0]
    assert {name: values.tolist() for name, values in batch.present.items()} == {
        "one": [True, False, False, True],
        "two": [True, True, False, False],
    }
    assert batch.places["one"].tolist() == [0, 3]
    assert isinstance(batch.given["one"], Tokens)
    assert lengths(batch.given["one"]) == [[3, 0], [1, 2]]
    assert batch.places["two"].tolist() == [0, 1]
    assert isinstance(batch.given["two"], dict)
    assert lengths(batch.given["two"]) == [[2, 3, 4], [1, 0, 0]]


def test_an_input_that_no_row_has_is_none() -> None:
    batch = batch_of(VIEW, 0)
    assert batch.given["two"] is None
    assert batch.places["two"].tolist() == []


def test_what_is_removed_is_not_in_the_batch() -> None:
    rows = np.array([2, 0])
    batch = make_batch(VIEW, encoders(), rows, {"one": np.array([False, True]), "two": np.array([True, False])})
    assert batch.places["one"].tolist() == [1]
    assert lengths(batch.given["one"]) == [[1, 2]]


def test_a_batch_of_fixed_shape_repeats_the_first_and_is_as_long_as_the_encoder_allows() -> None:
    batch = batch_of(VIEW, 3, 0, 2, fixed=True)
    assert batch.places["one"].tolist() == [1, 2]
    assert lengths(batch.given["one"]) == [[1, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0]]
    assert lengths(batch.given["two"]) == [[2, 3, 4, 0, 0, 0]] * 3


@pytest.mark.parametrize("rows", [(0, 1, 2, 3), (0, 0, 0, 0), (1, 1, 1, 1), (3, 3, 3, 3), (2, 0, 2, 1)])
def test_fixed_shapes_do_not_depend_on_what_is_present(rows: tuple[int, ...]) -> None:
    batch = batch_of(VIEW, *rows, fixed=True)
    shapes = {
        name: value.values.shape if isinstance(value, Tokens) else None if value is None else (*value["lengths"].shape, 1)
        for name, value in batch.given.items()
    }
    assert shapes == {"one": (4, 6, 1), "two": (4, 6, 1)}
    for name, value in batch.given.items():
        if isinstance(value, Tokens) and not len(batch.places[name]):
            assert not value.mask.any()


def test_presence_of_a_batch_is_its_own() -> None:
    present = VIEW.present(np.array([0, 2]))
    batch = make_batch(VIEW, encoders(), np.array([0, 2]), present)
    present["one"][:] = False
    assert batch.present["one"].tolist() == [True, True]


def test_only_what_is_trained_is_varied_and_the_generator_says_how() -> None:
    view = make_view(one=[WORDS], two=[WORDS])
    plain = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    found = [batch_of(view, 0, augment=np.random.default_rng(seed)) for seed in (0, 0, *range(1, 9))]
    assert all(lengths(batch.given["one"]) == [plain] for batch in found)
    varied = [lengths(batch.given["two"]) for batch in found]
    assert varied[0] == varied[1]
    assert len({str(item) for item in varied}) > 2
    assert lengths(batch_of(view, 0).given["two"]) == [plain]


def test_to_keeps_everything() -> None:
    batch = batch_of(VIEW, 0, 1)
    moved = batch.to("cpu")
    assert moved.rows is batch.rows
    for name in ("one", "two"):
        assert lengths(moved.given[name]) == lengths(batch.given[name])
        assert torch.equal(moved.places[name], batch.places[name])
        assert torch.equal(moved.present[name], batch.present[name])


# An epoch


def epoch(view: View, size: int, seed: int = 0, augment: bool = False, chosen: dict[str, Encoder] | None = None) -> list[Batch]:
    rng = np.random.default_rng(seed)
    steps = training_batches(view, chosen or encoders(), np.arange(len(view)), size, augment=augment, rng=rng)
    return [batch for step in steps for batch in step.batches]


def test_an_epoch_has_every_row_with_an_input_once() -> None:
    view = make_view(one=["a"] * 10 + [None] * 10, two=[None] * 5 + ["b"] * 10 + [None] * 5)
    batches = epoch(view, 4)
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(15))
    assert sorted(len(batch.rows) for batch in batches) == [3, 4, 4, 4]
    for batch in batches:
        assert torch.stack(list(batch.present.values())).any(0).all()
        for name in ("one", "two"):
            assert batch.present[name].tolist() == view.present(batch.rows)[name].tolist()


def test_an_epoch_of_rows_without_any_input_has_no_batch() -> None:
    assert epoch(make_view(one=[None, None]), 4) == []


def test_the_generator_decides_the_order_and_the_variations() -> None:
    view = make_view(one=["a"] * 30, two=[WORDS] * 30)

    def story(seed: int) -> list[Any]:
        return [(batch.rows.tolist(), lengths(batch.given["two"])) for batch in epoch(view, 4, seed, augment=True)]

    assert story(0) == story(0)
    assert story(0) != story(1)
    rng = np.random.default_rng(0)
    epochs = [
        [step.rows.tolist() for step in training_batches(view, encoders(), np.arange(30), 4, augment=False, rng=rng)]
        for _ in range(2)
    ]
    assert epochs[0] != epochs[1]


def test_rows_of_like_size_stand_together_where_something_is_trained() -> None:
    counts = [1 + row % 6 for row in range(48)]
    view = make_view(one=["a"] * 48, two=[" ".join("a" * count) for count in counts])
    spread = [np.ptp([counts[row] for row in batch.rows]) for batch in epoch(view, 4)]
    assert max(spread) <= 1
    frozen = {"one": Words("one", frozen=True), "two": Words("two", frozen=True)}
    assert max(np.ptp([counts[row] for row in batch.rows]) for batch in epoch(view, 4, chosen=frozen)) > 1


def test_an_epoch_that_is_left_early_leaves_no_thread_behind() -> None:
    batches = training_batches(
        make_view(one=["a"] * 40), encoders(), np.arange(40), 2, augment=False, rng=np.random.default_rng(0)
    )
    next(batches)
    batches.close()


@given(count=st.integers(0, 200), size=st.integers(1, 40), sized=st.booleans(), seed=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_an_order_is_a_partition_into_full_batches_and_one_rest(count: int, size: int, sized: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = _order(count, rng.integers(0, 9, count) if sized else None, size, rng)
    assert sorted(place for batch in batches for place in batch.tolist()) == list(range(count))
    assert sorted((len(batch) for batch in batches), reverse=True)[: count // size] == [size] * (count // size)
    assert len(batches) == -(-count // size)


def test_a_step_is_cut_into_pieces_and_made_again_in_more() -> None:
    view = make_view(one=["a"] * 9 + [None], two=[WORDS] * 10)
    rng = np.random.default_rng(0)
    steps = list(training_batches(view, encoders(), np.arange(10), 5, augment=False, rng=rng, pieces=lambda: 2))
    for step in steps:
        assert [len(batch.rows) for batch in step.batches] == [3, 2]
        assert np.concatenate([batch.rows for batch in step.batches]).tolist() == step.rows.tolist()
        again = step.again(4)
        assert [len(batch.rows) for batch in again.batches] == [2, 1, 1, 1]
        assert again.rows.tolist() == step.rows.tolist()
        assert len(step.again(99).batches) == 5
    assert sorted(row for step in steps for row in step.rows.tolist()) == list(range(10))
