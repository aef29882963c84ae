"""Multi-label classification: a row has any number of C labels, also none. Scores are log-odds [R, C], one a label.

A cell holds its labels as a list, as a JSON array in a string (or as Python prints a list), or as text between
separators. `[]` says that a row has no label, which is an answer like any other; an empty cell says nothing.

Log-odds and not log-probabilities: they hold how sure it is that a label is there and how sure that it is not, both
to the last digit.
"""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeGuard

import numpy as np
import torch.nn.functional as F
from pydantic import Field
from scipy.special import expit
from torch import Tensor

from consilience import metrics
from consilience.errors import fail
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

DECISIONS = ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "hamming_loss")
"""Metrics that depend on the threshold."""

THRESHOLDS = np.linspace(0.01, 0.99, 99)
"""What is tried. The best threshold for an F1 is half of the best F1 (Lipton et al. 2014): below are only useless ones."""

SEPARATORS = ("|", ";")
"""What is taken for a separator without being told. A comma is not: it stands in too many texts."""

_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"\[\]]+)"""
PYTHON_LIST = re.compile(rf"\[\s*{_ITEM}\s*(?:,\s*{_ITEM}\s*)*\]")
"""A flat list as Python prints it, and pandas writes it. Not as NumPy does, without commas: Python would join its words."""


