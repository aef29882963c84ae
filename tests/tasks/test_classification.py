"""Classification by hand: labels, probabilities, their mixture, temperature and threshold."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from consilience.errors import ConsilienceError
from consilience.tasks.base import are_labels
from consilience.tasks.classification import Classification
from consilience.types import Cell, State


def fitted(target: list[Cell], **options: Any) -> Classification:
    task = Classification(config=Classification.Config(**options))
    task.fit(target)
    return task


def log(*rows: list[float]) -> np.ndarray:
    return np.log(np.array(rows))


def ones(*probability: float) -> np.ndarray:
    """Probabilities of the positive class -> scores [R, 2]."""
    return log(*([1 - p, p] for p in probability))


# Labels


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c")),
        (["10", "2", "1", "2"], ("1", "2", "10")),
        ([10, 2, -1], (-1, 2, 10)),
        ([1.5, 0.5, 10.0], (0.5, 1.5, 10.0)),
        ([True, False, True], (False, True)),
        (["yes", "no"], ("no", "yes")),
        (["b", "3", "a", "20"], ("3", "20", "a", "b")),
        (["01", "1", "001"], ("001", "01", "1")),
    ],
)
def test_classes_are_in_the_order_of_numbers_then_of_words(target: list[Cell], classes: tuple[Cell, ...]) -> None:
    task = fitted(target)
    assert task.classes == classes
    assert [type(label) for label in task.classes] == [type(label) for label in classes]
    assert task.outputs == len(classes)
    assert task.decode(np.log(np.eye(len(classes)) * 0.9 + 0.01)) == list(classes)


@pytest.mark.parametrize("spelled", [["0", "1", "2"], [0, 1, 2], [0.0, 1.0, 2.0], ["0.0", "1.0", "2.0"], [" 0", "1 ", "2"]])
@pytest.mark.parametrize("trained", [["0", "1", "2"], [0, 1, 2], [0.0, 1.0, 2.0], ["0.0", "1.0", "2.0"]])
def test_a_label_is_one_class_however_it_is_spelled(trained: list[Cell], spelled: list[Cell]) -> None:
    assert fitted(trained).encode(spelled).tolist() == [0, 1, 2]


def test_labels_that_only_look_alike_are_different_classes() -> None:
    assert fitted(["00123", "123", "1.50", "1.5", "Yes", "yes"]).outputs == 6


def test_encoding_is_the_place_among_the_classes() -> None:
    encoded = fitted(["b", "a", "c"]).encode(["c", "a", "a", "b"])
    assert encoded.tolist() == [2, 0, 0, 1]
    assert encoded.dtype == np.int64


def test_labels_without_training_rows_are_an_error_with_the_nearest() -> None:
    task = fitted(["walk", "run", "sit"])
    with pytest.raises(ConsilienceError) as caught:
        task.encode(["walk", "rnu", None, "fly", "fly"])
    assert str(caught.value) == (
        "4 of 5 target cells hold labels without training rows: 'None', 'fly', 'rnu'\n"
        "  expected: one of the 3 classes of the training rows\n"
        "  do: choose one of: run, sit, walk"
    )
    with pytest.raises(ConsilienceError, match="did you mean 'walk'"):
        task.encode(["Walk"])


@pytest.mark.parametrize("target", [["a", "a"], [1, 1.0, "1"], []])
def test_one_class_cannot_be_learned(target: list[Cell]) -> None:
    with pytest.raises(ConsilienceError, match="one class only in the training rows"):
        fitted(target)


# The positive class


@pytest.mark.parametrize(
    ("target", "positive", "classes"),
    [
        (["no", "yes"], "no", ("yes", "no")),
        (["no", "yes"], "yes", ("no", "yes")),
        ([0, 1], "0", (1, 0)),
        ([0.0, 1.0], "0.0", (1.0, 0.0)),
        ([False, True], "False", (True, False)),
    ],
)
def test_the_positive_class_is_the_last(target: list[Cell], positive: str, classes: tuple[Cell, ...]) -> None:
    assert fitted(target, positive=positive).classes == classes


@pytest.mark.parametrize(
    ("target", "positive", "message"),
    [
        (["no", "yes"], "yess", r"'yess', no label of the target[\s\S]*did you mean 'yes'"),
        (["a", "b", "c"], "a", "the target has 3 classes"),
    ],
)
def test_a_positive_class_that_cannot_be_is_an_error(target: list[Cell], positive: str, message: str) -> None:
    with pytest.raises(ConsilienceError, match=message):
        fitted(target, positive=positive)


# Detection


@pytest.mark.parametrize(
    ("target", "confidence"),
    [
        (["a", "b", "c"], 0.9),
        (["1", "2", "x"], 0.9),
        ([True, False, True], 0.9),
        ([0, 1, 1, 0], 0.9),
        (["3", "1", "2", "3"], 0.9),
        ([*range(20), 0], 0.9),
        ([*range(21), 0], 0.2),
        ([*range(40)] * 50, 0.9),  # 40 of 2000 rows are 2%
        ([*range(41)] * 48, 0.2),
        ([0, 1, 2], 0.2),  # each row a number of its own
        ([0.5, 1.0, 0.5], 0.2),
    ],
)
def test_how_sure_it_is_of_a_target(target: list[Cell], confidence: float) -> None:
    claim = Classification.detect(target)
    assert claim is not None
    assert claim.confidence == confidence
    assert claim.reason


# Weights and loss


def test_balanced_classes_weigh_the_same_in_total_by_hand() -> None:
    target: list[Cell] = ["a"] * 6 + ["b"] * 3 + ["c"]
    task = fitted(target, class_weight="balanced")
    weight = task.balance(task.encode(target))
    # 1 / (3 classes * share): 10 / 18, 10 / 9, 10 / 3
    assert np.allclose(weight[[0, 6, 9]], [10 / 18, 10 / 9, 10 / 3])
    assert weight.mean() == pytest.approx(1.0)
    assert np.allclose(np.bincount(task.encode(target), weight), 10 / 3)
    assert fitted(target).balance(np.array([0, 2])).tolist() == [1.0, 1.0]


def test_loss_is_the_weighted_mean_of_the_surprise() -> None:
    task = fitted(["a", "b"])
    raw = torch.tensor([[0.0, 0.0], [0.0, math.log(3)], [5.0, 0.0]], dtype=torch.float64)
    loss = task.loss(raw, torch.tensor([0, 1, 1]), torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64))
    assert loss.item() == pytest.approx((math.log(2) + 3 * -math.log(3 / 4)) / 4)


def test_strata_are_the_classes_and_need_no_fit() -> None:
    task = Classification(config=Classification.Config())
    strata = task.strata(["b", "a", "b", 1, "1", ""])
    assert strata is not None
    assert strata[0] == strata[2] != strata[1]
    assert strata[3] == strata[4]
    assert len(set(strata.tolist())) == 4


# Scores


def test_scores_are_log_probabilities() -> None:
    task = fitted(["a", "b", "c"])
    scores = task.scores(np.array([[0.0, math.log(2), math.log(5)], [1000.0, 0.0, -1000.0]]))
    assert np.allclose(np.exp(scores[0]), [1 / 8, 2 / 8, 5 / 8])
    assert scores[1].tolist() == [0.0, -1000.0, -2000.0]


def test_the_prior_is_the_frequency_of_the_training_rows() -> None:
    assert np.allclose(np.exp(fitted(["a", "b", "b", "b"]).prior()), [0.25, 0.75])


def test_probabilities_are_mixed_per_row_by_hand() -> None:
    task = fitted(["a", "b"])
    mixed = task.combine([ones(0.2, 0.2, 0.2), ones(0.8, 0.8, 0.8)], np.array([[0.5, 1.0, 0.25], [0.5, 0.0, 0.75]]))
    assert np.allclose(np.exp(mixed), [[0.5, 0.5], [0.8, 0.2], [0.35, 0.65]])


def test_a_certain_predictor_of_no_weight_says_nothing() -> None:
    certain = np.array([[0.0, -np.inf]])
    task = fitted(["a", "b"])
    assert np.allclose(np.exp(task.combine([certain, ones(0.3)], np.array([[0.0], [1.0]]))), [[0.7, 0.3]])
    assert np.isfinite(task.combine([certain, certain], np.array([[0.5], [0.5]]))).all()


# Temperature


@pytest.mark.parametrize("factor", [3.0, 1.0, 0.4])
def test_calibration_finds_by_how_much_scores_were_made_too_sharp(factor: float) -> None:
    # Every row stands there once with each label, weighted by its true probability: then the factor is the optimum exactly.
    task = fitted(["a", "b", "c"])
    logits = np.random.default_rng(0).normal(size=(60, 3))
    truth = np.exp(task.scores(logits))
    scores = np.repeat(task.scores(factor * logits), 3, axis=0)
    labels = np.tile(np.arange(3), 60)
    temperature = task.calibrate(scores, labels, truth.reshape(-1) * 1e7)  # so many rows that the prior says nothing
    assert temperature == pytest.approx(factor, rel=1e-5)
    assert np.allclose(np.exp(task.temper(scores, temperature))[::3], truth, atol=1e-5)


def test_calibration_stays_within_its_bounds() -> None:
    task = fitted(["a", "b"])
    right, wrong = np.array([1, 1, 1]), np.array([0, 0, 0])
    scores, weight = ones(0.9, 0.8, 0.7), np.full(3, 1e9)
    assert task.calibrate(scores, right, weight) == pytest.approx(math.exp(-2), rel=1e-5)
    assert task.calibrate(scores, wrong, weight) == pytest.approx(math.exp(2), rel=1e-5)


def test_few_rows_without_an_error_do_not_ask_for_certainty() -> None:
    # d/dt of -log sigmoid(e^-t log 9) + 2 t^2 is zero where e^-t log 9 / (1 + 9^(e^-t)) = -4 t: t = -0.0520.
    task = fitted(["a", "b"])
    assert math.log(task.calibrate(ones(0.9), np.array([1]), np.ones(1))) == pytest.approx(-0.0520, abs=2e-4)


def test_tempering_by_hand() -> None:
    task = fitted(["a", "b"])
    assert np.allclose(np.exp(task.temper(ones(0.9), 2.0)), [[0.25, 0.75]])  # odds 9, their root is 3
    scores = ones(0.9)
    assert task.temper(scores, 1.0) is scores


# Threshold


def test_the_threshold_decides_two_classes() -> None:
    task = fitted(["no", "yes"])
    assert task.decode(ones(0.49, 0.51, 0.9)) == ["no", "yes", "yes"]
    task.threshold = 0.6
    assert task.decode(ones(0.49, 0.51, 0.9)) == ["no", "no", "yes"]
    assert task.measure(ones(0.55, 0.9), np.array([0, 1]))(np.ones(2))["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [
        # By probability the labels are 0 1 0 1 1.
        ("f1", 0.15),  # one false alarm, none missed: 6 / 7; at 0.35 none false, one missed: 4 / 5
        ("accuracy", 0.35),  # 4 / 5, as at 0.15, which is further from a half
        ("balanced_accuracy", 0.35),  # (1 + 2 / 3) / 2, against (1 / 2 + 1) / 2 at 0.15
    ],
)
def test_the_threshold_is_tuned_by_hand(metric: str, threshold: float) -> None:
    task = fitted(["no", "yes"])
    task.tune(ones(0.1, 0.2, 0.3, 0.4, 0.45), np.array([0, 1, 0, 1, 1]), np.ones(5), metric)
    assert task.threshold == pytest.approx(threshold)


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_wins() -> None:
    task = fitted(["no", "yes"])
    task.tune(ones(0.1, 0.2, 0.8, 0.9), np.array([0, 0, 1, 1]), np.ones(4), "accuracy")
    assert task.threshold == 0.5


def test_rows_weigh_in_the_threshold() -> None:
    task = fitted(["no", "yes"])
    scores, labels = ones(0.1, 0.2, 0.3), np.array([0, 1, 0])
    task.tune(scores, labels, np.array([1.0, 5.0, 1.0]), "accuracy")
    assert task.threshold == pytest.approx(0.15)
    task.tune(scores, labels, np.array([1.0, 1.0, 5.0]), "accuracy")
    assert task.threshold == 0.5


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "pr_auc", "ece"])
def test_metrics_of_probabilities_leave_the_threshold(metric: str) -> None:
    task = fitted(["no", "yes"])
    task.tune(ones(0.1, 0.2, 0.3), np.array([0, 1, 1]), np.ones(3), metric)
    assert task.threshold == 0.5


def test_three_classes_have_no_threshold() -> None:
    task = fitted(["a", "b", "c"])
    task.tune(log([0.2, 0.3, 0.5], [0.5, 0.3, 0.2]), np.array([0, 1]), np.ones(2), "accuracy")
    assert task.threshold == 0.5


@pytest.mark.parametrize("probabilities", [(0.1, 0.2, 0.3), (0.3, 0.3, 0.3), (0.7, 0.8, 0.9)])
def test_a_threshold_is_found_where_no_row_is_positive(probabilities: tuple[float, ...]) -> None:
    task = fitted(["no", "yes"])
    task.tune(ones(*probabilities), np.zeros(3, dtype=np.int64), np.ones(3), "f1")
    assert 0 <= task.threshold <= 1


def test_many_rows_are_tuned_on_quantiles() -> None:
    task = fitted(["no", "yes"])
    probability = np.linspace(0.001, 0.999, 1001)
    task.tune(ones(*probability), (probability > 0.3).astype(int), np.ones(1001), "accuracy")
    assert task.threshold == pytest.approx(0.3, abs=0.005)


# What is shown


def test_columns_are_named_by_label() -> None:
    columns = fitted([2.0, 1.0, 10.0]).columns(log([0.2, 0.3, 0.5]))
    assert {name: values.tolist() for name, values in columns.items()} == {
        "probability_1": pytest.approx([0.2]),
        "probability_2": pytest.approx([0.3]),
        "probability_10": pytest.approx([0.5]),
    }


def test_description() -> None:
    assert fitted(["no", "yes"]).describe() == "classification into 2 classes (no, yes); positive class yes"
    assert fitted(list("abcdefgh")).describe() == "classification into 8 classes (a, b, c, d, e, f, ...)"


def test_the_metric_by_default_depends_on_the_number_of_classes() -> None:
    assert fitted(["a", "b"]).default_metric == "roc_auc"
    assert fitted(["a", "b", "c"]).default_metric == "accuracy"


def test_the_head_puts_out_one_number_per_class() -> None:
    assert fitted(["a", "b", "c"]).head(5)(torch.zeros(2, 5)).shape == (2, 3)


def test_measure_gives_every_metric_of_the_task() -> None:
    task = fitted(["a", "b"])
    values = task.measure(ones(0.2, 0.6, 0.7), np.array([0, 1, 0]))(np.ones(3))
    assert set(values) == set(Classification.metrics)
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert task.proper in task.metrics


# State


@pytest.mark.parametrize("target", [["no", "yes", "yes"], [1, 10, 2, 2], [0.5, 1.5], [True, False], ["naïve", "b", "日本"]])
def test_state_comes_back_through_json(target: list[Cell]) -> None:
    task = fitted(target)
    task.threshold = 0.3
    again = Classification(config=task.options)
    again.restore(State(json.loads(json.dumps(dict(task.state().json)))))
    assert again.classes == task.classes
    assert [type(label) for label in again.classes] == [type(label) for label in task.classes]
    assert (again.outputs, again.threshold) == (task.outputs, 0.3)
    assert again.prior().tolist() == task.prior().tolist()
    assert again.encode(target).tolist() == task.encode(target).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": None},
        {"classes": "ab"},
        {"classes": ["a"]},
        {"classes": ["a", "b", "c"]},
        {"classes": ["a", None]},
        {"classes": ["a", ["b"]]},
        {"classes": [1, "1"]},
        {"frequency": None},
        {"frequency": "half"},
        {"frequency": [0.5]},
        {"frequency": [1.0, 0.0]},
        {"frequency": [0.5, -0.5]},
        {"frequency": [0.5, 0.6]},
        {"frequency": [0.5, "0.5"]},
        {"frequency": [0.5, None]},
        {"frequency": [0.5, float("nan")]},
        {"frequency": [0.5, float("inf")]},
        {"frequency": [[0.5], [0.5]]},
        {"threshold": None},
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"threshold": "half"},
    ],
)
def test_a_damaged_state_is_an_error(change: dict[str, Any]) -> None:
    state = {"classes": ["a", "b"], "threshold": 0.5, "frequency": [0.5, 0.5]}
    task = Classification(config=Classification.Config())
    task.restore(State(state))
    with pytest.raises(ConsilienceError, match="the task of the run is damaged"):
        task.restore(State(state | change))
    with pytest.raises(ConsilienceError, match="the task of the run is damaged"):
        task.restore(State({key: value for key, value in state.items() if key not in change}))


@pytest.mark.parametrize(
    "classes", [["a", 1], [1, 1.5], [True, 2], [1, 2**63], ["a", "\ud800"], ["a"], ["a", "a"], "ab", [["a"], ["b"]]]
)
def test_classes_that_no_column_can_hold_are_no_classes(classes: object) -> None:
    assert not are_labels(classes, 2)
    assert are_labels(["a", "b"], 2) and are_labels([1.5, 2.0], 2) and are_labels([False, True], 2)
