"""A row of table columns once read, and the damage that robustness tests do to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from consilience.modalities.tabular.cells import YEAR, clamp_day
from consilience.types import Sample

Value = float | str | None
"""A number, days since 1970, or the name of a category; None: that cell is missing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Record(Sample):
    """`values` by column, in the order of the input's columns; `dates` are the columns whose value is days since 1970."""

    values: Mapping[str, Value]
    dates: frozenset[str] = frozenset()

    @property
    def nbytes(self) -> int:
        return 256 + sum(64 + (len(value) if isinstance(value, str) else 0) for value in self.values.values())


def blank(sample: Record, severity: float, rng: np.random.Generator) -> Record:
    """Every cell is lost with probability `severity`."""
    return _changed(sample, lambda column, value: None if rng.random() < severity else value)


def noise(sample: Record, severity: float, rng: np.random.Generator) -> Record:
    """Normal noise on every number and date: at severity 1 its deviation is the size of the number, or a year.

    No statistic is at hand here, so a number is its own scale; the noise of a zero has deviation `severity`.
    """

    def change(column: str, value: float | str) -> float | str:
        if isinstance(value, str):
            return value
        shift = severity * float(rng.standard_normal())
        if column in sample.dates:
            return clamp_day(value + shift * YEAR)
        largest = sys.float_info.max
        return min(max(value + shift * (abs(value) or 1.0), -largest), largest)

    return _changed(sample, change)


def garble(sample: Record, severity: float, rng: np.random.Generator) -> Record:
    """Every category turns, with probability `severity`, into one that was never seen, as a slip on entry does."""

    def change(column: str, value: float | str) -> float | str:
        return f"{value}\N{REPLACEMENT CHARACTER}" if isinstance(value, str) and rng.random() < severity else value

    return _changed(sample, change)


def _changed(sample: Record, change: Callable[[str, float | str], Value]) -> Record:
    values = {column: None if value is None else change(column, value) for column, value in sample.values.items()}
    return replace(sample, values=values)
