"""Classification into two or more classes. Scores are log-probabilities [R, C].

Two classes are the case C = 2 with a decision threshold on the probability of the positive class, which is the last
class in order (1 after 0, "yes" after "no", True after False) unless the recipe names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeGuard

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from consilience import metrics
from consilience.errors import fail, nearest
from consilience.tasks.base import (
    Measure,
    Task,
    are_labels,
    as_number,
    check_known,
    fit_temperature,
    is_nested,
    label_key,
    label_order,
    plain_label,
)
from consilience.types import Cell, Claim, State

DECISIONS = ("accuracy", "balanced_accuracy", "macro_f1", "f1")
"""Metrics that depend on the threshold."""


class Classification(Task):
    """One of C classes."""

    metrics: ClassVar[tuple[str, ...]] = (*DECISIONS, "roc_auc", "pr_auc", "log_loss", "ece")
    proper = "log_loss"
    link = "softmax"

    class Config(Task.Config):
        class_weight: Literal["none", "balanced"] = Field(
            "none", description="balanced: rows of every class weigh the same in total while training."
        )
        positive: str | None = Field(None, description="The positive one of two classes; default: the last in order.")

    def __init__(self, *, config: Config) -> None:
        super().__init__(config=config)
        self.options = config
        self.classes: tuple[Cell, ...] = ()
        self.frequency = np.zeros(0)
        self.threshold = 0.5

    @classmethod
    def detect(cls, target: Sequence[Cell]) -> Claim | None:
        if any(map(is_nested, target)):
            return None
        distinct = {label_key(cell) for cell in target}
        numbers = np.fromiter(map(as_number, target), np.float64, len(target))
        if np.isnan(numbers).any():
            return Claim(0.9, f"{len(distinct)} different labels that are not all numbers")
        whole = bool((np.isfinite(numbers) & (numbers == np.floor(numbers))).all())
        if whole and len(distinct) <= max(20, 0.02 * len(target)) and len(distinct) < len(target):
            return Claim(0.9, f"{len(distinct)} different whole numbers in {len(target)} rows")
        return Claim(0.2, f"{len(distinct)} different numbers, to be taken as labels")

    def fit(self, target: Sequence[Cell]) -> None:
        _check_single(target)
        labels = {label_key(cell): plain_label(cell) for cell in target}
        if len(labels) < 2:
            raise fail(
                f"the target has one class only in the training rows: {next(iter(labels), 'nothing')!r}",
                "at least two classes",
                "choose another target, or check how the rows are split",
            )
        ordered = sorted(labels, key=label_order)
        positive = self.options.positive
        if positive is not None:
            positive = label_key(positive)
            if positive not in labels:
                raise fail(f"task.positive is {positive!r}, no label of the target", "a label", nearest(positive, labels))
            if len(labels) != 2:
                raise fail(f"task.positive is set, but the target has {len(labels)} classes", "two", "remove task.positive")
            ordered = sorted(ordered, key=lambda key: key == positive)
        self.classes = tuple(labels[key] for key in ordered)
        self.outputs = len(ordered)
        self.frequency = np.bincount(self.encode(target).astype(int), minlength=self.outputs) / len(target)

    @property
    def default_metric(self) -> str:
        return "roc_auc" if self.outputs == 2 else "accuracy"

    def encode(self, target: Sequence[Cell]) -> np.ndarray:
        _check_single(target)
        index = {label_key(label): position for position, label in enumerate(self.classes)}
        encoded = np.fromiter((index.get(label_key(cell), -1) for cell in target), np.int64, len(target))
        if (encoded < 0).any():
            check_known([(label_key(cell),) for cell in target], index, "classes")
        return encoded

    def strata(self, target: Sequence[Cell]) -> np.ndarray | None:
        index: dict[str, int] = {}
        codes = np.fromiter((index.setdefault(label_key(cell), len(index)) for cell in target), np.int64, len(target))
        return np.argsort(np.argsort(list(index)))[codes]  # in the order of the labels

    def balance(self, encoded: np.ndarray) -> np.ndarray:
        if self.options.class_weight == "none":
            return np.ones(len(encoded))
        return 1.0 / (self.outputs * self.frequency[encoded])

    def loss(self, raw: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
        return (F.cross_entropy(raw, encoded, reduction="none") * weight).sum() / weight.sum().clamp(min=1e-12)

    def scores(self, raw: np.ndarray) -> np.ndarray:
        return _log_softmax(raw)

    def prior(self) -> np.ndarray:
        return np.log(self.frequency)

    def combine(self, scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        # Probabilities are averaged, not logits: one predictor's certainty must not overrule all others.
        mixed = sum(weight[:, None] * np.exp(score) for weight, score in zip(weights, scores, strict=True))
        return np.log(np.maximum(mixed, 1e-300))

    def calibrate(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        """Temperature scaling (Guo et al. 2017)."""
        rows = np.arange(len(encoded))
        return fit_temperature(lambda value: float(-(weight * self.temper(scores, value)[rows, encoded]).sum()))

    def temper(self, scores: np.ndarray, temperature: float) -> np.ndarray:
        return scores if temperature == 1.0 else _log_softmax(scores / temperature)

    def tune(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray, metric: str) -> None:
        if self.outputs != 2 or metric not in DECISIONS:
            return
        probability = np.exp(scores[:, 1])
        edges = np.unique(probability)
        if len(edges) > 200:
            edges = np.unique(np.quantile(probability, np.linspace(0, 1, 201)))
        candidates = np.concatenate([[0.5], (edges[1:] + edges[:-1]) / 2])
        value = [
            metrics.classification(scores, encoded, (probability >= edge).astype(np.int64))(weight)[metric]
            for edge in candidates
        ]
        value = np.nan_to_num(value, nan=-np.inf)  # f1 is undefined where nobody is of the class or said to be
        best = np.flatnonzero(value >= value.max() - 1e-12)
        # Of equally good thresholds the one nearest to a half: it asks for the least faith in few rows.
        self.threshold = float(candidates[best[np.argmin(np.abs(candidates[best] - 0.5))]])

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        """Class index [R]."""
        if self.outputs == 2:
            return (np.exp(scores[:, 1]) >= self.threshold).astype(np.int64)
        return scores.argmax(1)

    def measure(self, scores: np.ndarray, encoded: np.ndarray) -> Measure:
        return metrics.classification(scores, encoded, self.predicted(scores))

    def decode(self, scores: np.ndarray) -> list[Cell]:
        return [self.classes[index] for index in self.predicted(scores)]

    def columns(self, scores: np.ndarray) -> Mapping[str, np.ndarray]:
        return {f"probability_{label_key(label)}": np.exp(scores[:, index]) for index, label in enumerate(self.classes)}

    def describe(self) -> str:
        shown = ", ".join(label_key(label) for label in self.classes[:6]) + (", ..." if self.outputs > 6 else "")
        positive = f"; positive class {label_key(self.classes[1])}" if self.outputs == 2 else ""
        return f"classification into {self.outputs} classes ({shown}){positive}"

    def state(self) -> State:
        head = {"classes": list(self.classes), "threshold": self.threshold, "frequency": self.frequency.tolist()}
        return State(head)

    def restore(self, state: State) -> None:
        classes, frequency = state.json.get("classes"), state.json.get("frequency")
        threshold = as_number(state.json.get("threshold"))
        if not (are_labels(classes, 2) and _are_shares(frequency) and len(classes) == len(frequency) and 0 <= threshold <= 1):
            raise fail("the task of the run is damaged", "classes, their frequencies and a threshold", "train the run again")
        self.classes, self.outputs = tuple(classes), len(classes)
        self.frequency, self.threshold = np.array(frequency, dtype=np.float64), threshold


def _check_single(target: Sequence[Cell]) -> None:
    nested = [cell for cell in target if is_nested(cell)]
    if nested:
        raise fail(
            f"{len(nested)} of {len(target)} target cells hold more than one value: {nested[0]!r}",
            "one label in every row",
            "set task.kind=multilabel where a row may have several labels",
        )


def _are_shares(value: Any) -> TypeGuard[list[float]]:
    """Positive numbers that sum to 1."""
    if not isinstance(value, list) or not all(isinstance(share, float) and share > 0 for share in value):
        return False
    return bool(np.isclose(sum(value), 1.0))


def _log_softmax(raw: np.ndarray) -> np.ndarray:
    shifted = raw - raw.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
