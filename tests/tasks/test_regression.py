"""Regression by hand: units of the target outside, standardised numbers inside."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from consilience.errors import ConsilienceError
from consilience.tasks.base import as_number
from consilience.tasks.regression import Regression
from consilience.types import Cell, State


def fitted(target: list[Cell], **options: Any) -> Regression:
    task = Regression(config=Regression.Config(**options))
    task.fit(target)
    return task


@pytest.mark.parametrize(
    ("cell", "number"),
    [(3, 3.0), ("2.5", 2.5), (" -1e3 ", -1000.0), (True, 1.0), (0, 0.0), (np.float32(0.5), 0.5)],
)
def test_as_number(cell: Cell, number: float) -> None:
    assert as_number(cell) == number


@pytest.mark.parametrize("cell", [None, "", "x", "1,5", "nan", "inf", float("nan"), float("-inf"), [1], "1 2"])
def test_what_is_no_finite_number(cell: Cell) -> None:
    assert math.isnan(as_number(cell))


def test_targets_are_standardised_by_hand() -> None:
    task = fitted(["1", "3", 5, 7.0])  # mean 4, deviation sqrt((9 + 1 + 1 + 9) / 4)
    assert np.allclose(task.encode([4, 4 + math.sqrt(5), "-1"]), [0.0, 1.0, -5 / math.sqrt(5)])
    assert task.encode([1, 3, 5, 7]).std() == pytest.approx(1.0)
    assert task.prior().tolist() == [4.0]
    assert task.outputs == 1


@pytest.mark.parametrize("log", [False, True])
def test_encoding_comes_back_in_units_of_the_target(log: bool) -> None:
    target = [0.0, 1.5, 20.0, 3e3, 4e5]
    task = fitted(list(target), log=log)
    assert np.allclose(task.scores(task.encode(list(target))[:, None])[:, 0], target, rtol=1e-9, atol=1e-9)


def test_log_targets_by_hand() -> None:
    task = fitted([0.0, math.e - 1, math.e**2 - 1], log=True)  # log(1 + target) is 0, 1, 2
    deviation = math.sqrt(2 / 3)
    assert np.allclose(task.encode([math.e**3 - 1]), [2 / deviation])
    assert np.allclose(task.scores(np.array([[-1 / deviation]])), [[0.0]])
    # Of a row about which nothing is known the mean of the target is said, not what the mean of its logarithm stands for.
    assert task.prior()[0] == pytest.approx((math.e - 1 + math.e**2 - 1) / 3)


def test_scores_far_outside_stay_finite() -> None:
    task = fitted([0.0, 1e100], log=True)
    scores = task.scores(np.array([[1e6], [-1e6], [0.0]]))
    assert np.isfinite(scores**2).all()  # as rmse needs it


@pytest.mark.parametrize(
    ("target", "log", "message"),
    [
        (
            [1, 2, None, "x", ""],
            False,
            r"3 of 5 target cells are no finite numbers: None, 'x', ''[\s\S]*task\.kind=classification",
        ),
        ([1, 2, float("inf")], False, "1 of 3 target cells are no finite numbers: inf"),
        ([1, 2, -3, "-0.5"], True, r"2 of 4 target cells are no finite numbers >= 0: -3, '-0\.5'[\s\S]*task\.log=false"),
        ([1, 2, 1e101], False, r"1 of 3 target cells are no finite numbers up to 1e\+100: 1e\+101"),
        ([1, 2, "1e300"], True, r"1 of 3 target cells are no finite numbers >= 0 up to 1e\+100: '1e300'"),
        (["a"] * 9, False, "9 of 9 target cells are no finite numbers: 'a', 'a', 'a', 'a', 'a'\n"),
    ],
)
def test_cells_that_are_no_target_are_listed(target: list[Cell], log: bool, message: str) -> None:
    with pytest.raises(ConsilienceError, match=message):
        fitted(target, log=log)
    task = fitted([1, 2], log=log)
    with pytest.raises(ConsilienceError, match=message):
        task.encode(target)


def test_a_target_that_never_varies_cannot_be_learned() -> None:
    with pytest.raises(ConsilienceError, match="the target is 3 in every training row"):
        fitted([3, "3", 3.0])


def test_a_target_whose_spread_is_lost_in_rounding_never_varies() -> None:
    with pytest.raises(ConsilienceError, match="in every training row"):
        fitted([0.0, 5e-324])


def test_numbers_of_any_size_are_standardised() -> None:
    for size in (1e-90, 1.0, 9e99):
        assert np.allclose(fitted([-size, size]).encode([-size, size]), [-1, 1])


@pytest.mark.parametrize(
    ("target", "confidence"),
    [([1.5, 2.5], 0.5), (["1", "2"], 0.5), (["1", "x"], None), ([1, None], None), (["nan", "1"], None), ([1, 1], 0.5)],
)
def test_how_sure_it_is_of_a_target(target: list[Cell], confidence: float | None) -> None:
    claim = Regression.detect(target)
    assert (claim.confidence if claim else None) == confidence


def test_the_reason_counts_different_values() -> None:
    claim = Regression.detect([1, 1.0, "1", 2])
    assert claim is not None
    assert claim.reason == "numbers with 2 different values"


def test_loss_is_the_weighted_mean_square() -> None:
    raw = torch.tensor([[1.0], [2.0], [9.0]])
    loss = fitted([1, 2]).loss(raw, torch.tensor([0.0, 5.0, 0.0]), torch.tensor([1.0, 3.0, 0.0]))
    assert loss.item() == pytest.approx((1 * 1 + 3 * 9) / 4)


def test_scores_are_averaged_per_row() -> None:
    scores = [np.array([[1.0], [2.0]]), np.array([[5.0], [4.0]])]
    assert fitted([1, 2]).combine(scores, np.array([[0.5, 0.0], [0.5, 1.0]])).tolist() == [[3.0], [4.0]]


def test_there_is_nothing_to_calibrate_or_tune() -> None:
    task, scores, encoded = fitted([1, 2, 3]), np.array([[1.0], [2.0]]), np.array([0.0, 1.0])
    assert task.calibrate(scores, encoded, np.ones(2)) == 1.0
    assert task.temper(scores, 3.0) is scores
    before = task.state().json
    task.tune(scores, encoded, np.ones(2), "rmse")
    assert task.state().json == before
    assert task.balance(encoded).tolist() == [1.0, 1.0]
    assert task.strata([1, 2]) is None


@pytest.mark.parametrize("log", [False, True])
def test_metrics_are_in_units_of_the_target(log: bool) -> None:
    task = fitted([10.0, 20.0, 40.0], log=log)
    values = task.measure(np.array([[12.0], [20.0], [36.0]]), task.encode([10, 20, 40]))(np.ones(3))
    assert set(values) == set(Regression.metrics)
    assert values["mae"] == pytest.approx(2.0)
    assert values["rmse"] == pytest.approx(math.sqrt(20 / 3))
    assert task.default_metric == task.proper == "rmse"


def test_answers_are_plain_numbers() -> None:
    task = fitted([1, 2])
    answers = task.decode(np.array([[1.5], [2.0]]))
    assert answers == [1.5, 2.0]
    assert all(type(answer) is float for answer in answers)
    assert task.columns(np.zeros((2, 1))) == {}
    assert task.describe() == "regression of a number"
    assert fitted([1, 2], log=True).describe() == "regression of a number, on log(1 + target)"
    assert task.head(4)(torch.zeros(3, 4)).shape == (3, 1)


def test_state_comes_back_through_json() -> None:
    task = fitted([1.0, 2.5, 1 / 3], log=True)
    again = Regression(config=task.options)
    again.restore(State(json.loads(json.dumps(dict(task.state().json)))))
    assert (again.mean, again.scale, again.level) == (task.mean, task.scale, task.level)


@pytest.mark.parametrize("key", ["mean", "scale", "level"])
@pytest.mark.parametrize("value", [None, "x", float("nan"), float("inf"), [1.0]])
def test_a_damaged_state_is_an_error(key: str, value: Any) -> None:
    state = {"mean": 0.5, "scale": 2.0, "level": 0.5}
    task = Regression(config=Regression.Config())
    task.restore(State(state))
    for damaged in (state | {key: value}, {name: item for name, item in state.items() if name != key}):
        with pytest.raises(ConsilienceError, match="the task of the run is damaged"):
            task.restore(State(damaged))


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(ConsilienceError, match="a positive scale"):
        Regression(config=Regression.Config()).restore(State({"mean": 0.0, "scale": scale, "level": 0.0}))
