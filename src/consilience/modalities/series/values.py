"""Statistics of [T, C] values along the steps, without the missing ones (NaN); a channel without any gives zero."""

from __future__ import annotations

import numpy as np


def means(values: np.ndarray) -> np.ndarray:
    """[T, C] -> float64 [C]."""
    there = ~np.isnan(values)
    if there.all():  # the same sum, sooner
        return values.sum(0, dtype=np.float64) / max(len(values), 1)
    return np.where(there, values, 0.0).sum(0, dtype=np.float64) / np.maximum(there.sum(0), 1)


def deviations(values: np.ndarray) -> np.ndarray:
    """Population standard deviations: [T, C] -> float64 [C]."""
    return np.sqrt(means(np.square(values - means(values))))


def filled(values: np.ndarray) -> np.ndarray:
    """Gaps bridged by straight lines, and by the nearest value at the ends: [T, C] -> float64 [T, C]; zeros without any."""
    made = values.astype(np.float64)
    gone = np.isnan(made)
    steps = np.arange(len(made))
    for channel in np.flatnonzero(gone.any(0)):
        hole = gone[:, channel]
        made[hole, channel] = np.interp(steps[hole], steps[~hole], made[~hole, channel]) if not hole.all() else 0.0
    return made
