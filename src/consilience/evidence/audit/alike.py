"""Rows as sums of marks, so that rows that are equal, or equal but for a column, are found by sorting.

Each cell is a number of 64 bits that depends on its column; a row is the sum of its cells, and the row without a column
is the sum less that cell. Eight bytes a row are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from consilience.evidence.audit import quick
from consilience.evidence.audit.contents import contents
from consilience.evidence.audit.finding import Examined
from consilience.evidence.audit.quick import Seen

LEFT_OUT = 5
"""Columns that `by_chance` leaves out in turn."""


RARE = 0.05
"""A pair is a copy where fewer pairs than this would be as equal by chance."""
FEW = 3
"""With fewer pairs that differ in two columns, none are equal by chance."""


def mixed(marks: np.ndarray, salt: int) -> np.ndarray:
    """[R] uint64: the marks of a column, spread over all 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        value = marks.astype(np.int64).view(np.uint64) + np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))


def column_marks(examined: Examined, seen: Seen, rows: np.ndarray) -> np.ndarray:
    """[len(rows)] int64: equal for equal cells, 0 for empty ones. Files are told apart by their bytes where rows are few."""
    every = np.arange(len(examined.view))
    if len(every) <= (quick.ROWS if seen.media else quick.BATCH):  # small enough to be kept
        return quick.once(examined, "marks", seen.column, every, lambda: _marks(examined, seen, every))[rows]
    return _marks(examined, seen, rows)


def _marks(examined: Examined, seen: Seen, rows: np.ndarray) -> np.ndarray:
    if seen.media and len(rows) <= quick.ROWS:
        return contents(examined, seen, rows)
    batches = [rows[start : start + quick.BATCH] for start in range(0, len(rows), quick.BATCH)]
    return np.concatenate([quick.marks(quick.cells_of(examined, seen.column, batch)) for batch in batches])


def row_marks(examined: Examined) -> np.ndarray:
    """[all rows] uint64: equal for rows whose inputs are equal. Rows without a filled input all differ."""

    def make() -> np.ndarray:
        rows = np.arange(len(examined.view))
        total, filled = np.zeros(len(rows), np.uint64), np.zeros(len(rows), bool)
        for salt, seen in enumerate(quick.inputs(examined)):
            found = column_marks(examined, seen, rows)
            filled |= found != 0
            total += mixed(found, salt)
        return np.where(filled, total, mixed(rows, -1))

    return quick.once(examined, "rows", "", np.zeros(0), make)


def later(marks: np.ndarray) -> np.ndarray:
    """[R] bool: an earlier row has the same mark."""
    found = np.ones(len(marks), bool)
    found[np.unique(marks, return_index=True)[1]] = False
    return found


def pairs(marks: np.ndarray) -> float:
    """How many pairs of rows have one mark."""
    count = np.unique(marks, return_counts=True)[1].astype(np.float64)
    return float((count * (count - 1)).sum() / 2)


def most_telling(columns: Sequence[np.ndarray]) -> list[int]:
    """The columns in which the fewest pairs of rows agree, judged by 5000 rows."""
    agree = [pairs(column[:: max(1, len(column) // 5000)]) for column in columns]
    return sorted(range(len(columns)), key=lambda index: agree[index])[:LEFT_OUT]


def by_chance(total: np.ndarray, columns: Sequence[np.ndarray]) -> float:
    """About how many pairs would be equal in all of `total`, the sum of `columns` and maybe of others, without any copies.

    Of the pairs that are equal but for column j and differ in it, as many again would agree in it as do among those that
    agree in all but j and k and differ in k (Lincoln and Petersen's estimate). Copies of rows agree in all columns and so
    leave the figures as they are. The greatest estimate over j and k counts.
    """
    whole = pairs(total)
    without = [pairs(total - column) - whole for column in columns]
    found = 0.0
    for j, k in permutations(range(len(columns)), 2):
        if without[j] and without[k]:
            neither = pairs(total - columns[j] - columns[k]) - whole - without[j] - without[k]
            if neither >= FEW:
                found = max(found, without[j] * without[k] / neither)
    return found


def beyond_chance(count: float, chance: float) -> bool:
    """Are `count` pairs more than `by_chance` explains? Columns that go together make it too low, so three times as many."""
    return count > 3 * chance + 3 * chance**0.5


def surprise(pair: Sequence[np.ndarray], others: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """[P] about how many pairs of `rows` rows would be as equal as each pair is, if columns had nothing to do with each other.

    pair    by column [P], the marks in which the two rows of a pair agree
    others  by column [M], the marks of rows that are no copies
    """
    expected = np.full(len(pair[0]), rows**2 / 2)
    for agreed, column in zip(pair, others, strict=True):
        value, count = np.unique(column, return_counts=True)
        place = np.minimum(np.searchsorted(value, agreed), len(value) - 1)
        share = np.where(value[place] == agreed, count[place] - 1, 0) / len(column)
        expected *= np.maximum(share, max(2 * pairs(column), 1.0) / len(column) ** 2)
    return expected
