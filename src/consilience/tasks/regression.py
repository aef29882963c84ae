"""Regression of one number. Scores are values [R, 1] in units of the target; encoded, they are standardised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field
from torch import Tensor

from consilience import metrics
from consilience.errors import fail
from consilience.tasks.base import Measure, Task, as_number
from consilience.types import Cell, Claim, State

_MOST = 1e100
"""Larger targets are refused, and smaller differences are none: their squares would be no numbers of float64."""


class Regression(Task):
    """One finite number; with `log` the model works on log(1 + target)."""

    metrics: ClassVar[tuple[str, ...]] = ("mae", "rmse", "mape", "r2", "spearman")
    proper = "rmse"
    link = "identity"
    outputs = 1

    class Config(Task.Config):
        log: bool = Field(False, description="Fit log(1 + target): for targets >= 0 over several orders of magnitude.")

    def __init__(self, *, config: Config) -> None:
        super().__init__(config=config)
        self.options = config
        self.mean, self.scale, self.level = 0.0, 1.0, 0.0

    @classmethod
    def detect(cls, target: Sequence[Cell]) -> Claim | None:
        numbers = np.fromiter(map(as_number, target), np.float64, len(target))
        if np.isnan(numbers).any():
            return None
        return Claim(0.5, f"numbers with {len(np.unique(numbers))} different values")

    def fit(self, target: Sequence[Cell]) -> None:
        values = self._numbers(target)
        inner = np.log1p(values) if self.options.log else values
        if np.ptp(inner) < 1 / _MOST:
            raise fail(f"the target is {values[0]:g} in every training row", "a target that varies", "choose another target")
        self.mean, self.scale, self.level = float(inner.mean()), float(inner.std()), float(values.mean())

    @property
    def default_metric(self) -> str:
        return "rmse"

    def encode(self, target: Sequence[Cell]) -> np.ndarray:
        values = self._numbers(target)
        return ((np.log1p(values) if self.options.log else values) - self.mean) / self.scale

    def loss(self, raw: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
        return ((raw.squeeze(1) - encoded).square() * weight).sum() / weight.sum().clamp(min=1e-12)

    def scores(self, raw: np.ndarray) -> np.ndarray:
        # Far outside of what was seen, exp would overflow, and the square of an error; both bounds are further than any target.
        inner = np.clip(raw, -40, 40) * self.scale + self.mean if self.options.log else raw * self.scale + self.mean
        return np.expm1(np.minimum(inner, 250.0)) if self.options.log else inner

    def prior(self) -> np.ndarray:
        return np.array([self.level])

    def combine(self, scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        return np.sum([weight[:, None] * score for weight, score in zip(weights, scores, strict=True)], axis=0)

    def measure(self, scores: np.ndarray, encoded: np.ndarray) -> Measure:
        return metrics.regression(scores[:, 0], self.scores(encoded[:, None])[:, 0])

    def decode(self, scores: np.ndarray) -> list[Cell]:
        return [float(value) for value in scores[:, 0]]

    def columns(self, scores: np.ndarray) -> Mapping[str, np.ndarray]:
        return {}

    def describe(self) -> str:
        return "regression of a number" + (", on log(1 + target)" if self.options.log else "")

    def state(self) -> State:
        return State({"mean": self.mean, "scale": self.scale, "level": self.level})

    def restore(self, state: State) -> None:
        mean, scale, level = (as_number(state.json.get(key)) for key in ("mean", "scale", "level"))
        if not np.isfinite([mean, scale, level]).all() or scale <= 0:
            raise fail("the task of the run is damaged", "a mean, a positive scale and a level", "train the run again")
        self.mean, self.scale, self.level = mean, scale, level

    def _numbers(self, target: Sequence[Cell]) -> np.ndarray:
        values = np.fromiter(map(as_number, target), np.float64, len(target))
        lowest = 0.0 if self.options.log else -_MOST
        wrong = [cell for cell, value in zip(target, values, strict=True) if not lowest <= value <= _MOST]
        if wrong:
            raise fail(
                f"{len(wrong)} of {len(values)} target cells are no "
                + ("finite numbers >= 0" if self.options.log else "finite numbers")
                + (f" up to {_MOST:g}" if np.isfinite(values).any() and np.nanmax(np.abs(values)) > _MOST else "")
                + ": "
                + ", ".join(repr(cell) for cell in wrong[:5]),
                "a number in every row that is trained on or scored",
                "mend the cells" + (", or set task.log=false" if self.options.log else ", or set task.kind=classification"),
            )
        return values
