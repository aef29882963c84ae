"""MiniRocket (Dempster, Schmidt and Webb 2021, "MiniRocket: a very fast (almost) deterministic transform for time series
classification") of several channels, at a fixed length.

The paper's kernels: length nine, six weights of -1 and three of 2, all 84 of them; dilations from 1 to as far as the series
goes, exponentially; biases are quantiles of what a kernel makes of a training series; the feature is the share of steps at
which it is above the bias (PPV). Every other kernel sees the padded series, the rest only where it fits (section 3.2).
Several channels as in the authors' multivariate version: each kernel and dilation sums its own random channels.

What differs: a series is brought to `LENGTH` steps by linear interpolation first, so that any T gives the same features
and the cost is bounded; each channel of each series is centred and divided by its deviation; gaps are bridged by straight
lines, but only steps whose middle has a value, in one of the channels, count in the shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from consilience.modalities.series.values import filled

LENGTH = 512

BIASES = 2
"""Per kernel and dilation."""

_DRAWN = 16  # series that biases are taken from
_REACH, _SIDE = 9, 4  # weights of a kernel, and of those the ones before its middle
_MOST = 9  # channels that one kernel sums
_WEIGHTS = np.array(
    [[2.0 if place in three else -1.0 for place in range(_REACH)] for three in combinations(range(_REACH), 3)], np.float32
)  # [84, 9] (section 3.1.1)

DILATIONS = np.unique(np.logspace(0, np.log2((LENGTH - 1) / (_REACH - 1)), 6, base=2.0).astype(int))
KERNELS = len(_WEIGHTS)
SHAPE = (len(DILATIONS), KERNELS, BIASES)
FEATURES = len(DILATIONS) * KERNELS * BIASES
"""Numbers of a series, each in 0..1."""

_GOLDEN = (np.sqrt(5) + 1) / 2


@dataclass(frozen=True, eq=False)
class Rocket:
    """mixes float32 [dilations, 84, C], 1 for the channels that a kernel sums; biases float32 [dilations, 84, BIASES]."""

    mixes: np.ndarray
    biases: np.ndarray


def fit(samples: Sequence[np.ndarray], channels: int, rng: np.random.Generator) -> Rocket:
    """Draw the channels of each kernel, and take its biases from series drawn among `samples`, [T, C] each."""
    mixes = np.zeros((len(DILATIONS), KERNELS, channels), np.float32)
    for mix in mixes.reshape(-1, channels):
        count = int(2 ** rng.uniform(0, np.log2(min(channels, _MOST) + 1)))
        mix[rng.permutation(channels)[:count]] = 1.0
    biases = np.zeros(SHAPE, np.float32)
    if not samples:
        return Rocket(mixes, biases)
    drawn = [_fixed(samples[place])[0] for place in rng.integers(len(samples), size=_DRAWN)]
    levels = (np.arange(1, biases.size + 1) * _GOLDEN % 1).reshape(biases.shape)  # low-discrepancy (section 3.1.3)
    for number, dilation in enumerate(DILATIONS):
        made = np.stack([_convolved(series, mixes[number], dilation) for series in drawn])  # [drawn, 84, LENGTH]
        for kernel in range(KERNELS):
            biases[number, kernel] = np.quantile(made[kernel % _DRAWN, kernel], levels[number, kernel])
    return Rocket(mixes, biases)


def transform(values: np.ndarray, rocket: Rocket) -> np.ndarray:
    """values [T, C] -> float32 [FEATURES]: for each dilation, kernel and bias the share of the steps above the bias."""
    series, there = _fixed(values)
    shares = np.zeros(SHAPE, np.float32)
    for number, dilation in enumerate(DILATIONS):
        made = _convolved(series, rocket.mixes[number], dilation)
        inside = there.copy()
        inside[: dilation * _SIDE] = inside[LENGTH - dilation * _SIDE :] = False
        for parity, counted in enumerate((there, inside)):  # every other kernel, starting with another at each dilation
            which = slice((number + parity) % 2, None, 2)
            above = (made[which, None] > rocket.biases[number, which, :, None]) & counted
            shares[number, which] = above.sum(2) / max(1, counted.sum())
    return shares.ravel()


def _fixed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[T, C] -> the series at LENGTH steps, float32 [C, LENGTH], and bool [LENGTH]: some channel has a value there."""
    places = np.linspace(0, len(values) - 1, LENGTH)
    whole = filled(values)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, len(values) - 1)
    part = (places - before)[:, None]
    made = (1 - part) * whole[before] + part * whole[after]
    spread = made.std(0)
    made = (made - made.mean(0)) / np.where(spread > 0, spread, 1.0)
    there = np.count_nonzero(~np.isnan(values[places.round().astype(np.intp)]), axis=1) > 0
    return np.ascontiguousarray(made.T, np.float32), there


def _convolved(series: np.ndarray, mix: np.ndarray, dilation: int) -> np.ndarray:
    """[C, LENGTH] -> [84, LENGTH]: what each kernel makes of the channels that it sums, with zeros beyond the ends."""
    padded = np.pad(series, ((0, 0), (dilation * _SIDE, dilation * _SIDE)))
    views = np.stack([padded[:, place * dilation : place * dilation + LENGTH] for place in range(_REACH)], axis=1)
    weights = mix[:, :, None] * _WEIGHTS[:, None, :]  # [84, C, 9]
    return weights.reshape(KERNELS, -1) @ views.reshape(-1, LENGTH)
