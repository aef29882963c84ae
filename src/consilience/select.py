"""No harm, first form: one choice on the validation rows, for all rows alike, among everything that was trained.

The choice is a set of weights over predictors, a temperature and the task's threshold; a later form has them per pattern
of present inputs. Whatever is chosen, a row that lacks all of its inputs is answered by the fallback, the best predictor
that can use what the row has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consilience.data.view import Present, View
from consilience.errors import fail
from consilience.predictors.base import Context, Predictor
from consilience.recipe import Select
from consilience.tasks.base import Task

PICKS = 20
"""The most picks of the greedy ensemble; a predictor's weight is its share of the picks."""


@dataclass(frozen=True)
class Selection:
    """Which predictors answer. `weights` sum to 1; `fallback` is asked where none of them has an input present.

    `valid` gives every candidate's metric on the validation rows, `reasons` the choice in words.
    """

    weights: Mapping[str, float]
    fallback: tuple[str, ...]
    temperature: float
    metric: str
    valid: Mapping[str, float]
    reasons: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """Predictors that must be kept to answer."""
        return (*self.weights, *self.fallback)


@dataclass(frozen=True, eq=False)
class Answer:
    """scores [R, C]; used: per input [R] bool, whether it took part in the row's answer."""

    scores: np.ndarray
    used: Mapping[str, np.ndarray]


def select(predictors: Mapping[str, Predictor], view: View, valid: np.ndarray, context: Context, recipe: Select) -> Selection:
    """Choose on the validation rows; sets the task's threshold on the way."""
    task = context.task
    encoded, weight = task.encode(view.target(valid)), view.weight(valid)
    scores = {name: predictor.scores(view, valid, task) for name, predictor in predictors.items()}
    value = {name: context.value(score, encoded, weight) for name, score in scores.items()}
    proper = {name: context.proper(score, encoded, weight) for name, score in scores.items()}
    # On few rows many are equal by a metric that counts; then the proper score tells them apart.
    ranked = sorted(predictors, key=lambda name: (-_or_worst(value[name]), -proper[name], name))
    if recipe.only is not None:
        weights, why = {recipe.only: 1.0}, f"{recipe.only}, as select.only says"
    elif recipe.method == "best" or len(ranked) == 1:
        weights, why = {ranked[0]: 1.0}, f"{ranked[0]} has the best {context.metric} on {len(valid)} validation rows"
    else:
        weights = _greedy(ranked, scores, encoded, weight, context)
        shares = " + ".join(f"{share:.2f} {name}" for name, share in weights.items())
        why = f"{shares}: a greedy ensemble, by {task.proper} on {len(valid)} validation rows"
    covered = {item for name in weights for item in predictors[name].inputs}
    whole = {item for predictor in predictors.values() for item in predictor.inputs}
    fallback = () if covered == whole else tuple(name for name in ranked if set(predictors[name].inputs) - covered)
    fallback = _enough(fallback, predictors, whole - covered)
    selection = Selection(weights, fallback, 1.0, context.metric, {name: context.shown(value[name]) for name in ranked}, (why,))
    answered = answer(selection, predictors, view, valid, task).scores
    temperature = task.calibrate(answered, encoded, weight) if recipe.calibrate else 1.0
    task.tune(task.temper(answered, temperature), encoded, weight, context.metric)
    return Selection(weights, fallback, temperature, context.metric, selection.valid, (why,))


