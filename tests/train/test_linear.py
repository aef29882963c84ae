"""Regularised linear models against closed forms, scikit-learn and repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from consilience.errors import ConsilienceError
from consilience.tasks.base import Task
from consilience.tasks.classification import Classification
from consilience.tasks.regression import Regression
from consilience.train.linear import STRENGTHS, Linear, checked, choose_linear, fit_linear

Part = tuple[np.ndarray, np.ndarray, np.ndarray]

NEAR = 5e-3
"""The solver stops early, where the loss no longer changes: weights of about 1 are right to the second digit."""


def regression(rows: int = 80, features: int = 5, seed: int = 0) -> tuple[Task, Part]:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, features))
    target = matrix @ rng.normal(size=features) + rng.normal(size=rows) + 3
    task = Regression(config=Regression.Config())
    task.fit(target.tolist())
    return task, (matrix, task.encode(target.tolist()), rng.uniform(0.2, 2.0, size=rows))


def classification(classes: int, rows: int = 120, features: int = 4, seed: int = 0) -> tuple[Task, Part]:
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    matrix = rng.normal(size=(rows, features)) + rng.normal(size=(classes, features))[labels]
    task = Classification(config=Classification.Config())
    task.fit(labels.tolist())
    return task, (matrix, task.encode(labels.tolist()), rng.uniform(0.2, 2.0, size=rows))


def loss(task: Task, model: Linear, part: Part) -> float:
    raw, encoded, weight = torch.from_numpy(model.raw(part[0])), torch.from_numpy(part[1]), torch.from_numpy(part[2])
    return float(task.loss(raw, encoded, weight))


def test_raw_by_hand() -> None:
    model = Linear(np.array([[1.0, 0.0], [2.0, -1.0]]), np.array([0.5, 0.0]))
    assert model.raw(np.array([[1.0, 1.0], [0.0, 3.0]])).tolist() == [[3.5, -1.0], [6.5, -3.0]]


@pytest.mark.parametrize("strength", [10.0, 1.0, 0.01])
def test_ridge_regression_solves_the_normal_equations(strength: float) -> None:
    task, (features, encoded, weight) = regression()
    model = fit_linear(features, encoded, weight, task, strength)
    # d/dw of sum(share * (xw + b - y)^2) + strength / 2 * |w|^2; the bias is not penalised.
    share = weight / weight.sum()
    both = np.column_stack([features, np.ones(len(features))])
    penalty = np.diag([strength] * features.shape[1] + [0.0])
    solution = np.linalg.solve(2 * both.T @ (share[:, None] * both) + penalty, 2 * both.T @ (share * encoded))
    assert np.allclose(model.weights[:, 0], solution[:-1], atol=NEAR)
    assert np.allclose(model.bias, solution[-1], atol=NEAR)
    exact = Linear(solution[:-1, None], solution[-1:])
    penalised = [loss(task, it, (features, encoded, weight)) + strength / 2 * (it.weights**2).sum() for it in (model, exact)]
    assert 0 <= penalised[0] - penalised[1] < 1e-5


def test_ridge_regression_of_one_feature_by_hand() -> None:
    task = Regression(config=Regression.Config())
    task.fit([0, 2])  # encoded -1, 1
    model = fit_linear(np.array([[-1.0], [1.0]]), task.encode([0, 2]), np.ones(2), task, 2.0)
    # Mean square (w - 1)^2 + w^2 is least at w = 1 / 2.
    assert model.weights[0, 0] == pytest.approx(0.5, abs=NEAR)
    assert model.bias[0] == pytest.approx(0.0, abs=NEAR)


@pytest.mark.parametrize("strength", [1.0, 0.1, 0.003])
def test_logistic_regression_of_three_classes_agrees_with_scikit_learn(strength: float) -> None:
    task, (features, labels, weight) = classification(3)
    model = fit_linear(features, labels, weight, task, strength)
    # scikit-learn adds |w|^2 / 2 to C times the sum of the losses; here the strength stands beside their mean.
    other = LogisticRegression(C=1 / (strength * weight.sum()), tol=1e-10, max_iter=10_000).fit(features, labels, weight)
    # Softmax does not see a common shift of the biases; the penalty fixes that of the weights.
    assert np.allclose(model.weights.T, other.coef_, atol=NEAR)
    assert np.allclose(model.bias - model.bias.mean(), other.intercept_ - other.intercept_.mean(), atol=NEAR)
    assert np.allclose(np.exp(task.scores(model.raw(features))), other.predict_proba(features), atol=NEAR)


def test_logistic_regression_of_two_classes_agrees_with_scikit_learn() -> None:
    task, (features, labels, weight) = classification(2)
    strength = 0.05
    model = fit_linear(features, labels, weight, task, strength)
    # Two opposite weight vectors of w / 2 are penalised by w^2 / 4 together, half of what one vector w costs.
    other = LogisticRegression(C=2 / (strength * weight.sum()), tol=1e-10, max_iter=10_000).fit(features, labels, weight)
    assert np.allclose(model.weights[:, 0], -model.weights[:, 1], atol=1e-9)
    assert np.allclose(model.weights[:, 1] - model.weights[:, 0], other.coef_[0], atol=NEAR)
    assert np.allclose(np.exp(task.scores(model.raw(features))), other.predict_proba(features), atol=NEAR)


@pytest.mark.parametrize("made", [regression, lambda: classification(3)])
def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(made) -> None:
    task, (features, encoded, _) = made()
    weight = np.array([2.0, 1.0, 0.0, 1.0] * (len(encoded) // 4))
    rows = np.repeat(np.arange(len(encoded)), weight.astype(int))
    weighed = fit_linear(features, encoded, weight, task, 0.1)
    repeated = fit_linear(features[rows], encoded[rows], np.ones(len(rows)), task, 0.1)
    assert np.allclose(weighed.weights, repeated.weights, atol=1e-8)
    assert np.allclose(weighed.bias, repeated.bias, atol=1e-8)


@pytest.mark.parametrize("made", [regression, lambda: classification(3)])
def test_the_scale_of_the_weights_does_not_matter(made) -> None:
    task, (features, encoded, weight) = made()
    one, other = (fit_linear(features, encoded, factor * weight, task, 0.1) for factor in (1.0, 1000.0))
    assert np.allclose(one.weights, other.weights, atol=1e-8)


@pytest.mark.parametrize("made", [regression, lambda: classification(3)])
def test_where_it_starts_only_saves_time(made) -> None:
    task, part = made()
    cold = fit_linear(*part, task, 0.01)
    start = fit_linear(*part, task, 1.0)
    kept = start.weights.copy()
    warm = fit_linear(*part, task, 0.01, start)
    assert np.allclose(cold.weights, warm.weights, atol=4 * NEAR)
    assert loss(task, cold, part) == pytest.approx(loss(task, warm, part), abs=1e-3)
    assert np.array_equal(start.weights, kept), "the start was changed"


def test_the_same_rows_give_the_same_bits() -> None:
    task, part = classification(3)
    one, other = fit_linear(*part, task, 0.01), fit_linear(*part, task, 0.01)
    assert np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.bias, other.bias)


def test_without_features_the_bias_is_the_frequency() -> None:
    task = Classification(config=Classification.Config())
    task.fit(["a", "b", "b", "b"])
    model = fit_linear(np.zeros((4, 0)), task.encode(["a", "b", "b", "b"]), np.ones(4), task, 1.0)
    assert np.allclose(np.exp(task.scores(model.raw(np.zeros((1, 0))))), [[0.25, 0.75]], atol=NEAR)


# The strength


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rows", [12, 60])
def test_the_strength_with_the_lowest_loss_is_chosen(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    features, noise = rng.normal(size=(rows + 40, 8)), rng.normal(size=rows + 40)
    labels = (features[:, 0] + noise > 0).astype(int)
    task = Classification(config=Classification.Config())
    task.fit(labels.tolist())
    train, valid = (features[:rows], labels[:rows], np.ones(rows)), (features[rows:], labels[rows:], np.ones(40))
    losses, model = [], None
    for strength in STRENGTHS:
        model = fit_linear(*train, task, strength, model)
        losses.append(loss(task, model, valid))
    chosen, best = choose_linear(train, valid, task)
    place = STRENGTHS.index(chosen)
    assert loss(task, best, valid) == losses[place]
    # Nothing stronger is better, nor the next weaker; those further on need not have been tried.
    assert losses[place] == min(losses[: place + 2])


def test_where_every_strength_is_tried_the_best_of_all_is_chosen() -> None:
    # Without noise and with many rows the weakest fits best, and the losses fall all the way.
    task, _ = regression()
    features = np.random.default_rng(0).normal(size=(100, 3))
    encoded = features @ np.array([1.0, -2.0, 0.5])
    part = (features, encoded, np.ones(100))
    assert choose_linear(part, part, task, [1.0, 0.1, 0.01])[0] == 0.01


def test_only_the_strengths_given_are_tried() -> None:
    task, part = regression()
    strength, model = choose_linear(part, part, task, [0.5])
    assert strength == 0.5
    assert np.array_equal(model.weights, fit_linear(*part, task, 0.5).weights)


def test_rows_of_weight_zero_have_no_say_in_the_strength() -> None:
    task, (features, encoded, weight) = regression(rows=40)
    train = (features[:20], encoded[:20], weight[:20])
    valid = (features[20:], encoded[20:], weight[20:])
    spoiled = (np.concatenate([valid[0], 100 * valid[0]]), np.tile(valid[1], 2), np.concatenate([valid[2], np.zeros(20)]))
    assert choose_linear(train, spoiled, task)[0] == choose_linear(train, valid, task)[0]


def test_a_useless_feature_asks_for_the_strongest() -> None:
    rng = np.random.default_rng(0)
    task = Regression(config=Regression.Config())
    target = rng.normal(size=60)
    task.fit(target.tolist())
    encoded, features = task.encode(target.tolist()), rng.normal(size=(60, 20))
    train, valid = (features[:30], encoded[:30], np.ones(30)), (features[30:], encoded[30:], np.ones(30))
    assert choose_linear(train, valid, task)[0] == STRENGTHS[0]


def test_strengths_are_tried_from_strong_to_weak() -> None:
    assert list(STRENGTHS) == sorted(STRENGTHS, reverse=True)


# From a file


def test_sound_weights_are_taken() -> None:
    weights, bias = np.ones((3, 2)), np.zeros(2)
    model = checked(weights, bias, 3, 2)
    assert model.weights is weights
    assert model.bias is bias


@pytest.mark.parametrize(
    ("weights", "bias", "message"),
    [
        (None, np.zeros(2), "are missing"),
        (np.ones((3, 2)), None, "are missing"),
        (np.ones((2, 3)), np.zeros(2), "are damaged"),
        (np.ones(6), np.zeros(2), "are damaged"),
        (np.ones((3, 2)), np.zeros(3), "are damaged"),
        (np.full((3, 2), np.nan), np.zeros(2), "are damaged"),
        (np.ones((3, 2)), np.array([0.0, np.inf]), "are damaged"),
    ],
)
def test_damaged_weights_are_an_error(weights: np.ndarray | None, bias: np.ndarray | None, message: str) -> None:
    with pytest.raises(ConsilienceError, match=message):
        checked(weights, bias, 3, 2)
