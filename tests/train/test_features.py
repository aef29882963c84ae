"""Features of linear and tree models: one scale an input, learned on present training rows; a gap is a column, not a value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.tabular import Record
from consilience.modalities.text import Passage
from consilience.train.features import Features, encoders_state, fit_encoders, part, restore_encoders
from consilience.types import Input, Limits, Sample, Schema, State, Tokens

INPUTS = (Input("pair", "tabular", ("x", "y"), ("number", "number")), Input("note", "text", ("note",)))


class Pair(Encoder):
    """One token, x and y, less what `fit` saw most of; `fitted` counts the fits of all of them."""

    modality = "tabular"
    width, length, frozen = 2, 1, True
    fitted = 0

    def __init__(self) -> None:
        super().__init__(config=Encoder.Config(), input=INPUTS[0])
        self.seen, self.drawn = 0, 0.0

    def fit(self, samples: Any, rng: np.random.Generator) -> None:
        Pair.fitted += 1
        self.seen, self.drawn = len(samples), float(rng.random())

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Record)
        return {"xy": torch.tensor([float(sample.values["x"] or 0), float(sample.values["y"] or 0)], dtype=torch.float64)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["xy"].unsqueeze(1), torch.ones(len(batch["xy"]), 1, dtype=torch.bool))

    def state(self) -> State:
        return State({"seen": self.seen, "drawn": self.drawn}, {"seen": np.array([self.seen])})

    def restore(self, state: State) -> None:
        self.seen, self.drawn = state.json["seen"], state.json["drawn"]


class Words(Encoder):
    """A token for each word: its length. Pooled: the mean and the deviation."""

    modality = "text"
    width, length, frozen = 1, 3, True

    def __init__(self) -> None:
        super().__init__(config=Encoder.Config(), input=INPUTS[1])

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Passage)
        lengths = [float(len(word)) for word in sample.text.split()]
        return {"lengths": torch.tensor(lengths + [0.0] * (3 - len(lengths)))}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["lengths"].unsqueeze(2), batch["lengths"] > 0)


def make_view(x: list[Any], y: list[Any], note: list[str | None] | None = None) -> View:
    table = pa.table({"x": x, "y": y, "note": pa.array(note or [None] * len(x), pa.string())})
    return View(read_table(table), Schema(None, INPUTS, ()), Store(), Limits())


def fitted(view: View, *rows: int, **encoders: Encoder) -> Features:
    features = Features(encoders or {"pair": Pair()})
    features.fit(view, np.array(rows), 0)
    return features


def matrix(features: Features, view: View, *rows: int, **present: list[bool]) -> list[list[float]]:
    chosen = np.array(rows)
    there = view.present(chosen, tuple(features.encoders)) | {name: np.array(values) for name, values in present.items()}
    return features.matrix(view, chosen, there).tolist()


# The scale


def test_an_input_is_centred_and_divided_by_one_number() -> None:
    view = make_view([1.0, 5.0, 1.0, 5.0, 9.0], [0.0, 0.0, 6.0, 6.0, 9.0])
    features = fitted(view, 0, 1, 2, 3)
    # The mean is (3, 3); every training row is (2, 3) away from it, so the length is sqrt(13).
    assert features.mean["pair"].tolist() == [3.0, 3.0]
    assert features.scale["pair"] == pytest.approx(1 / math.sqrt(13))
    assert np.allclose(matrix(features, view, 4, 0), np.array([[6.0, 6.0], [-2.0, -3.0]]) / math.sqrt(13))
    assert features.width == 2


def test_each_input_has_its_own_scale_so_that_none_drowns_another() -> None:
    view = make_view([0.0, 2000.0], [0.0, 0.0], ["a", "aaa"])
    features = fitted(view, 0, 1, pair=Pair(), note=Words())
    # Two columns of `pair`, then mean and deviation of the words' lengths.
    assert np.allclose(matrix(features, view, 0, 1), [[-1, 0, -1, 0], [1, 0, 1, 0]])
    assert features.width == 4


def test_a_gap_in_training_is_a_column_and_a_missing_row_is_zeros() -> None:
    view = make_view([0.0, 2.0, None, None], [1.0, 1.0, None, None])
    features = fitted(view, 0, 1, 2)
    assert features.gaps == {"pair": True}
    assert features.width == 3
    assert matrix(features, view, 0, 2, 3, 1) == [[-1, 0, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_without_gaps_in_training_a_missing_row_adds_nothing() -> None:
    view = make_view([0.0, 2.0, None], [1.0, 1.0, None])
    features = fitted(view, 0, 1)
    assert matrix(features, view, 2, 1) == [[0, 0], [1, 0]]


def test_what_is_removed_looks_as_what_is_missing() -> None:
    view = make_view([0.0, 2.0, None], [1.0, 1.0, None])
    features = fitted(view, 0, 1, 2)
    assert matrix(features, view, 0, 1, pair=[False, True]) == [[0, 0, 1], [1, 0, 0]]


def test_other_rows_than_those_of_training_have_no_say() -> None:
    one, other = make_view([0.0, 2.0, 5.0], [1.0, 1.0, 5.0]), make_view([0.0, 2.0, -700.0], [1.0, 1.0, None])
    assert fitted(one, 0, 1).state().json == fitted(other, 0, 1).state().json


def test_an_input_that_training_never_has_is_zeros_even_where_it_is_there_later() -> None:
    view = make_view([None, None, 7.0], [None, None, 7.0])
    features = fitted(view, 0, 1)
    assert features.scale == {"pair": 0.0}
    assert matrix(features, view, 0, 2) == [[0, 0, 1], [0, 0, 0]]


def test_a_constant_input_is_zeros() -> None:
    view = make_view([3.0, 3.0, 5.0], [1.0, 1.0, 1.0])
    assert matrix(fitted(view, 0, 1), view, 0, 2) == [[0, 0], [0, 0]]


# Encoders


def test_equal_encoders_are_fitted_once_on_equal_rows() -> None:
    view = make_view([1.0, 2.0, None], [1.0, 2.0, None])
    before, encoders = Pair.fitted, [Pair() for _ in range(5)]
    for encoder, rows, seed in zip(encoders, ([0, 1], [0, 1], [0, 1, 2], [0], [0, 1]), (0, 0, 0, 0, 1), strict=True):
        fit_encoders({"pair": encoder}, view, np.array(rows), seed)
    assert Pair.fitted - before == 4
    assert [encoder.seen for encoder in encoders] == [2, 2, 2, 1, 2]
    assert encoders[0].drawn == encoders[1].drawn != encoders[4].drawn
    assert not encoders[0].training


def test_states_of_encoders_travel_together() -> None:
    view, one, two = make_view([1.0], [2.0], ["a"]), Pair(), Words()
    fit_encoders({"pair": one, "note": two}, view, np.array([0]), 0)
    state = encoders_state({"pair": one, "note": two})
    assert state.json == {"pair": {"seen": 1, "drawn": one.drawn}, "note": {}}
    assert list(state.arrays) == ["pair/seen"]
    other = Pair().train()
    restore_encoders({"pair": other}, state)
    assert (other.seen, other.training) == (1, False)


def test_part_takes_what_is_below_a_name() -> None:
    one, two = np.zeros(1), np.ones(1)
    assert part({"a/x": one, "a/b/y": two, "ab/x": two, "a": two}, "a") == {"x": one, "b/y": two}


def test_encoders_that_learn_by_gradient_are_refused() -> None:
    trained = Words()
    trained.frozen = False
    with pytest.raises(ConsilienceError, match="the encoders of note learn by gradient"):
        Features({"note": trained, "pair": Pair()})


# From a file


def state_of() -> State:
    view = make_view([0.0, 2.0, None], [1.0, 1.0, None], ["a b", "ccc", "d"])
    return fitted(view, 0, 1, 2, pair=Pair(), note=Words()).state()


def test_a_state_comes_back_whole() -> None:
    view = make_view([0.0, 2.0, None], [1.0, 1.0, None], ["a b", "ccc", "d"])
    features = fitted(view, 0, 1, 2, pair=Pair(), note=Words())
    again = Features({"pair": Pair(), "note": Words()})
    again.restore(features.state())
    assert again.width == features.width
    assert matrix(again, view, 0, 1, 2) == matrix(features, view, 0, 1, 2)


@pytest.mark.parametrize(
    ("json", "arrays"),
    [
        ({}, {"mean/pair": np.zeros(3)}),
        ({}, {"mean/pair": np.array([0.0, np.nan])}),
        ({}, {"mean/note": np.zeros(1)}),
        ({"scale": {"pair": 1.0}}, {}),
        ({"scale": {"pair": 1.0, "note": float("inf")}}, {}),
        ({"scale": {"pair": 1.0, "note": "1"}}, {}),
        ({"scale": {"pair": 1.0, "note": None}}, {}),
        ({"gaps": {"pair": True}}, {}),
        ({"gaps": {"pair": True, "note": 1}}, {}),
    ],
)
def test_a_damaged_state_is_an_error(json: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    state = state_of()
    with pytest.raises(ConsilienceError, match="damaged"):
        Features({"pair": Pair(), "note": Words()}).restore(State({**state.json, **json}, {**state.arrays, **arrays}))


def test_a_state_without_a_mean_is_an_error() -> None:
    state = state_of()
    with pytest.raises(ConsilienceError, match="the scaling of note is damaged"):
        Features({"pair": Pair(), "note": Words()}).restore(
            State(state.json, {key: value for key, value in state.arrays.items() if key != "mean/note"})
        )
