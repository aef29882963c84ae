"""The contract of a task: what the target means, and everything between a model's raw numbers and an answer.

Three number spaces. The *target* is what stands in the table; *encoded* it is one number per row (a class index, a
standardised quantity) or a row of 0 and 1 (labels). *Raw* is what a head or a linear model puts out, K numbers per row in
encoded space. *Scores* are comparable between predictors: log-probabilities, log-odds, or values in units of the target.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
from torch import Tensor, nn

from consilience import component
from consilience.errors import fail, nearest
from consilience.types import Cell, Claim, State

__all__ = ["Task"]

Measure = Callable[[np.ndarray], dict[str, float]]
"""Row weights [R] -> value of every metric."""


class Task(ABC):
    """Subclasses are final and hold a nested `Config`. What `fit` learns from training targets is in `state`."""

    metrics: ClassVar[tuple[str, ...]]
    proper: ClassVar[str]
    """The metric that is best, in expectation, only for the true answer: it breaks ties and guides ensembles."""

    link: ClassVar[Literal["softmax", "sigmoid", "identity"]]
    """What raw numbers are. softmax: of classes, they count up to a constant per row; sigmoid: each is a log-odds of its own;
    identity: quantities."""

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
        """[R] or [R, C] encoded. Raises ConsilienceError naming the cells that are no valid target."""

    def strata(self, target: Sequence[Cell]) -> np.ndarray | None:
        """[R] labels to balance a split by, or None. May be called before `fit`, and with "" for cells without a target."""
        return None

    def balance(self, encoded: np.ndarray) -> np.ndarray:
        """[R] weights that the task itself puts on rows (class weights)."""
        return np.ones(len(encoded))

    def head(self, width: int) -> nn.Module:
        """Vector [B, width] -> raw [B, K]."""
        return nn.Linear(width, self.outputs)

    @abstractmethod
    def loss(self, raw: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
        """raw [B, K], encoded [B] or [B, C], weight [B] -> the weighted mean loss, a scalar."""

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
    except (TypeError, ValueError, OverflowError):
        return float("nan")
    return value if math.isfinite(value) else float("nan")


def label_key(cell: Any) -> str:
    """One label however the file spells its type: 1, "1", 1.0 and "1.0" are one class, as a CSV and a Parquet copy agree."""
    return _key(str(cell).strip())


@lru_cache(maxsize=4096)  # a target has many cells and few labels
def _key(text: str) -> str:
    number = as_number(text)
    return str(int(number)) if number.is_integer() and str(number) == text else text


def label_order(key: str) -> tuple[bool, float, str]:
    """What keys of labels are sorted by: numbers first, in their order, then words."""
    number = as_number(key)
    return (bool(np.isnan(number)), 0.0 if np.isnan(number) else number, key)


def plain_label(cell: Cell) -> Cell:
    """A label as JSON can hold it."""
    return cell if isinstance(cell, str | bool | int | float) else str(cell)


def is_text(value: Any) -> bool:
    """A string that a file can hold: JSON can spell halves of characters, which are none."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def are_labels(value: Any, least: int) -> TypeGuard[list[Cell]]:
    """At least so many, all different and of one type, as JSON and a column of answers can hold them."""
    if not isinstance(value, list) or not all(isinstance(label, str | int | float | bool) for label in value):
        return False
    if len(set(map(type, value))) > 1 or any(isinstance(label, int) and abs(label) >= 2**63 for label in value):
        return False
    if not all(is_text(label) for label in value if isinstance(label, str)):
        return False
    return len({label_key(label) for label in value}) == len(value) >= least


def check_known(keys: Sequence[Collection[str]], known: Collection[str], word: str) -> None:
    """Raise ConsilienceError where a cell's `keys` are not all `known` from training; `word` is what these are called."""
    unknown = sorted({key for found in keys for key in found if key not in known})
    if unknown:
        raise fail(
            f"{sum(any(key not in known for key in found) for found in keys)} of {len(keys)} target cells hold labels "
            "without training rows: " + ", ".join(map(repr, unknown[:10])),
            f"one of the {len(known)} {word} of the training rows",
            nearest(unknown[0], known),
        )


def is_nested(cell: Any) -> bool:
    """A cell that holds more than one value: a list, a mapping."""
    return isinstance(cell, list | tuple | dict | np.ndarray)


def fit_temperature(surprise: Callable[[float], float]) -> float:
    """The temperature T that makes `surprise(T)`, a sum over rows, least: golden-section search over log T in [-2, 2].

    A normal prior of deviation 1/2 on log T keeps a few validation rows without an error from asking for certainty.
    """

    def loss(log_temperature: float) -> float:
        return surprise(float(np.exp(log_temperature))) + 2 * log_temperature**2

    low, high, ratio = -2.0, 2.0, (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
