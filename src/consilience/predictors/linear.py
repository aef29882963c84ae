"""A regularised linear model on the pooled tokens of all inputs: hard to beat where rows are few."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.predictors.base import Context, Predictor, fitted_on, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train import linear as solver
from consilience.train.features import Features
from consilience.types import Schema, State


class Linear(Predictor):
    """raw = weights . [pooled tokens of every input] + bias."""

    class Config(Predictor.Config):
        strength: float | None = Field(None, gt=0, description="L2 penalty; default: chosen on the validation rows.")

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        self.strength = config.strength
        self.features = Features({name: make_encoder(config, schema[name]) for name in self.inputs})
        self.model = solver.Linear(np.zeros((0, 0)), np.zeros(0))

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        train, valid = fitted_on(train, valid, context, budget)
        self.features.fit(view, train, context.seed)
        task = context.task
        encoded = task.encode(view.target(train))
        matrix = self.features.matrix(view, train, self.present(view, train))
        rows = (matrix, encoded, view.weight(train) * task.balance(encoded))
        if self.strength is None:
            assert valid is not None, "without a strength there must be validation rows to choose it"
            matrix = self.features.matrix(view, valid, self.present(view, valid))
            held_out = (matrix, task.encode(view.target(valid)), view.weight(valid))
            self.strength, self.model = solver.choose_linear(rows, held_out, task)
        else:
            self.model = solver.fit_linear(*rows, task, self.strength)

    def settled(self) -> Config:
        return self.options.model_copy(update={"strength": self.strength})

    def encoded_by(self) -> Mapping[str, Encoder]:
        return self.features.encoders

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        return self.model.raw(self.features.matrix(view, rows, present))

    def state(self) -> State:
        state = self.features.state()
        return State(state.json, {**state.arrays, "weights": self.model.weights, "bias": self.model.bias})

    def restore(self, state: State, task: Task) -> None:
        self.features.restore(state)
        self.model = solver.checked(state.arrays.get("weights"), state.arrays.get("bias"), self.features.width, task.outputs)
