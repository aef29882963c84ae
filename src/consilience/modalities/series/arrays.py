"""Numbers of a cell -> float32 [T, C], or the reason why they are no series.

Values become float32: 24 bits are more than sensors have. Whole numbers that need more are rounded, and that is noted.
Infinite values, and those that float32 cannot hold, are missing values, and noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from consilience.types import Limits, Missing

CHANNELS = 256
"""More are taken for a mistake: an array whose rows are channels."""

_EXACT = 2**24  # whole numbers up to here are exact in float32


@dataclass(frozen=True, eq=False)
class Found:
    """What stands in a cell: values float32 [T, C], NaN where missing; the rate in steps per second; names, or ()."""

    values: np.ndarray
    rate: float = 1.0
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def wrong_shape(shape: Sequence[int], limits: Limits) -> str:
    """Why an array of this shape is no series; "" where it may be one."""
    if len(shape) not in (1, 2):
        return f"{len(shape)} dimensions, not 1 or 2"
    if 0 in shape:
        return "empty"
    if np.prod(shape, dtype=float) > limits.values:
        return "over the value limit"
    return f"over {CHANNELS} channels" if len(shape) == 2 and shape[1] > CHANNELS else ""


def made(
    values: np.ndarray, limits: Limits, rate: float = 1.0, channels: tuple[str, ...] = (), notes: tuple[str, ...] = ()
) -> Found | Missing:
    """Numbers [T] or [T, C] -> what was found."""
    if problem := wrong_shape(values.shape, limits):
        return Missing(problem)
    if values.dtype.kind in "iu" and (values.max() > _EXACT or values.min() < -_EXACT):
        notes += (f"whole numbers over {_EXACT} rounded",)
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(np.float32).reshape(len(values), -1)
    if np.isinf(made).any():
        made[np.isinf(made)] = np.nan
        notes += ("infinite values made missing",)
    return Missing("every value is missing") if np.isnan(made).all() else Found(made, rate, channels, notes)


def listed(cells: Sequence[Any] | np.ndarray, limits: Limits) -> Found | Missing:
    """A list of numbers, or of lists of numbers of one length; None, for a number or a whole step, is missing."""
    if len(cells) > limits.values:
        return Missing("over the value limit")
    values = numbers(cells)
    return Missing(values) if isinstance(values, str) else made(values, limits)


def numbers(cells: Sequence[Any] | np.ndarray) -> np.ndarray | str:
    """Lists as an array of numbers, or what is wrong with them."""
    if not isinstance(cells, np.ndarray):
        first = next((cell for cell in cells if cell is not None), None)
        if isinstance(first, list | tuple | np.ndarray):  # a step that is None as a whole has its numbers missing
            cells = [[None] * len(first) if cell is None else cell for cell in cells]
    try:
        values = np.asarray(cells)
    except ValueError:
        return "ragged lists"
    if values.dtype.kind == "O":
        if any(isinstance(value, list | tuple | np.ndarray) for value in values.flat):
            return "ragged lists"
        if not all(value is None or isinstance(value, Real | Decimal) for value in values.flat):
            return "not numbers"
        try:
            values = values.astype(np.float64)
        except OverflowError:  # a whole number that no float can hold
            return "not numbers"
    return values if values.dtype.kind in "biuf" else "not numbers"
