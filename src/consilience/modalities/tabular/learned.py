"""What the encoders learn from training rows: scales of quantities, names of categories, which columns have gaps.

Quantities are scaled and clipped as in RealMLP (Holzmueller et al. 2024, "Better by default", section 3): with the
quantiles q, x becomes s (x - q(1/2)), s = 1 / (q(3/4) - q(1/4)), or 2 / (q(1) - q(0)) where the quartiles are equal, or
0 where all are; then f(x) = x / sqrt(1 + (x / 3)^2), which lies in -3..3 and leaves small x as they are.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from consilience.errors import ConsilienceError, Problem, raise_all
from consilience.modalities.tabular.cells import YEAR, parser
from consilience.modalities.tabular.record import Record, Value
from consilience.types import Input, Sample, State

_LARGEST = sys.float_info.max
_FAR = 1e9  # a scaled value beyond this is 3 in float32 anyway; bounded so that its square is finite


class Scale(BaseModel):
    """Robust scale and smooth clip of one quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    median: float
    factor: float = Field(ge=0)

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Of finite values; of none, a scale that makes everything 0."""
        if not values:
            return cls(median=0.0, factor=0.0)
        quarters = np.asarray(values, dtype=np.float64) / 4  # so that interpolating between huge values cannot overflow
        least, low, middle, high, most = (4 * np.quantile(quarters, [0, 0.25, 0.5, 0.75, 1])).tolist()
        spreads = (high - low, (most - least) / 2)
        # Below the smallest normal number the factor would be infinite.
        factor = next((1 / spread for spread in spreads if spread >= sys.float_info.min), 0.0)
        return cls(median=middle, factor=factor)

    def __call__(self, value: Value) -> float:
        """In float64, -3..3. A missing value is 0, as the median is."""
        if value is None:
            return 0.0
        assert not isinstance(value, str), f"{value!r} in a column of quantities"
        shifted = min(max(value - self.median, -_LARGEST), _LARGEST)
        scaled = min(max(shifted * self.factor, -_FAR), _FAR)
        return scaled / math.sqrt(1.0 + (scaled / 3.0) ** 2)


class Scales:
    """Those of several columns at once, as `Scale` has them."""

    def __init__(self, scales: Sequence[Scale]) -> None:
        self.medians = np.array([scale.median for scale in scales])
        self.factors = np.array([scale.factor for scale in scales])

    def __call__(self, found: np.ndarray) -> np.ndarray:
        """[Q] float64 in -3..3, of a value for each column; 0 for NaN, which is what stands for a missing one."""
        with np.errstate(over="ignore"):
            shifted = np.minimum(np.maximum(found - self.medians, -_LARGEST), _LARGEST)
            scaled = np.minimum(np.maximum(shifted * self.factors, -_FAR), _FAR)
        made = scaled / np.sqrt(1.0 + np.square(scaled / 3.0))
        made[np.isnan(found)] = 0.0
        return made


class Learned(BaseModel):
    """By column; a column has a scale (numbers and dates) or categories (most frequent first), or neither."""

    model_config = Scale.model_config

    scales: dict[str, Scale] = {}
    categories: dict[str, list[str]] = {}
    gaps: list[str] = []

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        for column, names in self.categories.items():
            if len(set(names)) < len(names):
                raise ValueError(f"a category of {column!r} is there twice")
        return self

    def state(self) -> State:
        return State(json=self.model_dump())


def columns_of(input: Input, *kinds: str) -> list[str]:
    """The columns that have one of `kinds`, in order. Raises ConsilienceError for a kind that does not exist."""
    for kind in input.kinds:
        parser(kind)
    return [column for column, kind in zip(input.columns, input.kinds, strict=True) if kind in kinds]


def scales_of(input: Input, samples: Sequence[Sample]) -> dict[str, Scale]:
    """The scale of every number and date column."""
    return {
        column: Scale.of([value for value in _values(samples, column) if not isinstance(value, str)])
        for column in columns_of(input, "number", "date")
    }


def categories_of(input: Input, samples: Sequence[Sample], least: int, most: int) -> dict[str, list[str]]:
    """By category column: the names seen `least` times or more, the `most` most frequent; equal counts go by name."""
    found = {}
    for column in columns_of(input, "category"):
        counts = Counter(value for value in _values(samples, column) if isinstance(value, str))
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        found[column] = [name for name in ranked if counts[name] >= least][:most]
    return found


def gaps_of(input: Input, samples: Sequence[Sample]) -> list[str]:
    """The columns that have missing cells."""
    return [column for column in input.columns if len(_values(samples, column)) < len(samples)]


def restored(state: State, input: Input, *, scaled: bool, most: int) -> Learned:
    """What `Learned.state` gave, for the columns of `input`, with `most` categories a column or fewer.

    Raises ConsilienceError with all that is wrong.
    """
    try:
        learned = Learned.model_validate(dict(state.json))
    except ValidationError as error:
        found = [(".".join(map(str, part["loc"])), part["msg"]) for part in error.errors()]
        raise ConsilienceError(*(_wrong(f"{place}: {message}" if place else message) for place, message in found)) from None
    problems = [_wrong(f"the arrays {sorted(state.arrays)}, where none belong")] if state.arrays else []
    if set(learned.scales) != set(columns_of(input, "number", "date") if scaled else []):
        problems.append(_wrong(f"scales for {list(learned.scales)}"))
    if set(learned.categories) != set(columns_of(input, "category")):
        problems.append(_wrong(f"categories for {list(learned.categories)}"))
    problems += [_wrong(f"a gap in {column!r}") for column in learned.gaps if column not in input.columns]
    problems += [
        _wrong(f"over {most} categories for {name!r}") for name, names in learned.categories.items() if len(names) > most
    ]
    raise_all(problems)
    return learned


def _wrong(found: str) -> Problem:
    return Problem(f"the state of a tabular encoder has {found}", "what the encoder stored for these columns", "train it again")


def _values(samples: Sequence[Sample], column: str) -> list[float | str]:
    """The values of a column, without the missing ones."""
    values = []
    for sample in samples:
        assert isinstance(sample, Record)
        value = sample.values[column]
        if value is not None:
            values.append(value)
    return values


PHASES = ("sine in the year", "cosine in the year", "sine in the week", "cosine in the week")
"""What `phases` returns, for people."""


def phases(days: float) -> tuple[float, float, float, float]:
    """Sine and cosine of the phase in the mean year, then in the week; a week starts on Monday."""
    year = 2 * math.pi * days / YEAR
    week = 2 * math.pi * ((math.floor(days) + 3) % 7) / 7  # 1970-01-01 was a Thursday
    return math.sin(year), math.cos(year), math.sin(week), math.cos(week)
