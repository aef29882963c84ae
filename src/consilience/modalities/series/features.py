"""What a channel is like, in numbers: levels, spread, shape, order, spectrum and change; and how channels go together.

Everything is computed from the values that are there. Steps with a gap between them are no neighbours; the spectrum is
that of the series times its mask, divided by what the window and the mask let through, so that a gap costs resolution and
not power. Frequencies are octaves below the fastest that the rate allows: they mean the same in rows of one rate.
"""

from __future__ import annotations

import numpy as np

OCTAVES = 8
_LAGS = (1, 2, 4, 8, 16, 32, 64)
_WINDOWS = 8
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_FLOOR = 1e-3  # of a logarithm of something in units of the channel's deviation
_POWER_FLOOR = 1e-8

CHANNEL = 6 + 2 + 6 + 5 + len(_LAGS) + OCTAVES + 5 + 5 + 1
"""Numbers of one channel."""


def of_channel(values: np.ndarray) -> np.ndarray:
    """values float64 [T], scaled, NaN where missing -> [CHANNEL], finite; zeros but for the share where nothing is there."""
    there = ~np.isnan(values)
    if not there.any():
        return np.concatenate([np.zeros(CHANNEL - 1), [1.0]])
    count = len(values)
    known = values[there]
    ordered = np.sort(known)
    quantiles = ordered[[round(level * (len(known) - 1)) for level in _LEVELS]]
    mean, deviation = known.mean(), known.std()
    centred = np.where(there, values - mean, 0.0)
    time = np.linspace(-1, 1, count)
    moments = time[there] - time[there].mean()
    slope = float(moments @ (known - mean) / (moments @ moments)) if len(known) > 1 else 0.0
    pairs = there[1:] & there[:-1]
    steps = (values[1:] - values[:-1])[pairs]
    steps = steps if len(steps) else np.zeros(1)
    normed = centred / deviation if deviation > 0 else centred
    wide = [deviation, quantiles[3] - quantiles[1], quantiles[4] - quantiles[0], np.abs(steps).mean(), steps.std()]
    level = np.arcsinh([mean, *quantiles])
    trend = [np.arcsinh(slope), slope / deviation if deviation > 0 else 0.0]
    spread = np.log(np.array([*wide, np.abs(centred).max()]) + _FLOOR)
    return np.concatenate(
        [
            level,
            trend,
            spread,
            _shape(normed[there], pairs, normed, steps),
            [_product(normed, there, lag) for lag in _LAGS],
            _spectrum(centred - np.where(there, slope * (time - time[there].mean()), 0.0), there),
            _change(values, there),
            [1.0 - len(known) / count],
        ]
    )


def _shape(known: np.ndarray, pairs: np.ndarray, normed: np.ndarray, steps: np.ndarray) -> list[float]:
    """Skewness, kurtosis, share of steps that cross the mean, that turn, and that stay."""
    crossings = ((normed[1:] > 0) != (normed[:-1] > 0))[pairs]
    turns = (steps[1:] > 0) != (steps[:-1] > 0)
    return [
        float(np.arcsinh((known**3).mean())),
        float(np.arcsinh((known**4).mean() - 3)),
        float(np.sqrt(crossings.mean())) if len(crossings) else 0.0,
        float(turns.mean()) if len(turns) else 0.0,
        float((steps == 0).mean()),
    ]


def _product(normed: np.ndarray, there: np.ndarray, lag: int) -> float:
    """Autocorrelation at a lag, over the pairs that are there."""
    if lag >= len(normed):
        return 0.0
    pairs = np.count_nonzero(there[lag:] & there[:-lag])
    return float(normed[lag:] @ normed[:-lag]) / pairs if pairs else 0.0


def _spectrum(centred: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Log power of each octave, fast to slow; then centre, spread, entropy, place and share of the strongest frequency."""
    window = np.hanning(len(centred) + 2)[1:-1]
    power = np.abs(np.fft.rfft(centred * window))[1:] ** 2
    if not len(power):
        return np.zeros(OCTAVES + 5)
    power = power / (len(centred) * np.square(window[there]).sum())
    place = np.arange(1, len(power) + 1) / len(power)
    octave = np.minimum(-np.log2(place), OCTAVES - 0.5)
    bands = np.bincount(octave.astype(np.intp), power, OCTAVES)
    total = power.sum()
    if total <= 0:
        return np.concatenate([np.log(bands + _POWER_FLOOR), np.zeros(5)])
    share = power / total
    centre = share @ octave
    entropy = -(share @ np.log(share + 1e-12)) / np.log(max(2, len(share)))
    strongest = int(share.argmax())
    about = [centre, np.sqrt(share @ np.square(octave - centre)), entropy, octave[strongest], np.log(share[strongest])]
    return np.concatenate([np.log(bands + _POWER_FLOOR), about])


def _change(values: np.ndarray, there: np.ndarray) -> list[float]:
    """How much level, spread and pitch vary between eight windows: a heart that beats evenly, a hand that rests and moves."""
    length = len(values) // _WINDOWS
    if length < 4:
        return [0.0] * 5
    pieces = values[: length * _WINDOWS].reshape(_WINDOWS, length)
    here = there[: length * _WINDOWS].reshape(_WINDOWS, length)
    counts = here.sum(1)
    used = counts >= 4
    if used.sum() < 2:
        return [0.0] * 5
    pieces, here, counts = pieces[used], here[used], counts[used]
    means = np.where(here, pieces, 0.0).sum(1) / counts
    centred = np.where(here, pieces - means[:, None], 0.0)
    spreads = np.log(np.sqrt(np.square(centred).sum(1) / counts) + _FLOOR)
    power = np.abs(np.fft.rfft(centred * np.hanning(length + 2)[1:-1], axis=1))[:, 1:] ** 2
    octave = np.log2(np.arange(1, power.shape[1] + 1))
    pitch = (power @ octave) / (power.sum(1) + 1e-12)
    return [
        float(np.log(means.std() + _FLOOR)),
        float(spreads.std()),
        float(spreads.min()),
        float(spreads.max()),
        float(pitch.std()),
    ]


def together(values: np.ndarray) -> np.ndarray:
    """Correlation of each pair of channels, over the steps at which both are there: float64 [T, C] -> [C (C - 1) / 2]."""
    count = values.shape[1]
    there = ~np.isnan(values)
    found = []
    for one in range(count):
        for other in range(one + 1, count):
            both = there[:, one] & there[:, other]
            a, b = values[both, one], values[both, other]
            a, b = (a - a.mean(), b - b.mean()) if len(a) > 1 else (np.zeros(1), np.zeros(1))
            size = np.sqrt((a @ a) * (b @ b))
            found.append(float(a @ b / size) if size > 0 else 0.0)
    return np.array(found)
