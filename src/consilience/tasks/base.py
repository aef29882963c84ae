"""The contract of a task: what the target means, and everything between a model's raw numbers and an answer.

Three number spaces. The *target* is what stands in the table; *encoded* it is one number per row (a class index, a
standardised quantity). *Raw* is what a head or a linear model puts out, K numbers per row in encoded space. *Scores* are
comparable between predictors: log-probabilities, or values in units of the target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from consilience import component
from consilience.types import Cell, Claim, State

__all__ = ["Task"]

Measure = Callable[[np.ndarray], dict[str, float]]
"""Row weights [R] -> value of every metric."""


class Task(ABC):
    """Subclasses are final and hold a nested `Config`. What `fit` learns from training targets is in `state`."""

    metrics: ClassVar[tuple[str, ...]]
    proper: ClassVar[str]
    """The metric that is best, in expectation, only for the true answer: it breaks ties and guides ensembles."""

    class Config(component.Config):
        """No options."""

    outputs: int
    """K, the raw numbers per row. Known after `fit` or `restore`."""

    def __init__(self, *, config: component.Config) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def detect(cls, target: Sequence[Cell]) -> Claim | None:
        """Does this target ask for this task? The highest claim wins."""

    @abstractmethod
    def fit(self, target: Sequence[Cell]) -> None:
        """Learn classes or scales from the training rows' target. Raises ConsilienceError where nothing can be learned."""

    @property
    @abstractmethod
    def default_metric(self) -> str:
        """What selection and early stopping optimise where the recipe names no metric."""

    @abstractmethod
    def encode(self, target: Sequence[Cell]) -> np.ndarray:
        """[R] encoded. Raises ConsilienceError naming the cells that are no valid target."""

    def strata(self, target: Sequence[Cell]) -> np.ndarray | None:
        """[R] labels to balance a split by, or None. May be called before `fit`."""
        return None

    def balance(self, encoded: np.ndarray) -> np.ndarray:
        """[R] weights that the task itself puts on rows (class weights)."""
        return np.ones(len(encoded))

    def head(self, width: int) -> nn.Module:
        """Vector [B, width] -> raw [B, K]."""
        return nn.Linear(width, self.outputs)

    @abstractmethod
    def loss(self, raw: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
        """raw [B, K], encoded [B], weight [B] -> the weighted mean loss, a scalar."""

    @abstractmethod
    def scores(self, raw: np.ndarray) -> np.ndarray:
        """Raw [R, K] float64 -> scores [R, C] float64."""

    @abstractmethod
    def prior(self) -> np.ndarray:
        """Scores [C] of a row about which nothing is known: what the training rows say on average."""

    @abstractmethod
    def combine(self, scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Scores of P predictors, each [R, C], with weights [P, R] that sum to 1 over P -> scores [R, C]."""

    def calibrate(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        """The temperature that makes the scores of held-out rows fit best; 1 where there is no such thing."""
        return 1.0

    def temper(self, scores: np.ndarray, temperature: float) -> np.ndarray:
        """Scores at a temperature."""
        return scores

    def tune(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray, metric: str) -> None:
        """Set what turns scores into decisions (a threshold) to what is best for `metric` on held-out rows."""

    @abstractmethod
    def measure(self, scores: np.ndarray, encoded: np.ndarray) -> Measure:
        """A function from row weights to every metric of the task. Sorting and decoding are done here, once."""

    @abstractmethod
    def decode(self, scores: np.ndarray) -> list[Cell]:
        """The answers, as they would stand in the target column."""

    @abstractmethod
    def columns(self, scores: np.ndarray) -> Mapping[str, np.ndarray]:
        """Further columns of a prediction table (`probability_<class>`), by name, each [R]."""

    @abstractmethod
    def describe(self) -> str:
        """A sentence for people: what is predicted."""

    @abstractmethod
    def state(self) -> State:
        """What `fit` and `tune` learned."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Take back what `state` gave. Raises ConsilienceError where it is not valid."""


def as_number(cell: Any) -> float:
    """The cell as a finite float; NaN where it is none."""
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return float("nan")
    return value if np.isfinite(value) else float("nan")
