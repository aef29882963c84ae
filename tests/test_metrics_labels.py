"""Metrics of labels against hand-computed numbers, scikit-learn and repeated rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as sk

from consilience.metrics import classification, label_decisions, multilabel

DECISIONS = {"micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "hamming_loss"}
MULTILABEL = DECISIONS | {"roc_auc", "pr_auc", "log_loss", "ece"}


def weights(kind: str, rows: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return {"ones": np.ones(rows), "real": rng.exponential(size=rows), "some zero": rng.integers(0, 3, rows).astype(float)}[
        kind
    ]


def draw_labels(labels: int, rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds with many ties, labels as 0 and 1 [R, C], and decisions that are not quite those of the log-odds."""
    rng = np.random.default_rng(seed)
    wanted = (rng.random((rows, labels)) < np.linspace(0.5, 0.1, labels)).astype(float)
    log_odds = np.round(2 * (rng.normal(size=(rows, labels)) + 2 * wanted - 1.5)) / 2
    return log_odds, wanted, (log_odds > 0) ^ (rng.random((rows, labels)) < 0.1)


def test_labels_by_hand():
    odds = np.log([[9, 1 / 4, 1], [1 / 9, 4, 4]])  # probabilities 0.9 0.2 0.5, 0.1 0.8 0.8
    wanted, given = np.array([[1, 0, 1], [0, 1, 0]]), np.array([[1, 0, 0], [0, 1, 1]])
    got = multilabel(odds, wanted, given)(np.array([1.0, 3.0]))
    assert got.keys() == MULTILABEL
    assert_allclose(got["micro_f1"], 2 * (1 + 3) / (2 * (1 + 3) + 1 + 3))  # the third label is missed once, false thrice
    assert_allclose(got["macro_f1"], (1 + 1 + 0) / 3)
    assert_allclose(got["samples_f1"], (2 * 1 / (2 + 1) + 3 * 2 * 1 / (1 + 2)) / 4)
    assert got["subset_accuracy"] == 0
    assert_allclose(got["hamming_loss"], 1 / 3)
    assert_allclose(got["roc_auc"], (1 + 1 + 0) / 3)
    assert_allclose(got["pr_auc"], (1 + 1 + 1 / 4) / 3)
    first, second = math.log(0.9) + math.log(0.8) + math.log(0.5), math.log(0.9) + math.log(0.8) + math.log(0.2)
    assert_allclose(got["log_loss"], -(first + 3 * second) / 3 / 4)
    # Confidence 0.9, right, weight 1 + 3. 0.8: right 1 + 3, wrong 3. 0.5: said to be no, wrong, weight 1.
    assert_allclose(got["ece"], (4 * 0.1 + abs(4 - 7 * 0.8) + 0.5) / 12)


@pytest.mark.parametrize("kind", ["ones", "real", "some zero"])
@pytest.mark.parametrize("labels", [1, 2, 6])
def test_labels_agree_with_scikit_learn(labels: int, kind: str):
    log_odds, wanted, given = draw_labels(labels)
    weight = weights(kind, len(wanted))
    got = multilabel(log_odds, wanted, given)(weight)
    options = {"sample_weight": weight, "zero_division": 1.0}
    single = labels == 1  # which scikit-learn does not take for many labels
    expected = {
        "micro_f1": sk.f1_score(wanted, given, average="binary" if single else "micro", **options),
        "macro_f1": sk.f1_score(wanted, given, average="binary" if single else "macro", **options),
        "subset_accuracy": sk.accuracy_score(wanted, given, sample_weight=weight),
        "hamming_loss": sk.hamming_loss(wanted, given, sample_weight=weight),
        "roc_auc": sk.roc_auc_score(wanted, log_odds, average="macro", sample_weight=weight),
        "pr_auc": sk.average_precision_score(wanted, log_odds, average="macro", sample_weight=weight),
    }
    if not single:
        expected["samples_f1"] = sk.f1_score(wanted, given, average="samples", **options)
    chance = 1 / (1 + np.exp(-log_odds))
    each = [sk.log_loss(wanted[:, label], chance[:, label], sample_weight=weight) for label in range(labels)]
    expected["log_loss"] = np.mean(each)
    for name, value in expected.items():
        assert_allclose(got[name], value, rtol=1e-12, err_msg=name)


def test_one_label_is_calibrated_as_two_classes_are():
    log_odds, wanted, given = draw_labels(1)
    two = np.concatenate([-np.logaddexp(0, log_odds), -np.logaddexp(0, -log_odds)], axis=1)
    got, expected = multilabel(log_odds, wanted, given), classification(two, wanted[:, 0].astype(int), given[:, 0].astype(int))
    weight = weights("real", len(wanted))
    for name in ("log_loss", "ece", "roc_auc", "pr_auc"):
        assert_allclose(got(weight)[name], expected(weight)[name], rtol=1e-9)


def test_labels_that_no_row_has_are_left_out_of_means():
    log_odds, wanted, given = draw_labels(4)
    kept = wanted[:, 3] == 0
    got = multilabel(log_odds, wanted, given)(kept.astype(float))
    three = multilabel(log_odds[kept, :3], wanted[kept, :3], given[kept, :3])(np.ones(kept.sum()))
    for name in ("macro_f1", "roc_auc", "pr_auc"):
        assert_allclose(got[name], three[name])
    assert got["micro_f1"] < three["micro_f1"]  # whose decisions count all the same


def test_rows_without_labels():
    none = np.zeros((3, 2))
    got = multilabel(np.full((3, 2), -1.0), none, none)(np.ones(3))
    assert {name for name, value in got.items() if np.isnan(value)} == {"micro_f1", "macro_f1", "roc_auc", "pr_auc"}
    assert (got["samples_f1"], got["subset_accuracy"], got["hamming_loss"]) == (1, 1, 0)
    got = label_decisions(none, none + 1)(np.ones(3))
    assert got.keys() == DECISIONS
    assert (got["micro_f1"], got["samples_f1"], got["hamming_loss"]) == (0, 0, 1)
    assert all(np.isnan(value) for value in multilabel(none, none, none)(np.zeros(3)).values())
    nothing = np.zeros((0, 2))
    assert all(np.isnan(value) for value in multilabel(nothing, nothing, nothing)(np.zeros(0)).values())


def test_wrong_label_inputs():
    log_odds, wanted, given = draw_labels(3)
    for arguments in (
        (log_odds[:, :1], wanted, given),
        (log_odds, wanted[1:], given),
        (log_odds, wanted, given[:, :2]),
        (log_odds[:, 0], wanted[:, 0], given[:, 0]),
        (np.full_like(log_odds, np.nan), wanted, given),
    ):
        with pytest.raises(AssertionError):
            multilabel(*arguments)


@pytest.mark.parametrize("labels", [2, 5])
def test_integer_weights_are_repeated_rows(labels: int):
    log_odds, wanted, given = draw_labels(labels, rows=40, seed=3)
    rng = np.random.default_rng(4)
    for _ in range(20):
        counts = rng.integers(0, 4, 40)
        rows = np.repeat(np.arange(40), counts)
        got = multilabel(log_odds, wanted, given)(counts.astype(float))
        expected = multilabel(log_odds[rows], wanted[rows], given[rows])(np.ones(len(rows)))
        assert_allclose(list(got.values()), list(expected.values()), rtol=1e-9)
