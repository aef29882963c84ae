"""Out-of-fold scores (stacking, Wolpert 1992): what a linear model of each input alone says of every row.

On training rows the scores come from models that did not see the row, else whatever combines them would trust them too
much. Encoders are fitted once on all training rows: they see no target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from consilience.data.split import kfold
from consilience.data.store import digest
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.tasks.base import Task
from consilience.train.features import Features, part
from consilience.train.linear import Linear, checked, choose_linear, fit_linear
from consilience.types import State


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows [R] of a view with what a fit needs of them: encoded target [R] or [R, C], and weight [R]."""

    rows: np.ndarray
    encoded: np.ndarray
    weight: np.ndarray


def labelled(view: View, rows: np.ndarray, task: Task, *, balance: bool) -> Rows:
    """Rows with their encoded target, weighted; `balance`: by the task's class weights too, as training does."""
    encoded = task.encode(view.target(rows))
    weight = view.weight(rows)
    return Rows(rows, encoded, weight * task.balance(encoded) if balance else weight)


class Scorers:
    """A linear model of each input alone. `strengths` are settled penalties; what is not settled is chosen in `fit`."""

    def __init__(self, features: Mapping[str, Features], strengths: Mapping[str, float]) -> None:
        self.features = features
        self.strengths = dict(strengths)
        self.models: dict[str, Linear] = {}
        self.link = ""

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoder of each input."""
        return {name: features.encoders[name] for name, features in self.features.items()}

    def fit(self, view: View, train: Rows, valid: Rows | None, task: Task, folds: int, seed: int) -> dict[str, np.ndarray]:
        """Fit every model on all of `train`; per input the out-of-fold scores [R, K] of its rows, NaN where missing.

        Predictors that ask for the same scores share them.
        """
        scores, self.link = {}, task.link
        for name, features in self.features.items():
            features.fit(view, train.rows, seed)
            parts = [train.rows, train.encoded, train.weight]
            parts += [valid.rows, valid.encoded, valid.weight] if valid is not None else []
            key = ("scores", features.encoders[name].fingerprint(), digest(*parts), folds, seed, self.strengths.get(name))
            made = view.store.once(
                key,
                lambda name=name: self._fit(name, view, train, valid, task, folds, seed),
                lambda made: made[2].nbytes + 4096,
            )
            self.strengths[name], self.models[name], scores[name] = made
        return scores

    def scores(self, view: View, rows: np.ndarray, present: Present) -> dict[str, np.ndarray]:
        """Per input [R, K], NaN where it is missing."""
        found = {}
        for name, features in self.features.items():
            said = _said(self.models[name], features.matrix(view, rows, {name: present[name]}), self.link)
            found[name] = np.where(present[name][:, None], said, np.nan)
        return found

    def state(self) -> State:
        states = {name: features.state() for name, features in self.features.items()}
        arrays = {f"{name}/features/{key}": value for name, state in states.items() for key, value in state.arrays.items()}
        arrays |= {f"{name}/weights": model.weights for name, model in self.models.items()}
        arrays |= {f"{name}/bias": model.bias for name, model in self.models.items()}
        return State({name: state.json for name, state in states.items()}, arrays)

    def restore(self, state: State, task: Task) -> None:
        """Take back what `state` gave. Raises ConsilienceError where it is not valid."""
        self.link = task.link
        for name, features in self.features.items():
            arrays = part(state.arrays, name)
            features.restore(State(state.json.get(name, {}), part(arrays, "features")))
            self.models[name] = checked(arrays.get("weights"), arrays.get("bias"), features.width, task.outputs)

    def _fit(
        self, name: str, view: View, train: Rows, valid: Rows | None, task: Task, folds: int, seed: int
    ) -> tuple[float, Linear, np.ndarray]:
        """(strength, model, out-of-fold scores) of one input."""
        features, strength = self.features[name], self.strengths.get(name)
        here = view.present(train.rows, (name,))
        seen = np.flatnonzero(here[name])
        scores = np.full((len(train.rows), task.outputs), np.nan)
        groups = view.groups(train.rows)
        units = len(seen) if groups is None else len(np.unique(groups[seen]))
        if len(seen) < folds or units < 2:  # hardly ever there: nothing to learn from it
            return strength or 1.0, Linear(np.zeros((features.width, task.outputs)), np.zeros(task.outputs)), scores
        matrix = features.matrix(view, train.rows, here)
        fitted = (matrix[seen], train.encoded[seen], train.weight[seen])
        if strength is None:
            assert valid is not None, "without a strength there must be validation rows to choose it"
            there = view.present(valid.rows, (name,))
            kept = there[name] if there[name].any() else np.ones(len(valid.rows), dtype=bool)
            held_out = (features.matrix(view, valid.rows, there)[kept], valid.encoded[kept], valid.weight[kept])
            strength, whole = choose_linear(fitted, held_out, task)
        else:
            whole = fit_linear(*fitted, task, strength)
        labels = task.strata(view.target(train.rows))
        folds = min(folds, units)
        fold = kfold(seen, folds, labels, groups, np.random.default_rng([seed, *name.encode()]))
        for index in range(folds):
            # From zero: a start from the model of all rows would let the left-out ones shine through.
            features_in, encoded_in, weight_in = (part[fold != index] for part in fitted)
            model = fit_linear(features_in, encoded_in, weight_in, task, strength)
            scores[seen[fold == index]] = _said(model, fitted[0][fold == index], task.link)
        return strength, whole, scores


def _said(model: Linear, features: np.ndarray, link: str) -> np.ndarray:
    """What a model says of each row, [R, K].

    Raw numbers of classes count only up to a constant per row. Of labels, what the input adds to the odds counts: the bias
    says how frequent a label is, and out of fold it would tell which fold has its few rows.
    """
    raw = model.raw(features)
    if link == "softmax":
        return raw - raw.mean(1, keepdims=True)
    return raw - model.bias if link == "sigmoid" else raw