class MultiLabel(Task):
    """Any number of C labels."""

    metrics: ClassVar[tuple[str, ...]] = (*DECISIONS, "roc_auc", "pr_auc", "log_loss", "ece")
    proper = "log_loss"
    link = "sigmoid"

    class Config(Task.Config):
        separator: str | None = Field(
            None, min_length=1, description="What stands between the labels of a text cell; default: | or ; where found."
        )

    def __init__(self, *, config: Config) -> None:
        super().__init__(config=config)
        self.options = config
        self.labels: tuple[Cell, ...] = ()
        self.frequency = np.zeros(0)
        self.separator: str | None = None
        self.threshold = 0.5

    @classmethod
    def detect(cls, target: Sequence[Cell]) -> Claim | None:
        listed = [items for cell in target if (items := _listed(cell)) is not None]
        if len(listed) >= 0.9 * len(target):
            items = [item for items in listed for item in items]
            if not all(map(_is_label, items)) or any(isinstance(item, float) and not item.is_integer() for item in items):
                return None
            different = len(set(map(label_key, items)))
            return Claim(0.95, f"{len(listed)} of {len(target)} cells are lists, of {different} different labels")
        separator = _found_separator(target)
        if separator is None or not all(isinstance(cell, str) for cell in target):
            return None
        rows = [frozenset(map(label_key, read_labels(cell, separator) or ())) for cell in target]
        several, labels, different = sum(len(row) > 1 for row in rows), len(frozenset().union(*rows)), len(set(rows))
        # A text with semicolons has more pieces than there are cells, a key such as DE;2024 always as many pieces.
        if several < 0.05 * len(rows) or 2 * labels > different or len(set(map(len, rows))) < 2:
            return None
        found = f"{several} of {len(rows)} cells hold several labels, with {separator!r} between them"
        return Claim(0.92, f"{found}, and {different} different cells are made of {labels} labels")

    def fit(self, target: Sequence[Cell]) -> None:
        self.separator = self.options.separator or _found_separator(target)
        found = {label_key(item): plain_label(item) for row in self._read(target) for item in row}
        keys = sorted(found, key=label_order)
        # Labels of several types would be no column of a table.
        self.labels = tuple(found[key] if len(set(map(type, found.values()))) == 1 else key for key in keys)
        self.outputs = len(keys)
        count = self.encode(target).sum(0)
        if (count == len(target)).all():
            raise fail(
                f"no label of the target is there in some of the {len(target)} training rows and not in others",
                "at least one label to tell rows apart",
                "choose another target, or check how the rows are split",
            )
        # Half a row is added with the label and half a one without: a label of every row must not be certain.
        self.frequency = (count + 0.5) / (len(target) + 1)

    @property
    def default_metric(self) -> str:
        # It needs no threshold, which is tuned last, and rare labels count as much as others.
        return "pr_auc"

    def encode(self, target: Sequence[Cell]) -> np.ndarray:
        """[R, C] float64, 1 where the row has the label."""
        index = {label_key(label): position for position, label in enumerate(self.labels)}
        keys = [set(map(label_key, row)) for row in self._read(target)]
        check_known(keys, index, "labels")
        encoded = np.zeros((len(keys), len(index)))
        for row, found in enumerate(keys):
            encoded[row, [index[key] for key in found]] = 1.0
        return encoded

    def strata(self, target: Sequence[Cell]) -> np.ndarray | None:
        """The rarest label of each row: a simple form of iterative stratification (Sechidis et al. 2011)."""
        separator = self.options.separator or _found_separator(target)
        keys = [set(map(label_key, read_labels(cell, separator) or ())) for cell in target]
        count = Counter(key for found in keys for key in found)
        rarest = [min(found, key=lambda key: (count[key], key), default="") for found in keys]
        return np.unique(rarest, return_inverse=True)[1]

    def loss(self, raw: Tensor, encoded: Tensor, weight: Tensor) -> Tensor:
        """The mean cross-entropy of a row's C decisions, averaged over the rows."""
        surprise = F.binary_cross_entropy_with_logits(raw, encoded, reduction="none").mean(1)
        return (surprise * weight).sum() / weight.sum().clamp(min=1e-12)

    def scores(self, raw: np.ndarray) -> np.ndarray:
        return raw

    def prior(self) -> np.ndarray:
        return np.log(self.frequency) - np.log1p(-self.frequency)

    def combine(self, scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
        # Probabilities are averaged, as for classes; those of both answers, so that none is rounded to 1.
        pairs = list(zip(weights, scores, strict=True))
        yes, no = (np.sum([weight[:, None] * expit(sign * score) for weight, score in pairs], axis=0) for sign in (1, -1))
        return np.log(np.maximum(yes, 1e-300)) - np.log(np.maximum(no, 1e-300))

    def calibrate(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        """Temperature scaling (Guo et al. 2017), one for all labels; each decision counts."""
        signed = np.where(encoded > 0, scores, -scores)
        return fit_temperature(lambda value: float((weight[:, None] * np.logaddexp(0, -signed / value)).sum()))

    def temper(self, scores: np.ndarray, temperature: float) -> np.ndarray:
        return scores / temperature

    def tune(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray, metric: str) -> None:
        if metric not in DECISIONS:
            return
        sign = 1 if metrics.GREATER_IS_BETTER[metric] else -1
        probability = expit(scores)
        measured = [metrics.label_decisions(encoded, probability >= edge)(weight)[metric] for edge in THRESHOLDS]
        value = np.nan_to_num(sign * np.array(measured), nan=-np.inf)
        best = np.flatnonzero(value >= value.max() - 1e-12)
        # Of equally good thresholds the one nearest to a half: it asks for the least faith in few rows.
        self.threshold = float(THRESHOLDS[best[np.argmin(np.abs(THRESHOLDS[best] - 0.5))]])

    def predicted(self, scores: np.ndarray) -> np.ndarray:
        """[R, C] bool, which labels a row is given."""
        return expit(scores) >= self.threshold

    def measure(self, scores: np.ndarray, encoded: np.ndarray) -> Measure:
        return metrics.multilabel(scores, encoded, self.predicted(scores))

    def decode(self, scores: np.ndarray) -> list[Cell]:
        return [[self.labels[index] for index in np.flatnonzero(row)] for row in self.predicted(scores)]

    def columns(self, scores: np.ndarray) -> Mapping[str, np.ndarray]:
        return {f"probability_{label_key(label)}": expit(scores[:, index]) for index, label in enumerate(self.labels)}

    def describe(self) -> str:
        shown = ", ".join(label_key(label) for label in self.labels[:6]) + (", ..." if self.outputs > 6 else "")
        return f"multi-label classification into {self.outputs} label{'s' * (self.outputs > 1)} ({shown})"

    def state(self) -> State:
        head = {"labels": list(self.labels), "frequency": self.frequency.tolist()}
        return State({**head, "threshold": self.threshold, "separator": self.separator})

    def restore(self, state: State) -> None:
        labels, frequency, separator = (state.json.get(key, 0) for key in ("labels", "frequency", "separator"))
        threshold = as_number(state.json.get("threshold"))
        sound = are_labels(labels, 1) and _are_chances(frequency) and len(labels) == len(frequency) and 0 <= threshold <= 1
        if not sound or not (separator is None or (isinstance(separator, str) and separator)):
            raise fail("the task of the run is damaged", "labels, frequencies, threshold, separator", "train the run again")
        self.labels, self.outputs = tuple(labels), len(labels)
        self.frequency, self.threshold, self.separator = np.array(frequency, dtype=np.float64), threshold, separator

    def _read(self, target: Sequence[Cell]) -> list[list[Cell]]:
        rows = [read_labels(cell, self.separator) for cell in target]
        wrong = [cell for cell, row in zip(target, rows, strict=True) if row is None]
        if wrong:
            raise fail(
                f"{len(wrong)} of {len(rows)} target cells hold no list of labels: " + ", ".join(map(repr, wrong[:5])),
                "lists of texts or numbers, JSON arrays, or labels between separators; [] for none",
                "mend the cells",
            )
        return [row for row in rows if row is not None]


def read_labels(cell: Cell, separator: str | None) -> list[Cell] | None:
    """The labels of a target cell; None where it holds none and does not say so with `[]`."""
    items = _listed(cell)
    if items is not None:
        return items if all(map(_is_label, items)) else None
    if isinstance(cell, str):
        pieces = cell.split(separator) if separator else [cell]
        return [piece.strip() for piece in pieces if piece.strip()] or None
    return [cell] if _is_label(cell) else None


def _listed(cell: Cell) -> list[Cell] | None:
    """The items of a list, or of a text that spells one; None for anything else."""
    if isinstance(cell, list | tuple | np.ndarray):
        return list(cell)
    if not isinstance(cell, str) or not (cell.strip().startswith("[") and cell.strip().endswith("]")):
        return None
    text = cell.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text) if PYTHON_LIST.fullmatch(text) else None
    except (ValueError, SyntaxError):
        return None


def _is_label(item: Any) -> bool:
    return item is not None and item == item and not is_nested(item) and bool(str(item).strip())


def _found_separator(target: Sequence[Cell]) -> str | None:
    """Of `SEPARATORS` the one that most text cells hold."""
    texts = [cell for cell in target if isinstance(cell, str) and _listed(cell) is None]
    count = {separator: sum(separator in cell for cell in texts) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: count[separator])
    return best if count[best] else None


def _are_chances(value: Any) -> TypeGuard[list[float]]:
    """Numbers between 0 and 1, neither included."""
    return isinstance(value, list) and all(isinstance(share, float) and 0 < share < 1 for share in value)
