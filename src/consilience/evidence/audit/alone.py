"""What a column alone says of the target, on rows that did not teach it.

Numbers are asked by their value and by their order, categories by value, texts by naive Bayes over their words and by the
one word that best marks each class. Two folds: each teaches the other. At most `ROWS` rows are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from consilience.evidence.audit import quick
from consilience.evidence.audit.finding import Examined
from consilience.evidence.audit.quick import Seen
from consilience.tasks.base import Task
from consilience.types import Cell

ROWS = 5000
FEWEST = 20
"""Rows below which nothing is said of the target."""
ENOUGH = 200
"""Rows from which a column can be said to predict the target."""
RARE = 10
"""The second most frequent class must have so many rows: with fewer, always guessing the first is almost right."""
WRONG = 0.005
"""The share of rows, or of the variance, that a column may leave wrong and still give the target away."""
MARKING = 0.9
"""The precision times the recall of a word that marks a class."""
BUCKETS = 1 << 16


@dataclass(frozen=True, eq=False)
class Known:
    """The target of the rows that are looked at: classes 0 to C - 1, or numbers (`classes` is 0)."""

    rows: np.ndarray
    target: np.ndarray
    classes: int
    cells: list[Cell]
    fold: np.ndarray  # 0 or 1, at random

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.target.nbytes + self.fold.nbytes + 64 * len(self.cells)

    def of(self, chosen: np.ndarray) -> Known:
        """The rows that are `chosen`, [R] bool, alone."""
        cells = [cell for cell, here in zip(self.cells, chosen.tolist(), strict=True) if here]
        return Known(self.rows[chosen], self.target[chosen], self.classes, cells, self.fold[chosen])

    @property
    def base(self) -> float:
        """The share that the commonest class gets wrong."""
        return 1.0 - float(np.bincount(self.target).max()) / len(self.target)

    @property
    def limit(self) -> float:
        """How much a column may leave wrong and still give the target away."""
        return min(WRONG, self.base / 20) if self.classes > 0 else WRONG

    @property
    def asked(self) -> bool:
        """Are there rows and variety enough to call a column a leak?"""
        if len(self.rows) < ENOUGH:
            return False
        return self.classes == 0 or int(np.sort(np.bincount(self.target, minlength=2))[-2]) >= RARE


def known(examined: Examined) -> Known | None:
    """The target as leaks are looked for in; None where there is none."""
    task, target = examined.task, examined.view.schema.target
    rows = quick.sampled(examined, quick.labelled(examined), ROWS)
    if task is None or target is None or len(rows) < FEWEST:
        return None

    def make() -> Known:
        cells = quick.cells_of(examined, target, rows)
        fold = np.random.default_rng([examined.recipe.seed, 2]).integers(0, 2, len(rows))
        return Known(rows, *_encoded(task, cells), cells, fold)

    return quick.once(examined, f"target {examined.recipe.seed} {task.describe()}", target, rows, make)


def _encoded(task: Task, cells: list[Cell]) -> tuple[np.ndarray, int]:
    encoded = task.encode(cells)
    if task.link == "identity":
        return encoded.astype(np.float64), 0
    if encoded.ndim == 1:
        return encoded.astype(np.int64), task.outputs
    return np.unique(encoded, axis=0, return_inverse=True)[1].reshape(-1), -1  # sets of labels: only copies are looked for


def error(about: Known, cells: list[Cell], item: Seen, examined: Examined) -> float:
    """What a column alone leaves wrong, on the fold that did not teach it: the least over the ways to ask it."""
    values = quick.numbers(cells)
    if values is None:
        values = quick.moments(cells)
    code = quick.codes(cells)
    errors = [1.0]
    if code.max() < len(cells) // 2:
        errors.append(by_value(about, code))
    if values is not None:
        errors.append(_by_order(about, values))
    elif about.classes and any(isinstance(cell, str) and " " in cell.strip() for cell in cells[:200]):
        errors.append(_by_words(about, quick.words(examined, item.column, about.rows)))
    return min(errors)


def by_value(about: Known, code: np.ndarray) -> float:
    """Each value says what it said in the other fold: its commonest class, or its mean."""
    wrong = np.zeros(len(code))
    for fold in (0, 1):
        taught, asked = about.fold != fold, about.fold == fold
        if not taught.any():
            return 1.0
        if about.classes:
            table = crossed(code[taught], about.target[taught], about.classes, code.max() + 1)
            common = np.bincount(about.target[taught], minlength=about.classes).argmax()
            answer = np.where(table.sum(1) > 0, table.argmax(1), common)
            wrong[asked] = answer[code[asked]] != about.target[asked]
        else:
            count = np.bincount(code[taught], minlength=code.max() + 1)
            total = np.bincount(code[taught], about.target[taught], minlength=code.max() + 1)
            mean = np.where(count > 0, total / np.maximum(count, 1), about.target[taught].mean())
            wrong[asked] = np.square(mean[code[asked]] - about.target[asked])
    return _left(about, wrong)


def _by_order(about: Known, values: np.ndarray) -> float:
    """The nearest values of the other fold say it: a class by the nearest one, a number on the line between two."""
    wrong = np.zeros(len(values))
    there = np.isfinite(values)
    for fold in (0, 1):
        taught, asked = (about.fold != fold) & there, (about.fold == fold) & there
        lost = (about.fold == fold) & ~there
        if taught.sum() < 2:
            return 1.0
        level, place = np.unique(values[taught], return_inverse=True)
        if about.classes:
            table = crossed(place, about.target[taught], about.classes, len(level))
            middle = (level[1:] + level[:-1]) / 2
            near = np.searchsorted(middle, values[asked])
            wrong[asked] = table.argmax(1)[near] != about.target[asked]
            wrong[lost] = about.target[lost] != np.bincount(about.target[taught]).argmax()
        else:
            mean = np.bincount(place, about.target[taught]) / np.bincount(place)
            wrong[asked] = np.square(np.interp(values[asked], level, mean) - about.target[asked])
            wrong[lost] = np.square(about.target[lost] - about.target[taught].mean())
    return _left(about, wrong)


def _by_words(about: Known, words: quick.Words) -> float:
    """The better of naive Bayes over the words that are there, and of the one word that best marks each class."""
    from scipy.sparse import csr_matrix

    shape = (len(about.rows), BUCKETS)
    there = csr_matrix((np.ones(len(words.flat), np.float32), words.flat % BUCKETS, words.starts), shape=shape)
    there.sum_duplicates()
    there.data[:] = 1.0
    bayes, marked = np.zeros(len(about.rows)), np.zeros(len(about.rows))
    for fold in (0, 1):
        taught, asked = np.flatnonzero(about.fold != fold), np.flatnonzero(about.fold == fold)
        chosen = np.zeros((len(taught), about.classes), np.float32)
        chosen[np.arange(len(taught)), about.target[taught]] = 1.0
        size = chosen.sum(0)
        count = np.asarray(there[taught].T @ chosen)  # [BUCKETS, C]: rows of the class that have the word
        chance = np.log((count + 0.1) / (size + 0.2))
        score = np.asarray(there[asked] @ chance) + np.log(size + 1.0)
        bayes[asked] = score.argmax(1) != about.target[asked]
        quality = count**2 / (np.maximum(count.sum(1, keepdims=True), 1) * np.maximum(size, 1))  # precision x recall
        best, marks = quality.argmax(0), quality.max(0) >= MARKING
        shown = [(there[side][:, best].toarray() > 0) & marks for side in (taught, asked)]
        rest = np.bincount(about.target[taught][~shown[0].any(1)], minlength=about.classes).argmax()
        marked[asked] = np.where(shown[1].any(1), shown[1].argmax(1), rest) != about.target[asked]
    return min(_left(about, bayes), _left(about, marked))


def _left(about: Known, wrong: np.ndarray) -> float:
    """The share of rows that are wrong, or the share of the variance that is left."""
    return float(wrong.mean()) if about.classes else float(wrong.mean() / max(about.target.var(), 1e-300))


def crossed(code: np.ndarray, classes: np.ndarray, count: int, codes: int | None = None) -> np.ndarray:
    """[codes, count]: in how many rows they come together."""
    size = int(code.max()) + 1 if codes is None else int(codes)
    return np.bincount(code * count + classes, minlength=size * count).reshape(size, count)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].astype(np.float64)


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    if np.ptp(one) == 0 or np.ptp(two) == 0:
        return 0.0
    return float(np.corrcoef(one, two)[0, 1])
