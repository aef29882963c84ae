"""Labels of a row: how cells are read and told from other targets, what scores mean, how the threshold is chosen."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from consilience import pipeline
from consilience.errors import ConsilienceError
from consilience.tasks.classification import Classification
from consilience.tasks.multilabel import MultiLabel, read_labels
from consilience.tasks.regression import Regression
from consilience.types import Cell, State

HALVES: list[Cell] = [["a"], ["b"], ["a", "b"], []]


def fitted(target: list[Cell], **options: Any) -> MultiLabel:
    task = MultiLabel(config=MultiLabel.Config(**options))
    task.fit(target)
    return task


def odds(*rows: list[float]) -> np.ndarray:
    """Probabilities -> log-odds."""
    chance = np.array(rows)
    return np.log(chance / (1 - chance))


# Cells


@pytest.mark.parametrize(
    ("cell", "separator", "labels"),
    [
        (["b", "a"], None, ["b", "a"]),
        ([], None, []),
        ([1, 2], None, [1, 2]),
        (np.array([1, 2]), None, [1, 2]),
        ('["b", "a"]', None, ["b", "a"]),
        (" [1, true] ", None, [1, True]),
        ("[]", "|", []),
        ("['b', 'a']", None, ["b", "a"]),
        (r"['it\'s', 'a, b']", None, ["it's", "a, b"]),
        ("['a' 'b']", None, ["['a' 'b']"]),  # as NumPy prints it: Python would read 'ab'
        ("[draft]", None, ["[draft]"]),
        ("a|b | c", "|", ["a", "b", "c"]),
        ("a||b|", "|", ["a", "b"]),
        ("a;b", "|", ["a;b"]),
        ("a, b", ", ", ["a", "b"]),
        ("a", None, ["a"]),
        (3, None, [3]),
        (False, "|", [False]),
        # what is no list of labels
        (" | ", "|", None),
        ("", None, None),
        (None, None, None),
        (math.nan, None, None),
        (["a", None], None, None),
        (["a", " "], None, None),
        ([["a"]], None, None),
        ('["a", null]', None, None),
        ('[{"a": 1}]', None, None),
        ({"a": 1}, None, None),
        ("[" * 9999 + "]" * 9999, None, ["[" * 9999 + "]" * 9999]),
    ],
)
def test_a_cell_is_read(cell: Cell, separator: str | None, labels: list[Cell] | None) -> None:
    assert read_labels(cell, separator) == labels


def test_encoding_by_hand() -> None:
    task = fitted(["b|a", "[]", "10", "2|b|b"])
    assert task.labels == ("2", "10", "a", "b")
    assert task.separator == "|"
    encoded = task.encode(["b|a", "[]", "10", "2|b|b", ["b", 10.0], '["2"]'])
    assert encoded.dtype == np.float64
    assert encoded.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize(
    "spelled", [[[0, 1], [1]], [["0", "1 "], ["1"]], [[0.0, 1.0], [1.0]], ["0|1", "1"], ["[0, 1]", "[1.0]"]]
)
@pytest.mark.parametrize("trained", [[[0], [1]], ["0", "1", "0|1"], [["0"], ["1"]]])
def test_a_label_is_one_however_it_is_spelled(trained: list[Cell], spelled: list[Cell]) -> None:
    assert fitted(trained, separator="|").encode(spelled).tolist() == [[1, 1], [0, 1]]


def test_labels_keep_their_type_and_are_texts_where_types_differ() -> None:
    assert fitted([[2, 10], [2]]).labels == (2, 10)
    assert fitted([[True], []]).labels == (True,)
    assert fitted(["[1, true]", '["a"]']).labels == ("1", "True", "a")


@pytest.mark.parametrize(
    ("target", "separator"),
    [
        (["a|b", "c"], "|"),
        (["a;b", "c"], ";"),
        (["a;b", "c|d", "e;f"], ";"),
        (["a;b", "c|d"], "|"),
        (["a,b", "c"], None),
        ([["a;b"], ["c"]], None),
        (['["a;b"]', "[]"], None),
    ],
)
def test_the_separator_is_found_in_training_and_kept(target: list[Cell], separator: str | None) -> None:
    assert fitted(target).separator == separator
    told = fitted(target, separator=",")
    assert told.separator == ","
    again = MultiLabel(config=told.options)
    again.restore(told.state())
    assert again.encode(target).tolist() == told.encode(target).tolist()


def test_what_is_no_list_of_labels_is_counted_and_shown() -> None:
    with pytest.raises(ConsilienceError) as caught:
        fitted([["a"], ["a", None], [["b"]], []])
    assert str(caught.value) == (
        "2 of 4 target cells hold no list of labels: ['a', None], [['b']]\n"
        "  expected: lists of texts or numbers, JSON arrays, or labels between separators; [] for none\n"
        "  do: mend the cells"
    )


def test_labels_without_training_rows_are_an_error() -> None:
    with pytest.raises(ConsilienceError) as caught:
        fitted(["walk|run", "sit"]).encode(["walk|rnu", "sit", "fly|sit", "fly"])
    assert str(caught.value) == (
        "3 of 4 target cells hold labels without training rows: 'fly', 'rnu'\n"
        "  expected: one of the 3 labels of the training rows\n"
        "  do: choose one of: run, sit, walk"
    )


@pytest.mark.parametrize("target", [[[], []], [["a"], ["a"]], ["a|b", "b|a"], []])
def test_labels_that_tell_no_rows_apart_cannot_be_learned(target: list[Cell]) -> None:
    with pytest.raises(ConsilienceError, match=r"no label of the target is there in some of the \d training rows"):
        fitted(target)


# Detection

LETTERS = ["a", "b", "c", "a|b", "a|c", "b|c", "a|b|c", "[]"]


@pytest.mark.parametrize(
    ("target", "confidence", "reason"),
    [
        ([["a"], ["a", "b"], []], 0.95, "3 of 3 cells are lists, of 2 different labels"),
        (['["a"]', "[]", '["b", "a"]'], 0.95, "3 of 3 cells are lists, of 2 different labels"),
        (["['a', 'b']", "['a']"], 0.95, "2 of 2 cells are lists, of 2 different labels"),
        ([[1.0, 2.0], [3]], 0.95, "2 of 2 cells are lists, of 3 different labels"),
        ([*[["a"]] * 19, "b"], 0.95, "19 of 20 cells are lists, of 1 different labels"),
        (LETTERS, 0.92, "4 of 8 cells hold several labels, with '|' between them, and 8 different cells are made of 3 labels"),
        ([cell.replace("|", "; ") for cell in LETTERS], 0.92, None),
    ],
)
def test_it_claims_lists_and_labels_between_separators(target: list[Cell], confidence: float, reason: str | None) -> None:
    claim = MultiLabel.detect(target)
    assert claim is not None
    assert claim.confidence == confidence
    assert reason is None or claim.reason == reason
    others = [task.detect(target) for task in (Classification, Regression)]
    assert all(other is None or other.confidence < confidence for other in others)


@pytest.mark.parametrize(
    "target",
    [
        ["a", "b", "c"],
        [1, 2, 3],
        [cell.replace("|", ",") for cell in LETTERS],  # a comma must be told
        [f"it came on day {row}; it was {'very ' * (row % 3)}late{'; again' * (row % 2)}" for row in range(50)],
        [f"{country};{year}" for country in "abcde" for year in range(5)],  # a key of always two pieces
        ["mild; chronic", "mild", "severe; acute", "severe"],  # few classes with a sign in them
        [*["a"] * 200, *LETTERS],  # four cells of 208
        [[0.12, 0.7], [0.3, 0.2]],  # vectors
        [[["a"]], [["b"]]],
        [{"a": 1}],
    ],
)
def test_it_leaves_other_targets_alone(target: list[Cell]) -> None:
    assert MultiLabel.detect(target) is None


def test_other_tasks_survive_lists() -> None:
    for cell in (["a"], [1.0], {"a": 1}):
        assert Classification.detect([cell, "b"]) is None
        assert Regression.detect([cell, "b"]) is None
        with pytest.raises(ConsilienceError, match=r"1 of 2 target cells hold more than one value[\s\S]*task.kind=multilabel"):
            Classification(config=Classification.Config()).fit([cell, "b"])
        with pytest.raises(ConsilienceError, match="1 of 2 target cells are no finite numbers"):
            Regression(config=Regression.Config()).fit([cell, 1])


def test_a_target_of_no_task_is_an_error() -> None:
    table = pa.table({"x": [1.0, 2.0], "y": [[0.12, 0.7], [0.3, 0.2]]})
    with pytest.raises(ConsilienceError, match=r"no task is known for the target 'y': \[0.12, 0.7\]"):
        pipeline.fit(table, "y")


# Splits


def test_strata_are_the_rarest_label_of_each_row_and_need_no_fit() -> None:
    task = MultiLabel(config=MultiLabel.Config())
    strata = task.strata(["a", "a|b", "b|a|c", "a", "[]", "", "c", "d|a", "e|d"])
    assert strata is not None
    # a stands in 5 rows, b, c and d in 2, e in 1: of equal ones the first decides.
    assert len(strata) == 9
    same = [[0, 3], [1, 2], [4, 5], [6], [7], [8]]
    assert sorted(np.flatnonzero(strata == value).tolist() for value in set(strata.tolist())) == same


# Loss and scores


def test_loss_is_the_mean_over_labels_then_rows_by_hand() -> None:
    task = fitted(HALVES)
    raw = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0], [9.0, 9.0]], dtype=torch.float64)
    encoded = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    loss = task.loss(raw, encoded, torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64))
    first, second = -math.log(1 / 2) - math.log(1 / 4), -math.log(4 / 5) - math.log(1 / 2)
    assert loss.item() == pytest.approx((first / 2 + 3 * second / 2) / 4)
    assert task.balance(encoded.numpy()).tolist() == [1, 1, 1]


def test_the_prior_is_finite_for_a_label_of_every_row() -> None:
    prior = fitted([["a", "b"], ["a"], ["a"]]).prior()
    assert np.allclose(1 / (1 + np.exp(-prior)), [3.5 / 4, 1.5 / 4])


def test_probabilities_are_mixed_per_row_by_hand() -> None:
    task = fitted(HALVES)
    mixed = task.combine([odds([0.2, 0.9], [0.2, 0.5]), odds([0.8, 0.5], [0.4, 0.5])], np.array([[0.5, 1.0], [0.5, 0.0]]))
    assert np.allclose(mixed, odds([0.5, 0.7], [0.2, 0.5]))


def test_certainty_is_kept_to_the_last_digit_and_never_infinite() -> None:
    task = fitted(HALVES)
    sure = np.array([[50.0, -50.0], [np.inf, -np.inf]])
    mixed = task.combine([sure, sure], np.full((2, 2), 0.5))
    assert mixed[0] == pytest.approx([50, -50])
    assert np.isfinite(mixed).all()
    half = task.combine([sure, -sure], np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert half[0] == pytest.approx([-50, 50])


@pytest.mark.parametrize("factor", [3.0, 1.0, 0.4])
def test_calibration_finds_by_how_much_scores_were_made_too_sharp(factor: float) -> None:
    # Every row stands there with each answer for its first label, weighted by its true probability; the second is even.
    task = fitted(HALVES)
    logits = np.random.default_rng(0).normal(size=60)
    scores = np.repeat(np.stack([factor * logits, np.zeros(60)], axis=1), 2, axis=0)
    encoded = np.stack([np.tile([1.0, 0.0], 60), np.zeros(120)], axis=1)
    truth = np.stack([1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))], axis=1).ravel()
    temperature = task.calibrate(scores, encoded, truth * 1e7)
    assert temperature == pytest.approx(factor, rel=1e-5)
    assert np.allclose(task.temper(scores, temperature)[::2, 0], logits, atol=1e-4)


def test_few_rows_without_an_error_do_not_ask_for_certainty() -> None:
    # As for two classes, see there, with two labels: twice the evidence. d/dt of 2 -log sigmoid(e^-t log 9) + 2 t^2 is zero
    # where 2 e^-t log 9 / (1 + 9^(e^-t)) = -4 t.
    t = math.log(fitted(HALVES).calibrate(odds([0.9, 0.1]), np.array([[1.0, 0.0]]), np.ones(1)))
    assert 2 * math.exp(-t) * math.log(9) / (1 + 9 ** math.exp(-t)) == pytest.approx(-4 * t, rel=1e-3)


# Threshold


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [
        # By probability the decisions are 0.1 no, 0.2 yes, 0.3 no, 0.4 yes; the rows are 0.1 and 0.2, 0.3 and 0.4.
        ("micro_f1", 0.2),  # two hits, one false: 4 / 5; above 0.3 one hit, one missed: 2 / 3
        ("samples_f1", 0.2),  # (1 + 2 / 3) / 2; above 0.3 (0 + 1) / 2
        ("macro_f1", 0.2),  # no row has the first label, both have the second
        ("hamming_loss", 0.4),  # 1 / 4 wrong, as at 0.2
        ("subset_accuracy", 0.4),  # one row right, as at 0.2
    ],
)
def test_the_threshold_is_tuned_by_hand(metric: str, threshold: float) -> None:
    task = fitted(HALVES)
    scores, encoded = odds([0.1, 0.2], [0.3, 0.4]), np.array([[0.0, 1.0], [0.0, 1.0]])
    task.tune(scores, encoded, np.ones(2), metric)
    assert task.threshold == pytest.approx(threshold)
    assert task.decode(odds([threshold - 0.02, threshold + 0.02])) == [["b"]]


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "log_loss", "ece"])
def test_metrics_of_probabilities_leave_the_threshold(metric: str) -> None:
    task = fitted(HALVES)
    task.tune(odds([0.1, 0.2]), np.array([[1.0, 1.0]]), np.ones(1), metric)
    assert task.threshold == 0.5


def test_rows_weigh_in_the_threshold_and_none_positive_is_no_error() -> None:
    task = fitted(HALVES)
    scores, encoded = odds([0.2, 0.1], [0.3, 0.1]), np.array([[1.0, 0.0], [0.0, 0.0]])
    task.tune(scores, encoded, np.array([5.0, 1.0]), "subset_accuracy")
    assert task.threshold == pytest.approx(0.2)
    task.tune(scores, encoded, np.array([1.0, 5.0]), "subset_accuracy")
    assert task.threshold == pytest.approx(0.5)
    task.tune(scores, 0 * encoded, np.ones(2), "micro_f1")
    assert 0 <= task.threshold <= 1


# What is shown


def test_answers_are_lists_in_the_order_of_the_labels() -> None:
    task = fitted([["b", "a"], [10], [2]])
    scores = odds([0.6, 0.1, 0.9, 0.5], [0.1, 0.2, 0.3, 0.4])
    assert task.decode(scores) == [["2", "a", "b"], []]
    assert {name: values.round(9).tolist() for name, values in task.columns(scores[:1]).items()} == {
        "probability_2": [0.6],
        "probability_10": [0.1],
        "probability_a": [0.9],
        "probability_b": [0.5],
    }


def test_description_and_metrics() -> None:
    assert fitted([["a"], []]).describe() == "multi-label classification into 1 label (a)"
    task = fitted([list("abcdefgh"), []])
    assert task.describe() == "multi-label classification into 8 labels (a, b, c, d, e, f, ...)"
    assert (task.default_metric, task.proper, task.outputs) == ("pr_auc", "log_loss", 8)
    assert set(task.measure(np.zeros((2, 8)), np.eye(2, 8))(np.ones(2))) == set(MultiLabel.metrics)


# State


@pytest.mark.parametrize("target", [[["a"], ["b"]], ["1|2", "2"], [[True], []], [[0.5, 2.0], []], [["naïve", "日本"], []]])
def test_state_comes_back_through_json(target: list[Cell]) -> None:
    task = fitted(target)
    task.threshold = 0.3
    again = MultiLabel(config=task.options)
    again.restore(State(json.loads(json.dumps(dict(task.state().json)))))
    assert again.labels == task.labels
    assert [type(label) for label in again.labels] == [type(label) for label in task.labels]
    assert (again.outputs, again.threshold, again.separator) == (task.outputs, 0.3, task.separator)
    assert again.prior().tolist() == task.prior().tolist()
    assert again.encode(target).tolist() == task.encode(target).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": None},
        {"labels": "ab"},
        {"labels": []},
        {"labels": ["a"]},
        {"labels": ["a", None]},
        {"labels": [1, "1"]},
        {"frequency": None},
        {"frequency": [0.5]},
        {"frequency": [0.5, 1.0]},
        {"frequency": [0.0, 0.5]},
        {"frequency": [0.5, float("nan")]},
        {"frequency": [0.5, "0.5"]},
        {"threshold": None},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"separator": ""},
        {"separator": 1},
    ],
)
def test_a_damaged_state_is_an_error(change: dict[str, Any]) -> None:
    state = {"labels": ["a", "b"], "threshold": 0.5, "frequency": [0.5, 0.7], "separator": None}
    task = MultiLabel(config=MultiLabel.Config())
    task.restore(State(state))
    with pytest.raises(ConsilienceError, match="the task of the run is damaged"):
        task.restore(State(state | change))
    with pytest.raises(ConsilienceError, match="the task of the run is damaged"):
        task.restore(State({key: value for key, value in state.items() if key not in change}))