def answer(
    selection: Selection,
    predictors: Mapping[str, Predictor],
    view: View,
    rows: np.ndarray,
    task: Task,
    present: Present | None = None,
) -> Answer:
    """What the chosen predictors say of `rows`; the task's prior where a row has no input at all."""
    scores = np.tile(task.prior(), (len(rows), 1))
    used = {name: np.zeros(len(rows), dtype=bool) for name in view.schema.names}
    can = {name: np.stack(list(predictors[name].present(view, rows, present).values())).any(0) for name in selection.needed}
    share = np.stack([weight * can[name] for name, weight in selection.weights.items()])
    answered = share.sum(0) > 0
    here = np.flatnonzero(answered)
    if len(here):
        parts = [_scores(predictors[name], view, rows, here, task, present) for name in selection.weights]
        scores[here] = task.combine(parts, share[:, here] / share[:, here].sum(0))
    for name in selection.weights:
        _mark(used, predictors[name], view, rows, answered & can[name], present)
    for name in selection.fallback:
        here = np.flatnonzero(~answered & can[name])
        if len(here):
            scores[here] = _scores(predictors[name], view, rows, here, task, present)
            _mark(used, predictors[name], view, rows, ~answered & can[name], present)
        answered = answered | can[name]
    return Answer(np.where(answered[:, None], task.temper(scores, selection.temperature), scores), used)


def restore_selection(value: Mapping[str, object]) -> Selection:
    """A Selection from JSON. Raises ConsilienceError where it is not valid."""
    try:
        weights = {str(name): float(share) for name, share in dict(value["weights"]).items()}  # type: ignore[call-overload]
        temperature = float(value["temperature"])  # type: ignore[arg-type]
        positive = all(0 < number < np.inf for number in (temperature, *weights.values()))
        if not positive or abs(sum(weights.values()) - 1) > 1e-6:
            raise ValueError("weights and temperature must be positive, and the weights sum to 1")
        valid = {str(name): float("nan") if item is None else float(item) for name, item in dict(value["valid"]).items()}  # type: ignore[call-overload]
        reasons = tuple(map(str, value["reasons"]))  # type: ignore[call-overload]
        return Selection(weights, tuple(map(str, value["fallback"])), temperature, str(value["metric"]), valid, reasons)  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError) as error:
        raise fail(f"the selection of the run is damaged: {error}", "weights, fallback, temperature", "train again") from None


def _greedy(
    ranked: list[str], scores: Mapping[str, np.ndarray], encoded: np.ndarray, weight: np.ndarray, context: Context
) -> dict[str, float]:
    """Greedy ensemble selection with replacement (Caruana et al. 2004), started from the best predictor.

    It climbs the task's proper score, which is smooth, and stops when a pick no longer improves it.
    """
    task = context.task
    picks = [ranked[0]]
    best = context.proper(scores[ranked[0]], encoded, weight)
    while len(picks) < PICKS:
        tried = {}
        for name in ranked:
            names = [*picks, name]
            share = np.full((len(names), len(encoded)), 1 / len(names))
            tried[name] = context.proper(task.combine([scores[item] for item in names], share), encoded, weight)
        name = max(tried, key=lambda item: tried[item])
        if tried[name] <= best:
            break
        best = tried[name]
        picks.append(name)
    return {name: picks.count(name) / len(picks) for name in ranked if name in picks}


def _enough(candidates: tuple[str, ...], predictors: Mapping[str, Predictor], missing: set[str]) -> tuple[str, ...]:
    """The first of `candidates`, in order, that together cover the inputs `missing`."""
    kept: list[str] = []
    for name in candidates:
        if missing & set(predictors[name].inputs):
            kept.append(name)
            missing = missing - set(predictors[name].inputs)
    return tuple(kept)


def _scores(
    predictor: Predictor, view: View, rows: np.ndarray, places: np.ndarray, task: Task, present: Present | None
) -> np.ndarray:
    removed = None if present is None else {name: values[places] for name, values in present.items()}
    return predictor.scores(view, rows[places], task, removed)


def _mark(
    used: dict[str, np.ndarray], predictor: Predictor, view: View, rows: np.ndarray, where: np.ndarray, present: Present | None
) -> None:
    for name, here in predictor.present(view, rows, present).items():
        used[name] |= where & here


def _or_worst(value: float) -> float:
    return -np.inf if np.isnan(value) else value
