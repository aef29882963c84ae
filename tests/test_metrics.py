"""Metrics against hand-computed numbers, scikit-learn and scipy; the bootstrap against theory and against repeated rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn import metrics as sk

from consilience.metrics import GREATER_IS_BETTER, Estimate, bootstrap, classification, paired_difference, regression

CLASSIFICATION = {"accuracy", "balanced_accuracy", "macro_f1", "f1", "roc_auc", "pr_auc", "log_loss", "ece"}
LABELS = {"micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "hamming_loss"}
REGRESSION = {"mae", "rmse", "mape", "r2", "spearman"}


def log(probabilities) -> np.ndarray:
    return np.log(np.asarray(probabilities, float))


def binary(ones) -> np.ndarray:
    """Probabilities of class 1 -> log-probabilities [R, 2]."""
    ones = np.asarray(ones, float)
    return log(np.stack([1 - ones, ones], axis=1))


def draw(classes: int, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities with many ties (logits are rounded to halves), labels and decisions that are not the argmax."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=rows)
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += 1
    if classes == 2:
        logits[:, 0] = 0  # so that rows tie in the one probability exactly if they tie in the other
    exp = np.exp(np.round(logits * 2) / 2)
    predicted = np.where(rng.random(rows) < 0.2, rng.integers(classes, size=rows), exp.argmax(1))
    return np.log(exp / exp.sum(1, keepdims=True)), labels, predicted


def weights(kind: str, rows: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return {"ones": np.ones(rows), "real": rng.exponential(size=rows), "some zero": rng.integers(0, 3, rows).astype(float)}[
        kind
    ]


def test_binary_by_hand():
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    got = classification(binary([0.1, 0.5, 0.5, 0.9]), labels, predicted)(np.ones(4))
    assert got.keys() == CLASSIFICATION
    assert_allclose(got["accuracy"], 3 / 4)
    assert_allclose(got["balanced_accuracy"], (1 / 2 + 1) / 2)
    assert_allclose(got["f1"], 4 / 5)  # 2 hits, 1 false alarm, none missed
    assert_allclose(got["macro_f1"], (2 / 3 + 4 / 5) / 2)
    assert_allclose(got["roc_auc"], 3.5 / 4)  # of four pairs three are in order and one ties
    assert_allclose(got["pr_auc"], 1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert_allclose(got["log_loss"], -(2 * math.log(0.9) + 2 * math.log(0.5)) / 4)
    # Confidence 0.9, right, twice: |2 - 1.8|. Confidence 0.5, twice, argmax is class 0, right once: |1 - 1|.
    assert_allclose(got["ece"], 0.2 / 4)


def test_three_classes_by_hand():
    probabilities = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.2, 0.3], [0.1, 0.1, 0.8]]
    labels, predicted = np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2])
    got = classification(log(probabilities), labels, predicted)(np.array([1.0, 1.0, 2.0, 4.0]))
    assert_allclose(got["accuracy"], 6 / 8)
    assert_allclose(got["balanced_accuracy"], (1 + 1 / 3 + 1) / 3)
    f1 = [2 * 1 / (1 + 3), 2 * 1 / (3 + 1), 1]
    assert_allclose(got["macro_f1"], sum(f1) / 3)
    assert_allclose(got["f1"], (1 * f1[0] + 3 * f1[1] + 4 * f1[2]) / 8)
    # Class 0: row 0 on top, area 1. Class 1: rows 1 (1), 0 (1), 2 (2), 3 (4): one weighs 1 x 5, two weigh 2 x 4 of 3 x 5.
    # Class 2: row 3 on top.
    assert_allclose(got["roc_auc"], (1 + 13 / 15 + 1) / 3)
    assert_allclose(got["pr_auc"], (1 + (1 * 1 + 2 * 3 / 4) / 3 + 1) / 3)


@pytest.mark.parametrize("kind", ["ones", "real", "some zero"])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classification_agrees_with_scikit_learn(classes: int, kind: str):
    log_probabilities, labels, predicted = draw(classes)
    weight = weights(kind, len(labels))
    got = classification(log_probabilities, labels, predicted)(weight)
    probabilities = np.exp(log_probabilities)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted, sample_weight=weight),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted, sample_weight=weight),
        "macro_f1": sk.f1_score(labels, predicted, average="macro", sample_weight=weight),
        "f1": sk.f1_score(labels, predicted, average="binary" if classes == 2 else "weighted", sample_weight=weight),
        "log_loss": sk.log_loss(labels, probabilities, sample_weight=weight),
    }
    if classes == 2:
        expected["roc_auc"] = sk.roc_auc_score(labels, probabilities[:, 1], sample_weight=weight)
        expected["pr_auc"] = sk.average_precision_score(labels, probabilities[:, 1], sample_weight=weight)
    else:
        each = np.eye(classes)[labels]
        expected["roc_auc"] = sk.roc_auc_score(each, log_probabilities, average="macro", sample_weight=weight)
        expected["pr_auc"] = sk.average_precision_score(each, log_probabilities, average="macro", sample_weight=weight)
    for name, value in expected.items():
        assert_allclose(got[name], value, rtol=1e-12, err_msg=name)


def test_calibration_error_uses_fifteen_right_closed_bins():
    top = np.array([1.0, 14 / 15, 14.5 / 15, 0.51])
    labels = np.array([1, 0, 1, 1])
    got = classification(binary(np.where(top == 1, 1 - 1e-12, top)), labels, labels)(np.ones(4))
    # (14/15, 1] holds 1.0 and 14.5/15, both right; 14/15 is alone in its bin and wrong; 0.51 is alone and right.
    assert_allclose(got["ece"], (0.5 / 15 + 14 / 15 + 0.49) / 4, rtol=1e-9)


def test_macro_averages_are_over_the_classes_present():
    log_probabilities, labels, predicted = draw(4)
    weight = (labels != 3).astype(float)  # decisions for class 3 stay, and cost the other classes recall
    got = classification(log_probabilities, labels, predicted)(weight)
    kept = labels != 3
    each = np.eye(4)[labels[kept]][:, :3]
    scores = log_probabilities[kept][:, :3]
    assert_allclose(got["macro_f1"], sk.f1_score(labels[kept], predicted[kept], labels=[0, 1, 2], average="macro"))
    assert_allclose(got["balanced_accuracy"], sk.recall_score(labels[kept], predicted[kept], labels=[0, 1, 2], average="macro"))
    assert_allclose(got["roc_auc"], sk.roc_auc_score(each, scores, average="macro"))
    assert_allclose(got["pr_auc"], sk.average_precision_score(each, scores, average="macro"))


def test_odds_order_rows_whose_probability_rounds_to_one():
    log_probabilities = np.array([[-40.0, 0.0], [-50.0, 0.0], [0.0, -1.0]])
    labels = np.array([0, 1, 0])
    assert classification(log_probabilities, labels, labels)(np.ones(3))["roc_auc"] == 1.0


@pytest.mark.parametrize(("label", "undefined"), [(0, {"roc_auc", "pr_auc", "f1"}), (1, {"roc_auc"})])
def test_one_class_only(label: int, undefined: set[str]):
    labels = np.full(3, label)
    got = classification(binary([0.2, 0.6, 0.7]), labels, labels)(np.array([0.1, 0.2, 0.7]))
    assert {name for name, value in got.items() if np.isnan(value)} == undefined


def test_nothing_to_score_is_nan():
    log_probabilities, labels, predicted = draw(3)
    assert all(np.isnan(value) for value in classification(log_probabilities, labels, predicted)(np.zeros(200)).values())
    empty = np.zeros(0, int)
    for classes in (2, 3):
        got = classification(np.zeros((0, classes)), empty, empty)(np.zeros(0))
        assert all(np.isnan(value) for value in got.values())
    assert all(np.isnan(value) for value in regression(np.zeros(0), np.zeros(0))(np.zeros(0)).values())
    assert all(np.isnan(value) for value in regression(np.ones(2), np.arange(2.0))(np.zeros(2)).values())


def test_impossible_event_is_infinitely_surprising_but_only_where_it_happened():
    with np.errstate(divide="ignore"):
        log_probabilities = binary([0.0, 1.0, 1.0])
    measure = classification(log_probabilities, np.array([1, 1, 0]), np.array([0, 1, 1]))
    assert measure(np.ones(3))["log_loss"] == math.inf
    assert measure(np.array([0.0, 1.0, 0.0]))["log_loss"] == 0.0
    interval = bootstrap(measure, 3, np.random.default_rng(0), resamples=200)["log_loss"]
    assert (interval.low, interval.high) == (0.0, math.inf)


def test_wrong_classification_inputs():
    log_probabilities, labels, predicted = draw(3)
    for arguments in (
        (log_probabilities[:, :1], labels, predicted),
        (log_probabilities, labels[1:], predicted),
        (log_probabilities, labels, predicted[1:]),
        (np.full_like(log_probabilities, np.nan), labels, predicted),
    ):
        with pytest.raises(AssertionError):
            classification(*arguments)


def test_regression_by_hand():
    got = regression(np.array([2.0, 2.0, 5.0]), np.array([1.0, 2.0, 4.0]))(np.array([1.0, 1.0, 2.0]))
    assert got.keys() == REGRESSION
    assert_allclose(got["mae"], (1 + 0 + 2) / 4)
    assert_allclose(got["rmse"], math.sqrt(3 / 4))
    assert_allclose(got["mape"], (1 + 0 + 2 / 4) / 4)
    mean = (1 + 2 + 8) / 4
    assert_allclose(got["r2"], 1 - 3 / ((1 - mean) ** 2 + (2 - mean) ** 2 + 2 * (4 - mean) ** 2))
    assert_allclose(got["spearman"], stats.spearmanr([2, 2, 5, 5], [1, 2, 4, 4]).statistic)


@pytest.mark.parametrize("kind", ["ones", "real", "some zero"])
def test_regression_agrees_with_scikit_learn_and_scipy(kind: str):
    rng = np.random.default_rng(1)
    target = np.round(rng.normal(size=150), 1) + 5.05
    values = np.round(target + rng.normal(size=150), 1)
    weight = weights(kind, 150)
    got = regression(values, target)(weight)
    assert_allclose(got["mae"], sk.mean_absolute_error(target, values, sample_weight=weight))
    assert_allclose(got["rmse"], sk.root_mean_squared_error(target, values, sample_weight=weight))
    assert_allclose(got["mape"], sk.mean_absolute_percentage_error(target, values, sample_weight=weight))
    assert_allclose(got["r2"], sk.r2_score(target, values, sample_weight=weight))
    if kind != "real":
        counts = weight.astype(int)
        assert_allclose(got["spearman"], stats.spearmanr(np.repeat(values, counts), np.repeat(target, counts)).statistic)


def test_spearman_with_real_weights_is_the_limit_of_repeated_rows():
    rng = np.random.default_rng(2)
    values, target = rng.normal(size=(2, 30)).round(1)
    counts = rng.integers(1, 9, 30)
    measure = regression(values, target)
    assert_allclose(measure(counts / 7)["spearman"], measure(counts.astype(float))["spearman"])


@pytest.mark.parametrize(
    ("values", "target", "undefined"),
    [
        ([1, 2, 3], [0.1, 0.1, 0.1], {"r2", "spearman"}),
        ([0.3, 0.3, 0.3], [1, 2, 3], {"spearman"}),
        ([1, 2, 3], [0, 1, 2], {"mape"}),
    ],
)
def test_undefined_regression_metrics(values, target, undefined: set[str]):
    got = regression(np.array(values, float), np.array(target, float))(np.array([0.1, 0.2, 0.7]))
    assert {name for name, value in got.items() if np.isnan(value)} == undefined


def test_wrong_regression_inputs():
    for values, target in ((np.ones(3), np.ones(2)), (np.ones((3, 1)), np.ones((3, 1))), (np.array([np.nan]), np.ones(1))):
        with pytest.raises(AssertionError):
            regression(values, target)


@pytest.mark.parametrize("classes", [2, 5])
def test_integer_weights_are_repeated_rows(classes: int):
    log_probabilities, labels, predicted = draw(classes, rows=40, seed=3)
    target = labels + 1.0
    rng = np.random.default_rng(4)
    for _ in range(20):
        counts = rng.integers(0, 4, 40)
        rows = np.repeat(np.arange(40), counts)
        ones = np.ones(len(rows))
        got = classification(log_probabilities, labels, predicted)(counts.astype(float))
        got |= regression(log_probabilities[:, 0], target)(counts.astype(float))
        expected = classification(log_probabilities[rows], labels[rows], predicted[rows])(ones)
        expected |= regression(log_probabilities[rows, 0], target[rows])(ones)
        assert_allclose(list(got.values()), list(expected.values()), rtol=1e-9)


def test_interval_of_a_mean_has_the_width_of_theory():
    labels = (np.arange(1000) < 800).astype(int)
    measure = classification(binary(np.full(1000, 0.7)), labels, np.ones(1000, int))
    got = bootstrap(measure, 1000, np.random.default_rng(0))["accuracy"]
    error = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert got.value == 0.8 and got.n == 1000
    assert_allclose([got.low, got.high], [0.8 - error, 0.8 + error], atol=0.003)


def test_groups_are_drawn_whole():
    """Four copies of each row, as a group, tell no more than the row alone: the same interval, and n counts rows."""
    rng = np.random.default_rng(6)
    values, target = rng.normal(size=(2, 50))
    names = np.array([f"group {row:02d}" for row in range(50)])
    alone = bootstrap(regression(values, target), 50, np.random.default_rng(7), resamples=100)
    fourfold = regression(np.repeat(values, 4), np.repeat(target, 4))
    grouped = bootstrap(fourfold, 200, np.random.default_rng(7), groups=np.repeat(names, 4), resamples=100)
    loose = bootstrap(fourfold, 200, np.random.default_rng(7), resamples=100)
    for name, estimate in alone.items():
        other = grouped[name]
        assert_allclose([other.value, other.low, other.high], [estimate.value, estimate.low, estimate.high], rtol=1e-9)
        assert (estimate.n, other.n) == (50, 200)
        assert loose[name].high - loose[name].low < 0.75 * (other.high - other.low)


def test_row_weights_multiply_counts():
    seen = []

    def measure(weight: np.ndarray) -> dict[str, float]:
        seen.append(weight)
        return {"total": float(weight.sum())}

    weight = np.array([0.5, 0.0, 2.0])
    got = bootstrap(measure, 3, np.random.default_rng(0), resamples=50, weight=weight)["total"]
    counts = np.array(seen)[:, [0, 2]] / weight[[0, 2]]
    assert (counts == counts.round()).all() and counts.max() >= 2
    assert all(drawn[1] == 0 for drawn in seen)
    assert (got.value, got.n) == (2.5, 2)


def test_undefined_resamples_are_left_out():
    labels = np.array([1, 0, 0, 0])  # three resamples in ten miss the only positive row
    measure = classification(binary([0.6, 0.2, 0.3, 0.7]), labels, labels)
    got = bootstrap(measure, 4, np.random.default_rng(0), resamples=200)["roc_auc"]
    assert_allclose(got.value, 2 / 3)
    assert 0 <= got.low < got.value < got.high == 1


def test_no_interval_where_the_value_is_undefined_or_nothing_can_vary():
    zero = regression(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0]))
    rng = np.random.default_rng(0)
    assert_nan_interval(bootstrap(zero, 3, rng, resamples=50)["mape"])  # though resamples without the 0 have a mape
    single = bootstrap(zero, 3, rng, groups=np.array(["a", "a", "a"]))["mae"]
    assert single.value == 1.0
    assert_nan_interval(single)
    assert_nan_interval(bootstrap(regression(np.ones(1), np.ones(1)), 1, rng)["mae"])
    with pytest.raises(AssertionError, match="no row"):
        bootstrap(zero, 0, rng)
    with pytest.raises(AssertionError, match="3 rows"):
        bootstrap(zero, 3, rng, groups=np.zeros(2))


def assert_nan_interval(estimate: Estimate) -> None:
    assert np.isnan(estimate.low) and np.isnan(estimate.high)


def test_same_generator_same_interval():
    measure = regression(*np.random.default_rng(8).normal(size=(2, 30)))
    first, second, third = (bootstrap(measure, 30, np.random.default_rng(seed), resamples=50) for seed in (1, 1, 2))
    assert first == second != third


def test_paired_difference_uses_the_same_resamples():
    rng = np.random.default_rng(9)
    target, noise = rng.normal(size=(2, 300))
    good, same = regression(target + noise, target), regression(target + noise, target)
    shifted = regression(target + noise + 0.01, target)
    nothing = paired_difference(good, same, 300, np.random.default_rng(0), resamples=100)
    assert all((got.value, got.low, got.high, got.n) == (0, 0, 0, 300) for name, got in nothing.items() if name != "mape")
    paired = paired_difference(shifted, good, 300, np.random.default_rng(0), resamples=100)["rmse"]
    alone = bootstrap(good, 300, np.random.default_rng(0), resamples=100)["rmse"]
    assert_allclose(paired.value, shifted(np.ones(300))["rmse"] - good(np.ones(300))["rmse"])
    assert paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)


def test_paired_difference_draws_groups():
    values, target = np.random.default_rng(10).normal(size=(2, 40))
    measure, baseline = regression(values, target), regression(np.zeros(40), target)
    groups = np.arange(40) // 20
    got = paired_difference(measure, baseline, 40, np.random.default_rng(0), groups, resamples=100)["mae"]
    halves = [measure(half)["mae"] - baseline(half)["mae"] for half in np.eye(2)[groups].T]
    assert_allclose(sorted([got.low, got.high]), sorted(halves))


def test_every_metric_has_a_direction():
    assert set(GREATER_IS_BETTER) == CLASSIFICATION | LABELS | REGRESSION
    lower = {"hamming_loss", "log_loss", "ece", "mae", "rmse", "mape"}
    assert {name for name, greater in GREATER_IS_BETTER.items() if not greater} == lower
