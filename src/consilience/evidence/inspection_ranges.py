"""Between what the cells of a column lie: numbers, dates, sizes of samples, or the values themselves.

Marks are order statistics, values that stand in the table: nothing is averaged, so nothing overflows. What is most and least
of a sample is told by its `size`, and what it is then the modality says itself (`describe`): none is named here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from consilience.data.schema import modality, modality_of
from consilience.data.view import View
from consilience.evidence.drawing import visible
from consilience.modalities.base import Modality
from consilience.tasks.base import as_number
from consilience.types import Cell, Input, Missing, Sample, Several

VALUES = 1000
"""So many different values of a column are counted; with more, only that there are more is known."""

FEW, COMMON = 20, 5
"""So many different numbers, of a column that is no input, are values; so many of the most frequent values are shown."""

SHOWN = 60
"""The most characters that are shown of a cell."""

SIZED = 5000
"""The most samples of a column, other than of media, whose size is taken: to count words takes longer than to read them."""

_MARKS = {"least": 0.0, "lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75, "greatest": 1.0}


@dataclass(frozen=True)
class Range:
    """`cells` is how many it is of.

    numbers  `marks` are floats, from least to greatest
    dates    `marks` are as dates are written
    sizes    `marks` say what the samples of least, median and greatest size are; one mark where all are alike
    values   `common` are the most frequent of `different` values, each with its count; None: over `VALUES` different ones
    """

    form: Literal["numbers", "dates", "sizes", "values"]
    cells: int
    marks: dict[str, float | str]
    different: int | None = None
    common: tuple[tuple[str, int], ...] = ()


Present = tuple[int, Cell, Sample]
"""A row, its cell, and what it was read as. A column of an input that is no group has None for a cell."""


class Ranging(Protocol):
    """Takes what is present, batch by batch, and tells the range of all."""

    def add(self, present: Sequence[Present]) -> None: ...

    def range(self) -> Range: ...


def ranging(view: View, item: Input | None, kind: str) -> Ranging:
    """The way to the range of a column, by the kind that its modality gave it; of a column that is no input, by its cells."""
    if item is None:
        return _Unknown()
    inner = modality(item.modality)
    if not inner.grouped:
        return _Sizes(view, item)
    return _Numbers() if kind == "number" else _Dates(inner) if kind == "date" else _Values(inner)


def even(total: int, most: int) -> np.ndarray:
    """At most so many of the rows below `total`, in order: all, or one drawn from each of `most` stretches of equal length.

    Drawn, because every n-th row may be of one class.
    """
    if total <= most:
        return np.arange(total)
    ends = np.arange(most + 1) * total // most
    return np.random.default_rng(0).integers(ends[:-1], ends[1:])


class _Numbers:
    def __init__(self) -> None:
        self.found = [np.zeros(0)]

    def add(self, present: Sequence[Present]) -> None:
        self.found.append(np.array([as_number(cell) for _, cell, _ in present], np.float64))

    def range(self) -> Range:
        values = np.concatenate(self.found)
        values = values[~np.isnan(values)]
        return Range("numbers", len(values), {name: float(value) for name, value in _marks(values)})


class _Dates:
    """As the modality writes them: in ISO 8601, whose order is that of the words."""

    def __init__(self, kind: Modality) -> None:
        self.kind = kind
        self.found = [np.zeros(0, "S19")]

    def add(self, present: Sequence[Present]) -> None:
        self.found.append(np.array([self.kind.describe(sample).encode() for _, _, sample in present], "S19"))

    def range(self) -> Range:
        values = np.concatenate(self.found)
        return Range("dates", len(values), {name: value.decode() for name, value in _marks(values)})


class _Values:
    """As the modality writes them, so that `True` of one file and `true` of another are one."""

    def __init__(self, kind: Modality | None = None) -> None:
        self.kind = kind
        self.cells = 0
        self.found: Counter[str] = Counter()

    def add(self, present: Sequence[Present]) -> None:
        self.cells += len(present)
        if len(self.found) <= VALUES:
            self.found.update(
                _written(cell) if self.kind is None else self.kind.describe(sample) for _, cell, sample in present
            )

    def _told(self, cell: Cell, sample: Sample) -> str:
        return _written(cell) if self.kind is None else self.kind.describe(sample)

    def range(self) -> Range:
        if len(self.found) > VALUES:
            return Range("values", self.cells, {})
        ranked = sorted(self.found.items(), key=lambda item: (-item[1], item[0]))
        common = tuple((shown(value), count) for value, count in ranked[:COMMON])
        return Range("values", self.cells, {}, len(ranked), common)


class _Unknown:
    """Cells that no modality reads: numbers if all are and more than a few are different, else values."""

    def __init__(self) -> None:
        self.numbers, self.values = _Numbers(), _Values()

    def add(self, present: Sequence[Present]) -> None:
        self.numbers.add(present)
        self.values.add(present)

    def range(self) -> Range:
        numbers, values = self.numbers.range(), self.values.range()
        few = values.different is not None and values.different <= FEW
        return numbers if numbers.cells == values.cells and not few else values


class _Sizes:
    def __init__(self, view: View, item: Input) -> None:
        self.view, self.item, self.kind = view, item, modality_of(item)
        self.wanted = np.full(len(view), self.kind.media)
        self.wanted[even(len(view), SIZED)] = True
        self.rows: list[int] = []
        self.sizes: list[int] = []
        self.said: set[str] = set()

    def add(self, present: Sequence[Present]) -> None:
        for row, _, sample in present:
            if self.wanted[row]:
                self.rows.append(row)
                self.sizes.append(self.kind.size(sample))
                if len(self.said) < 2:
                    self.said.add(self._said(sample))

    def range(self) -> Range:
        order = np.argsort(self.sizes, kind="stable")
        if len(self.said) < 2:
            return Range("sizes", len(order), dict(zip(("all",), self.said, strict=False)))
        places = {"least": 0, "median": (len(order) - 1) // 2, "greatest": len(order) - 1}
        return Range("sizes", len(order), {name: self._again(self.rows[order[place]]) for name, place in places.items()})

    def _again(self, row: int) -> str:
        (sample,) = self.view.samples(self.item.name, np.array([row]))
        assert not isinstance(sample, Missing)
        return self._said(sample)

    def _said(self, sample: Sample) -> str:
        if not isinstance(sample, Several):
            return self.kind.describe(sample)
        count, first = len(sample.items), modality(self.item.modality).describe(sample.items[0])
        return f"1 item: {first}" if count == 1 else f"{count} items, the first {first}"


def shown(cell: Cell) -> str:
    """A cell on one line, cut where it is long; bytes are only counted."""
    text = " ".join(visible(_written(cell)[: SHOWN + 1]).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _written(cell: Cell) -> str:
    return f"{len(cell)} bytes" if isinstance(cell, bytes) else str(cell).strip()


def _marks(values: np.ndarray) -> list[tuple[str, Any]]:
    """Least, quartiles and greatest; nothing of no values."""
    values = np.sort(values)
    return [(name, values[round(share * (len(values) - 1))]) for name, share in _MARKS.items()] if len(values) else []
