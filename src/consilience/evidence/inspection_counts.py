"""What became of a column's cells, counted by class and by part in one go.

A class or part in which more is missing than elsewhere is what a model learns instead of the cells, or what makes one part
unlike the others: so the counts are kept by group, at two bytes a row for all columns together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from consilience.data.split import Splits
from consilience.data.table import is_empty
from consilience.data.view import View
from consilience.tasks.base import Task, label_key
from consilience.types import Cell, Missing, Sample

CLASSES = 20
"""So many groups of classes are told apart: the most frequent ones, and the others together."""

PARTS = ("train", "valid", "test", "no part")

_BATCH = 4096  # rows


@dataclass(frozen=True)
class Counts:
    """What became of a column's cells in one group of rows: a class, a part, or "" for all.

    rows      how many were looked at
    missing   in how many nothing stands
    corrupt   reason -> how many could not be read
    repaired  note -> how many were cut or repaired; one cell may have several notes
    """

    group: str
    rows: int
    missing: int
    corrupt: dict[str, int]
    repaired: dict[str, int]

    @property
    def lost(self) -> int:
        """Cells of which nothing can be used."""
        return self.missing + sum(self.corrupt.values())


@dataclass(frozen=True)
class ClassCount:
    """How many rows are of a class, in all and in each part."""

    label: str
    rows: int
    parts: dict[str, int]


class Groups:
    """The class and the part of each row, as one number. Classes only where the task has some, parts only with splits."""

    def __init__(self, view: View, task: Task | None, splits: Splits | None) -> None:
        part = np.full(len(view), len(PARTS) - 1)
        for number, rows in enumerate((splits.train, splits.valid, splits.test) if splits is not None else ()):
            part[rows] = number
        self.labels, label = _labels(view) if task is not None and task.link == "softmax" else ((), np.zeros_like(part))
        self.parts = PARTS if splits is not None else ()
        self.place = (label * len(PARTS) + part).astype(np.int16)
        self._size = max(len(self.labels), 1) * len(PARTS)

    def count(self, places: Sequence[int] | np.ndarray) -> np.ndarray:
        """Places of rows -> how many are of each class and part, [classes, parts] int."""
        return np.bincount(np.asarray(places, np.int64), minlength=self._size).reshape(-1, len(PARTS))

    def part_counts(self) -> dict[str, int]:
        """Rows of each part; of rows in none only where there are some."""
        return _named(self.parts, self.count(self.place).sum(0))

    def class_counts(self) -> tuple[ClassCount, ...]:
        return tuple(
            ClassCount(label, int(row.sum()), _named(self.parts, row))
            for label, row in zip(self.labels, self.count(self.place), strict=False)
        )


class Tally:
    """Counts what became of the cells of one column."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._rows = groups.count(())
        self._found: dict[tuple[str, str], np.ndarray] = {}

    def add(self, rows: np.ndarray, samples: Iterable[Sample | Missing]) -> None:
        """The samples of some rows, in their order."""
        places = self._groups.place[rows]
        self._rows = self._rows + self._groups.count(places)
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, sample in zip(places.tolist(), samples, strict=True):
            if isinstance(sample, Missing):
                found["missing" if sample.reason == "empty" else "corrupt", sample.reason].append(place)
            else:
                for note in sample.notes:
                    found["repaired", note].append(place)
        for key, hit in found.items():
            self._found[key] = self._found.get(key, 0) + self._groups.count(hit)

    def all(self) -> Counts:
        return self._counts(("",), (0, 1))[0]

    def by_class(self) -> tuple[Counts, ...]:
        """A count for each class that has rows; none where no cell is missing, corrupt or repaired."""
        return self._counts(self._groups.labels, 1) if self._found else ()

    def by_part(self) -> tuple[Counts, ...]:
        return self._counts(self._groups.parts, 0) if self._found else ()

    def _counts(self, names: Sequence[str], axis: int | tuple[int, int]) -> tuple[Counts, ...]:
        rows = np.atleast_1d(self._rows.sum(axis))
        found = {key: np.atleast_1d(table.sum(axis)) for key, table in self._found.items()}

        def of(what: str, place: int) -> dict[str, int]:
            counts = {reason: int(count[place]) for (kind, reason), count in found.items() if kind == what and count[place]}
            return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

        return tuple(
            Counts(name, int(rows[place]), sum(of("missing", place).values()), of("corrupt", place), of("repaired", place))
            for place, name in enumerate(names)
            if rows[place] or not name
        )


def _labels(view: View) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the most frequent classes and of what is left, and the number of each row's, [R] int."""
    known: dict[Cell, int] = {}  # by cell, because equal cells are most
    codes: dict[str, int] = {}
    code = np.empty(len(view), np.int64)
    for start in range(0, len(view), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(view)))
        for row, cell in zip(rows.tolist(), view.target(rows), strict=True):
            if cell not in known:
                known[cell] = codes.setdefault("" if is_empty(cell) else label_key(cell), len(codes))
            code[row] = known[cell]
    count = np.bincount(code)
    ranked = sorted((label for label in codes if label), key=lambda label: (-count[codes[label]], label))
    kept = ranked if len(ranked) <= CLASSES else ranked[: CLASSES - 1]
    rest = len(ranked) - len(kept)
    names = (*kept, *((f"{rest} other classes",) if rest else ()), *(("no target",) if "" in codes else ()))
    place = np.full(len(codes), len(kept))
    place[[codes[label] for label in kept]] = np.arange(len(kept))
    if "" in codes:
        place[codes[""]] = len(names) - 1
    return names, place[code]


def _named(names: Sequence[str], counts: np.ndarray) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, counts, strict=False) if count or name != PARTS[-1]}
