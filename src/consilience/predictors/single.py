"""One model for each input alone: what every fusion has to beat.

The entry `single` of a recipe stands for one predictor an input, named `single.<input>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from consilience import component
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.predictors.base import Context, Predictor
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.types import Schema, State


class Single(Predictor):
    """A predictor of another kind, restricted to one input."""

    class Config(Predictor.Config):
        model: str = Field("linear", description="The kind of predictor that stands behind each input.")
        options: dict[str, Any] = Field({}, description="Options of that predictor.")

        @model_validator(mode="after")
        def _options_are_valid(self) -> Single.Config:
            if self.model == "single":
                raise ValueError("single.model must be another kind of predictor")
            for key in ("inputs", "encoder", "encoders"):
                if key in self.options:
                    raise ValueError(f"single.options must not hold {key}: set it beside options")
            component.find("predictors", self.model).Config.model_validate(self.options)  # type: ignore[attr-defined]
            return self

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        shared = {"inputs": self.inputs, "encoder": config.encoder, "encoders": config.encoders}
        cls = component.find("predictors", config.model)
        self.model: Predictor = cls(config=cls.Config.model_validate(shared | config.options), schema=schema)  # type: ignore[attr-defined]

    @classmethod
    def expand(cls, name: str, config: Config, schema: Schema) -> dict[str, Predictor]:
        whole = cls(config=config, schema=schema)
        return {
            f"{name}.{item}": cls(config=config.model_copy(update={"inputs": (item,)}), schema=schema) for item in whole.inputs
        }

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        self.model.fit(view, train, valid, context, rng, budget)
        self.history = self.model.history

    def settled(self) -> Config:
        inner = self.model.settled().model_dump(mode="json")
        kept = {key: value for key, value in inner.items() if key not in ("inputs", "encoder", "encoders")}
        return self.options.model_copy(update={"options": kept})

    def encoded_by(self) -> Mapping[str, Encoder]:
        return self.model.encoded_by()

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        return self.model.raw(view, rows, present)

    def state(self) -> State:
        return self.model.state()

    def restore(self, state: State, task: Task) -> None:
        self.model.restore(state, task)
