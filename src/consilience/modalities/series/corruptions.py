"""Damage to a series for robustness tests: what goes wrong with sensors.

It scales with the deviation of each channel, or with the size of its mean where nothing varies, so that all units are hurt
alike. Where something is drawn, it is drawn for every severity alike, so that a severer damage contains a milder one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from consilience.modalities.series.values import deviations, means

Damage = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""(values float32 [T, C], severity in (0, 1], generator) -> damaged values, in a new array."""

_SPANS = 16  # pieces of the series that `dropout` takes away


def unit(values: np.ndarray) -> np.ndarray:
    """How large a change of one is, by channel: [C]."""
    spread, level = deviations(values), np.abs(means(values))
    return np.where(spread > 0, spread, np.where(level > 0, level, 1.0))


def noise(values: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White, with up to twice the deviation."""
    return _single(values + 2 * severity * unit(values) * rng.standard_normal(values.shape))


def drift(values: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Each channel slides away up or down, by up to four deviations at its end."""
    way = rng.choice([-1.0, 1.0], values.shape[1])
    return _single(values + 4 * severity * unit(values) * way * np.linspace(1 / len(values), 1, len(values))[:, None])


def spikes(values: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Up to a tenth of the values are off by eight deviations."""
    hit, way = rng.random(values.shape) < 0.1 * severity, rng.choice([-8.0, 8.0], values.shape)
    return _single(values + np.where(hit, unit(values) * way, 0.0))


def dropout(values: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Spans are missing in all channels: up to 15 of 16."""
    cuts = np.linspace(0, len(values), min(_SPANS, len(values)) + 1).round().astype(int)
    order = rng.permutation(len(cuts) - 1)
    damaged = values.copy()
    for span in order[: min(max(1, round(severity * len(order))), len(order) - 1)]:
        damaged[cuts[span] : cuts[span + 1]] = np.nan
    return damaged


def lost_channel(values: np.ndarray, severity: float, rng: np.random.Generator) -> np.ndarray:
    """One channel is missing from some step on, at severity 1 from the first. The only channel of a series is flat there
    instead, at its mean: without it there would be nothing.
    """
    channel = int(rng.integers(values.shape[1]))
    start = len(values) - max(1, round(severity * len(values)))
    damaged = values.copy()
    damaged[start:, channel] = np.nan if values.shape[1] > 1 else means(values)[channel]
    return damaged


def _single(values: np.ndarray) -> np.ndarray:
    """As float32; what that cannot hold is cut to its largest."""
    largest = np.finfo(np.float32).max
    return values.clip(-largest, largest).astype(np.float32)


DAMAGES: dict[str, Damage] = {
    "noise": noise,
    "drift": drift,
    "spikes": spikes,
    "dropout": dropout,
    "lost_channel": lost_channel,
}
