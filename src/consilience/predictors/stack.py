"""A linear model over the out-of-fold scores of each input: late fusion that learns whom to trust.

Averaging the inputs' log-probabilities unweighted lost 6 to 10 points on a set where one input knows little; weighted by
what out-of-fold scores teach, the same opinions were the best of all means without a network (docs/design.md has the
measurements).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.errors import fail
from consilience.predictors.base import Context, Predictor, fitted_on, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import Features, part
from consilience.train.linear import Linear, checked, choose_linear, fit_linear
from consilience.train.stacking import Scorers, labelled
from consilience.types import Schema, State


class Stack(Predictor):
    """raw = weights . [scores of a linear model of each input] + bias."""

    class Config(Predictor.Config):
        folds: int = Field(5, ge=2, description="Folds of the out-of-fold scores.")
        strength: float | None = Field(None, gt=0, description="L2 penalty; default: chosen on the validation rows.")
        strengths: dict[str, Annotated[float, Field(gt=0)]] = Field(
            {}, description="L2 penalty of an input's own model; default: chosen likewise."
        )

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        self.strength = config.strength
        self.check_names("strengths", config.strengths)
        self.scorers = Scorers(
            {name: Features({name: make_encoder(config, schema[name])}) for name in self.inputs}, config.strengths
        )
        self.scale: dict[str, float] = {}
        self.model = Linear(np.zeros((0, 0)), np.zeros(0))

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        task = context.task
        train, valid = fitted_on(train, valid, context, budget)
        fitted = labelled(view, train, task, balance=True)
        held_out = labelled(view, valid, task, balance=False) if valid is not None else None
        scores = self.scorers.fit(view, fitted, held_out, task, self.options.folds, context.seed)
        lengths = {name: np.sqrt(np.nanmean(np.square(values).sum(1))) for name, values in scores.items() if _any(values)}
        self.scale = {name: float(1 / lengths[name]) if lengths.get(name, 0) > 1e-9 else 0.0 for name in scores}
        rows = (self._matrix(scores), fitted.encoded, fitted.weight)
        if self.strength is None:
            assert held_out is not None, "without a strength there must be validation rows to choose it"
            matrix = self._matrix(self.scorers.scores(view, held_out.rows, self.present(view, held_out.rows)))
            self.strength, self.model = choose_linear(rows, (matrix, held_out.encoded, held_out.weight), task)
        else:
            self.model = fit_linear(*rows, task, self.strength)

    def settled(self) -> Config:
        return self.options.model_copy(update={"strength": self.strength, "strengths": self.scorers.strengths})

    def encoded_by(self) -> Mapping[str, Encoder]:
        return self.scorers.encoders

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        return self.model.raw(self._matrix(self.scorers.scores(view, rows, present)))

    def state(self) -> State:
        state = self.scorers.state()
        arrays = {f"scorers/{key}": value for key, value in state.arrays.items()}
        return State(
            {"scorers": state.json, "scale": self.scale}, arrays | {"weights": self.model.weights, "bias": self.model.bias}
        )

    def restore(self, state: State, task: Task) -> None:
        self.scorers.restore(State(state.json.get("scorers", {}), part(state.arrays, "scorers")), task)
        self.scale = dict(state.json.get("scale", {}))
        sound = all(isinstance(value, float) and 0 <= value <= 1e10 for value in self.scale.values())
        if set(self.scale) != set(self.inputs) or not sound:
            raise fail("the scales of a stack are damaged", "a number for every input", "train the run again")
        width = len(self.inputs) * (task.outputs + 1)
        self.model = checked(state.arrays.get("weights"), state.arrays.get("bias"), width, task.outputs)

    def _matrix(self, scores: Mapping[str, np.ndarray]) -> np.ndarray:
        """[R, inputs * (K + 1)]: each input's scaled scores, zero where missing, and whether it is missing."""
        blocks = []
        for name in self.inputs:
            missing = np.isnan(scores[name])
            blocks += [np.where(missing, 0.0, scores[name] * self.scale[name]), missing[:, :1].astype(np.float64)]
        return np.concatenate(blocks, axis=1)


def _any(values: np.ndarray) -> bool:
    return bool((~np.isnan(values)).any())
