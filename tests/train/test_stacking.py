"""Out-of-fold scores: no row's own target, nor its group's, is in what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from consilience.data.split import kfold
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.tabular import Record
from consilience.tasks.base import Task
from consilience.tasks.classification import Classification
from consilience.tasks.multilabel import MultiLabel
from consilience.tasks.regression import Regression
from consilience.train import stacking
from consilience.train.features import Features
from consilience.train.stacking import Rows, Scorers, labelled
from consilience.types import ColumnRole, Input, Limits, Sample, Schema, State, Tokens

X = Input("x", "tabular", ("x",), ("number",))
N = 40


class Number(Encoder):
    """One token, the number."""

    modality = "tabular"
    width, length, frozen = 1, 1, True

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Record)
        return {"x": torch.tensor([sample.values["x"]], dtype=torch.float64)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["x"].unsqueeze(1), torch.ones(len(batch["x"]), 1, dtype=torch.bool))


def numbers(rows: int = N) -> list[float | None]:
    return np.random.default_rng(0).normal(size=rows).round(3).tolist()


def make_view(x: list[float | None], y: list[Any], group: list[Any] | None = None, weight: list[float] | None = None) -> View:
    table = pa.table({"x": pa.array(x, pa.float64()), "y": y, "g": group or [None] * len(x), "w": weight or [1.0] * len(x)})
    roles = (ColumnRole("g", "group", "named"),) if group else ()
    return View(read_table(table), Schema("y", (X,), roles), Store(), Limits(), "w" if weight else None)


def scorers(**strengths: float) -> Scorers:
    return Scorers({"x": Features({"x": Number(config=Encoder.Config(), input=X)})}, strengths)


def fit(
    view: View, task: Task, rows: int = N, folds: int = 5, valid: int = 0, **strengths: float
) -> tuple[Scorers, np.ndarray]:
    """Scorers fitted on the first `rows` rows, with the next `valid` ones to choose by, and the out-of-fold scores."""
    task.fit(view.target(np.arange(rows)))
    train = labelled(view, np.arange(rows), task, balance=True)
    held_out = labelled(view, np.arange(rows, rows + valid), task, balance=False) if valid else None
    made = scorers(**strengths)
    return made, made.fit(view, train, held_out, task, folds, 0)["x"]


def regression() -> Task:
    return Regression(config=Regression.Config())


def classification(**options: Any) -> Task:
    return Classification(config=Classification.Config(**options))


# Rows


def test_rows_carry_target_and_weight() -> None:
    view = make_view([1.0] * 4, ["a", "b", "b", "b"], weight=[1.0, 2.0, 0.5, 1.0])
    task = classification(class_weight="balanced")
    task.fit(view.target(np.arange(4)))
    rows = np.array([1, 0])
    plain, balanced = (labelled(view, rows, task, balance=balance) for balance in (False, True))
    assert plain.rows.tolist() == [1, 0]
    assert plain.encoded.tolist() == [1, 0]
    assert plain.weight.tolist() == [2.0, 1.0]
    assert balanced.weight == pytest.approx([2 / (2 * 0.75), 1 / (2 * 0.25)])


# Out of fold


def test_a_row_s_own_target_is_not_in_its_score() -> None:
    x = numbers()
    y = [3 * (value or 0) for value in x]
    _, scores = fit(make_view(x, y), regression(), x=0.01)
    task = regression()
    task.fit(y)  # so that both fits see one scale
    for row in (0, 17):
        changed = list(y)
        changed[row] = 50.0
        view = make_view(x, changed)
        encoded = (np.array(changed) - np.mean(y)) / np.std(y)
        other = scorers(x=0.01).fit(view, Rows(np.arange(N), encoded, np.ones(N)), None, task, 5, 0)["x"]
        same = (other == scores)[:, 0]
        assert same[row]
        assert not same.all()


def test_a_score_out_of_fold_is_not_that_of_the_model_of_all_rows() -> None:
    x = numbers()
    made, scores = fit(make_view(x, [3 * (value or 0) for value in x]), regression(), x=0.01)
    view = make_view(x, [0.0] * N)
    whole = made.scores(view, np.arange(N), view.present(np.arange(N)))["x"]
    assert not (whole == scores).any()
    assert np.corrcoef(whole[:, 0], scores[:, 0])[0, 1] > 0.99


def test_rows_of_a_group_are_left_out_together() -> None:
    x, group = numbers(), [f"g{row // 4}" for row in range(N)]
    y = [3 * (value or 0) for value in x]
    task = regression()
    task.fit(y)

    def scores(changed: list[float]) -> np.ndarray:
        encoded = (np.array(changed) - np.mean(y)) / np.std(y)
        return scorers(x=0.01).fit(make_view(x, changed, group), Rows(np.arange(N), encoded, np.ones(N)), None, task, 5, 0)["x"]

    base, other = scores(y), scores([50.0, *y[1:]])
    assert np.array_equal(base[:4], other[:4])
    assert not np.array_equal(base[4:], other[4:])


@pytest.mark.parametrize(("groups", "learned"), [(1, False), (2, True), (3, True), (9, True)])
def test_fewer_groups_than_folds_are_fewer_folds(groups: int, learned: bool) -> None:
    x = numbers()
    view = make_view(x, [3 * (value or 0) for value in x], [f"g{row % groups}" for row in range(N)])
    made, scores = fit(view, regression(), folds=5, x=0.01)
    assert np.isfinite(scores).all() == learned
    assert bool(made.models["x"].weights.any()) == learned


def test_missing_rows_have_no_score() -> None:
    x = numbers()
    x[3] = x[30] = None
    made, scores = fit(make_view(x, [float(row) for row in range(N)]), regression(), x=0.01)
    assert np.flatnonzero(np.isnan(scores[:, 0])).tolist() == [3, 30]
    view = make_view(x, [0.0] * N)
    rows = np.array([3, 4, 5])
    present = {"x": np.array([False, True, False])}
    found = made.scores(view, rows, present)["x"]
    assert np.isnan(found[:, 0]).tolist() == [True, False, True]


@pytest.mark.parametrize("there", [0, 4])
def test_an_input_that_is_hardly_ever_there_says_nothing(there: int) -> None:
    x = numbers()[:there] + [None] * (N - there)
    made, scores = fit(make_view(x, ["a", "b"] * (N // 2)), classification(), folds=5)
    assert scores.shape == (N, 2)
    assert np.isnan(scores).all()
    assert not made.models["x"].weights.any()
    view = make_view([1.0], ["a"])
    assert made.scores(view, np.array([0]), view.present(np.array([0])))["x"].tolist() == [[0.0, 0.0]]


def test_an_input_that_no_validation_row_has_is_still_scored() -> None:
    x = [*numbers(), *[None] * 10]
    made, scores = fit(make_view(x, ["a", "b"] * 25), classification(), valid=10)
    assert np.isfinite(scores).all()
    assert made.strengths["x"] > 0


def test_scores_of_classes_count_up_to_a_constant_and_are_centred() -> None:
    x = numbers()
    view = make_view(x, ["abc"[row % 3] for row in range(N)])
    made, scores = fit(view, classification(), x=0.01)
    assert np.allclose(scores.sum(1), 0)
    assert np.allclose(made.scores(view, np.arange(N), view.present(np.arange(N)))["x"].sum(1), 0)
    made, scores = fit(make_view(x, [100.0 + (value or 0) for value in x]), regression(), x=0.01)
    assert abs(scores).max() > 1  # a single quantity stays as it is


# Shared and settled


def test_who_asks_for_the_same_scores_shares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    original: Callable[..., Any] = stacking.Scorers._fit
    monkeypatch.setattr(stacking.Scorers, "_fit", lambda self, *args: (fits.append(1), original(self, *args))[1])
    x = numbers(60)
    view, task = make_view(x, ["a", "b"] * 30), classification()
    one = fit(view, task, valid=20)
    other = fit(view, task, valid=20)
    assert len(fits) == 1
    assert one[0].strengths == other[0].strengths
    assert np.array_equal(one[1], other[1])
    for change in ({"folds": 4}, {"rows": 30}, {"x": 0.5}, {"valid": 10}):
        fit(view, task, **{"valid": 20, **change})  # type: ignore[arg-type]
    assert len(fits) == 5


def test_a_settled_strength_needs_no_validation_rows_and_says_the_same() -> None:
    x = numbers(60)
    y = ["a", "b"] * 30
    chosen, scores = fit(make_view(x, y), classification(), valid=20)
    settled, again = fit(make_view(x, y), classification(), x=chosen.strengths["x"])
    assert np.allclose(scores, again)
    assert settled.strengths == chosen.strengths
    with pytest.raises(AssertionError, match="validation rows to choose it"):
        fit(make_view(x, y), classification())


# What is said


def test_classes_are_said_up_to_a_constant_a_row_and_labels_beyond_how_frequent_they_are() -> None:
    x = numbers()
    labels = [[name for name, edge in (("a", -0.5), ("b", 1.0)) if (value or 0) > edge] for value in x]
    view = make_view(x, labels)
    made, scores = fit(view, MultiLabel(config=MultiLabel.Config()), x=0.01)
    rows, present = np.arange(N), view.present(np.arange(N))
    said, model = made.scores(view, rows, present)["x"], made.models["x"]
    assert np.allclose(said, model.raw(made.features["x"].matrix(view, rows, present)) - model.bias)
    assert abs(model.bias).min() > 0.1
    assert np.allclose(said.mean(0), 0)
    assert not np.allclose(said.sum(1), 0)
    assert abs(scores.mean(0)).max() < 0.2 * abs(model.bias).max()
    classes = ["a" if row else "b" for row in labels]
    made, scores = fit(make_view(x, classes), classification(), x=0.01)
    assert np.allclose(scores.sum(1), 0)


def test_folds_keep_the_strata_of_the_task_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(stacking, "kfold", lambda *given: seen.append(given[2]) or kfold(*given))
    labels = [[["a"], ["a", "b"], []][row % 3] for row in range(N)]
    fit(make_view(numbers(), labels), MultiLabel(config=MultiLabel.Config()), x=0.01)
    fit(make_view(numbers(), [float(row) for row in range(N)]), regression(), x=0.01)
    assert len(set(seen[0][0::3])) == len(set(seen[0][1::3])) == 1
    assert len(set(seen[0])) == 3
    assert seen[1] is None


# From a file


def test_a_state_comes_back_whole_and_a_damaged_one_is_an_error() -> None:
    x = numbers()
    x[1] = None
    view = make_view(x, ["a", "b"] * (N // 2))
    task = classification()
    made, _ = fit(view, task, x=0.1)
    rows, present = np.arange(N), view.present(np.arange(N))
    again = scorers()
    again.restore(made.state(), task)
    assert np.array_equal(again.scores(view, rows, present)["x"], made.scores(view, rows, present)["x"], equal_nan=True)
    state = made.state()
    for name, array in (
        ("x/weights", np.zeros((9, 2))),
        ("x/bias", np.array([0.0, np.nan])),
        ("x/features/mean/x", np.zeros(2)),
    ):
        with pytest.raises(ConsilienceError, match="damaged"):
            scorers().restore(State(state.json, {**state.arrays, name: array}), task)
    with pytest.raises(ConsilienceError, match="missing"):
        scorers().restore(State(state.json, {key: value for key, value in state.arrays.items() if key != "x/bias"}), task)
