"""No harm, by hand: predictors that say what the test lets them say, and who answers which row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import Present, View
from consilience.errors import ConsilienceError
from consilience.predictors.base import Context, Predictor
from consilience.progress import Budget
from consilience.recipe import Select
from consilience.select import PICKS, Selection, answer, restore_selection, select
from consilience.tasks.base import Task
from consilience.tasks.classification import Classification
from consilience.tasks.regression import Regression
from consilience.types import Input, Limits, Schema, State

INPUTS = (Input("a", "text", ("a",)), Input("b", "text", ("b",)))
SCHEMA = Schema("y", INPUTS, ())


class Says(Predictor):
    """Answers with given raw numbers [rows of the table, K]."""

    def __init__(self, raw: Any, inputs: tuple[str, ...] = ("a", "b")) -> None:
        super().__init__(config=Predictor.Config(inputs=inputs), schema=SCHEMA)
        self.given = np.array(raw, dtype=np.float64)

    def fit(self, view: View, train: Any, valid: Any, context: Context, rng: np.random.Generator, budget: Budget) -> None: ...

    def settled(self) -> Predictor.Config:
        return self.config

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        return self.given[rows]

    def state(self) -> State:
        return State()

    def restore(self, state: State, task: Task) -> None: ...


def make_view(y: list[Any], **cells: list[str | None]) -> View:
    columns = {"a": ["x"] * len(y), "b": ["x"] * len(y)} | cells
    table = pa.table({"y": y} | {name: pa.array(values, pa.string()) for name, values in columns.items()})
    return View(read_table(table), SCHEMA, Store(), Limits())


def context_of(y: list[Any], metric: str, task: Task | None = None) -> Context:
    task = task or Classification(config=Classification.Config())
    task.fit(y)
    return Context(task, metric, 0)


def sure(*chances: float) -> list[list[float]]:
    """Raw numbers of two classes for a chance of the second."""
    return [[math.log(1 - chance), math.log(chance)] for chance in chances]


def chosen(
    says: Mapping[str, Predictor], y: list[Any], metric: str = "accuracy", task: Task | None = None, **options: Any
) -> Selection:
    view = make_view(y)
    options = {"method": "best", "calibrate": False, **options}
    return select(says, view, np.arange(len(y)), context_of(y, metric, task), Select(**options))


Y = ["no", "no", "yes", "yes"]
RIGHT, WRONG, UNSURE = sure(0.1, 0.2, 0.8, 0.9), sure(0.9, 0.8, 0.2, 0.1), sure(0.4, 0.4, 0.6, 0.6)


# The choice


def test_the_best_on_the_validation_rows_is_chosen_and_told_of() -> None:
    found = chosen({"bad": Says(WRONG), "good": Says(RIGHT)}, Y)
    assert found.weights == {"good": 1.0}
    assert found.needed == ("good",)
    assert found.valid == {"good": 1.0, "bad": 0.0}
    assert list(found.valid) == ["good", "bad"]  # best first
    assert found.metric == "accuracy"
    assert found.reasons == ("good has the best accuracy on 4 validation rows",)


def test_of_equals_the_better_probabilities_win_and_then_the_name() -> None:
    assert chosen({"a": Says(UNSURE), "b": Says(RIGHT)}, Y).weights == {"b": 1.0}
    assert chosen({"b": Says(RIGHT), "a": Says(RIGHT)}, Y).weights == {"a": 1.0}


@pytest.mark.parametrize(
    ("metric", "best", "values"),
    [("log_loss", "right", [-(math.log(0.9) + math.log(0.8)) / 2, -math.log(0.6)]), ("ece", "right", [0.15, 0.4])],
)
def test_a_metric_that_should_be_small_is(metric: str, best: str, values: list[float]) -> None:
    found = chosen({"unsure": Says(UNSURE), "right": Says(RIGHT)}, Y, metric)
    assert found.weights == {best: 1.0}
    assert list(found.valid.values()) == pytest.approx(values)


@pytest.mark.parametrize(
    ("metric", "good", "bad"), [("r2", 1 - 0.25 / 1.25, 1 - 4 / 1.25), ("rmse", 0.5, 2.0), ("mae", 0.5, 2.0)]
)
def test_values_are_shown_with_their_sign(metric: str, good: float, bad: float) -> None:
    y = [1.0, 2.0, 3.0, 4.0]
    scale = np.std(y)
    off = {name: Says([[(value + by - 2.5) / scale] for value in y]) for name, by in (("good", 0.5), ("bad", 2.0))}
    found = chosen(off, y, metric, Regression(config=Regression.Config()))
    assert found.weights == {"good": 1.0}
    assert found.valid == pytest.approx({"good": good, "bad": bad})


def test_where_the_metric_is_undefined_the_probabilities_decide() -> None:
    view, context = make_view(["no", "no"]), context_of(["no", "yes"], "roc_auc")
    predictors = {"a": Says(sure(0.6, 0.6)), "b": Says(sure(0.1, 0.1))}
    found = select(predictors, view, np.arange(2), context, Select(method="best", calibrate=False))
    assert found.weights == {"b": 1.0}
    assert all(math.isnan(value) for value in found.valid.values())


def test_only_ships_what_it_names_whatever_is_better() -> None:
    found = chosen({"bad": Says(WRONG), "good": Says(RIGHT)}, Y, only="bad", method="ensemble")
    assert found.weights == {"bad": 1.0}
    assert found.reasons == ("bad, as select.only says",)


# Ensembles


def test_what_complements_each_other_is_averaged() -> None:
    # Each is sure and right about half of the rows, and knows nothing of the others.
    left, right = Says(sure(0.1, 0.5, 0.9, 0.5)), Says(sure(0.5, 0.1, 0.5, 0.9))
    found = chosen({"left": left, "right": right, "bad": Says(WRONG)}, Y, "log_loss", method="ensemble")
    assert found.weights == {"left": 0.5, "right": 0.5}
    assert found.reasons == ("0.50 left + 0.50 right: a greedy ensemble, by log_loss on 4 validation rows",)


def test_weights_are_shares_of_few_picks_and_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    y = ["no", "yes"] * 30
    truth = np.array([0.0, 1.0] * 30)
    predictors = {f"p{index}": Says(np.stack([-(truth + rng.normal(0, 1, 60)), truth], 1)) for index in range(5)}
    found = chosen(predictors, y, "log_loss", method="ensemble")
    assert len(found.weights) > 1
    assert sum(found.weights.values()) == pytest.approx(1.0)
    shares = np.array(list(found.weights.values()))
    assert any(np.allclose(shares * picks, np.round(shares * picks)) for picks in range(1, PICKS + 1))
    context, view = context_of(y, "log_loss"), make_view(y)
    encoded, weight = context.task.encode(y), np.ones(60)
    mixed = answer(found, predictors, view, np.arange(60), context.task).scores
    singles = [context.proper(it.scores(view, np.arange(60), context.task), encoded, weight) for it in predictors.values()]
    assert context.proper(mixed, encoded, weight) > max(singles)


def test_one_predictor_is_no_ensemble_and_one_that_is_best_alone_stays_alone() -> None:
    assert chosen({"it": Says(UNSURE)}, Y, method="ensemble").reasons[0].startswith("it has the best")
    assert chosen({"right": Says(RIGHT), "wrong": Says(WRONG)}, Y, method="ensemble").weights == {"right": 1.0}


# Calibration and threshold


def test_the_temperature_makes_sure_predictors_less_sure() -> None:
    y = ["no", "yes"] * 10
    told = sure(*([0.01, 0.99] * 7 + [0.99, 0.01] * 3))  # as sure where it is wrong
    calibrated, plain = (chosen({"it": Says(told)}, y, calibrate=calibrate) for calibrate in (True, False))
    assert plain.temperature == 1.0
    assert calibrated.temperature > 1.5
    context, view = context_of(y, "log_loss"), make_view(y)
    loss = [
        -context.value(
            answer(it, {"it": Says(told)}, view, np.arange(20), context.task).scores, context.task.encode(y), np.ones(20)
        )
        for it in (calibrated, plain)
    ]
    assert loss[0] < 0.75 < loss[1]


@pytest.mark.parametrize(("metric", "threshold"), [("accuracy", 0.25), ("f1", 0.25), ("roc_auc", 0.5), ("log_loss", 0.5)])
def test_the_threshold_is_set_for_metrics_of_decisions(metric: str, threshold: float) -> None:
    context = context_of(Y, metric)
    select({"it": Says(sure(0.1, 0.2, 0.3, 0.4))}, make_view(Y), np.arange(4), context, Select(method="best", calibrate=False))
    assert isinstance(context.task, Classification)
    assert context.task.threshold == pytest.approx(threshold)


# Who answers


def small(weights: dict[str, float], *fallback: str, temperature: float = 1.0) -> Selection:
    return Selection(weights, fallback, temperature, "accuracy", {}, ("",))


def chances(selection: Selection, predictors: Mapping[str, Predictor], view: View, **present: list[bool]) -> list[float]:
    task = context_of(["no", "no", "no", "yes"], "accuracy").task
    removed = {name: np.array(values) for name, values in present.items()} or None
    scores = answer(selection, predictors, view, np.arange(len(view)), task, removed).scores
    return np.exp(scores[:, 1]).round(9).tolist()


VIEW = make_view(Y, a=["x", None, "x", None], b=["x", "x", None, None])
A, B = Says(sure(0.9, 0.9, 0.9, 0.9), ("a",)), Says(sure(0.5, 0.5, 0.5, 0.5), ("b",))


def test_a_fallback_answers_what_the_chosen_one_cannot() -> None:
    predictors = {"a": A, "b": B}
    assert chances(small({"a": 1.0}), predictors, VIEW) == [0.9, 0.25, 0.9, 0.25]
    assert chances(small({"a": 1.0}, "b"), predictors, VIEW) == [0.9, 0.5, 0.9, 0.25]


def test_an_ensemble_shares_the_weights_of_those_who_cannot_among_those_who_can() -> None:
    assert chances(small({"a": 0.75, "b": 0.25}), {"a": A, "b": B}, VIEW) == [0.8, 0.5, 0.9, 0.25]


def test_what_was_used_is_told_a_row() -> None:
    task = context_of(Y, "accuracy").task
    rows = np.arange(4)
    both = Says(RIGHT)

    def used(selection: Selection) -> dict[str, list[bool]]:
        found = answer(selection, {"a": A, "b": B, "both": both}, VIEW, rows, task).used
        return {name: values.tolist() for name, values in found.items()}

    assert used(small({"a": 1.0})) == {"a": [True, False, True, False], "b": [False] * 4}
    assert used(small({"a": 1.0}, "b")) == {"a": [True, False, True, False], "b": [False, True, False, False]}
    assert used(small({"both": 1.0})) == {"a": [True, False, True, False], "b": [True, True, False, False]}
    assert used(small({"a": 0.5, "b": 0.5})) == {"a": [True, False, True, False], "b": [True, True, False, False]}


def test_removed_inputs_are_not_asked() -> None:
    selection, predictors = small({"a": 1.0}, "b"), {"a": A, "b": B}
    nobody = {"a": [False] * 4, "b": [False] * 4}
    assert chances(selection, predictors, VIEW, **nobody) == [0.25] * 4
    assert chances(selection, predictors, VIEW, a=[False] * 4, b=[True, True, False, False]) == [0.5, 0.5, 0.25, 0.25]


def test_the_prior_is_not_tempered() -> None:
    tempered = chances(small({"a": 1.0}, temperature=2.0), {"a": A}, VIEW)
    assert tempered == [0.75, 0.25, 0.75, 0.25]  # the odds of 9 become 3; the prior stays


def test_the_choice_brings_its_fallback() -> None:
    predictors = {"a": Says(RIGHT, ("a",)), "b": Says(WRONG, ("b",)), "both": Says(UNSURE)}
    found = chosen(predictors, Y)
    assert found.weights == {"a": 1.0}
    assert found.fallback == ("both",)  # the best of those that can use what `a` cannot
    assert found.needed == ("a", "both")
    assert chosen({"both": Says(RIGHT), "a": Says(WRONG, ("a",))}, Y).fallback == ()
    assert chosen({"a": Says(RIGHT, ("a",)), "b": Says(WRONG, ("b",))}, Y).fallback == ("b",)


# From a file


def test_a_selection_comes_back_whole() -> None:
    found = Selection({"a": 0.25, "b": 0.75}, ("c",), 1.5, "f1", {"a": 0.5, "b": float("nan")}, ("because",))
    again = restore_selection(json.loads(json.dumps(asdict(found))))
    assert (again.weights, again.fallback, again.temperature) == (found.weights, found.fallback, found.temperature)
    assert (again.metric, again.reasons) == (found.metric, found.reasons)
    assert again.valid["a"] == 0.5
    assert math.isnan(again.valid["b"])


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {}},
        {"weights": {"a": 0.9}},
        {"weights": {"a": 2.0, "b": -1.0}},
        {"weights": {"a": float("nan")}},
        {"weights": {"a": "much"}},
        {"weights": 3},
        {"temperature": 0},
        {"temperature": -1},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"temperature": None},
        {"valid": None},
        {"valid": {"a": []}},
        {"fallback": None},
        {"reasons": 1},
    ],
)
def test_a_damaged_selection_is_an_error(change: dict[str, Any]) -> None:
    sound = {"weights": {"a": 1.0}, "fallback": [], "temperature": 1.0, "metric": "f1", "valid": {"a": None}, "reasons": []}
    restore_selection(sound)
    with pytest.raises(ConsilienceError, match="the selection of the run is damaged"):
        restore_selection(sound | change)
    for key in sound:
        with pytest.raises(ConsilienceError, match="the selection of the run is damaged"):
            restore_selection({name: value for name, value in sound.items() if name != key})
