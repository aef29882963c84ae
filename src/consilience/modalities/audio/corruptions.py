"""Damage to recordings, for tests of robustness. Nothing of it is used in training.

Everything scales with the recording's own level. With one generator a severer damage contains the milder one: the same
noise, louder; more of the same gaps; a lower cut. Coding is mu-law (ITU-T G.711, the formula of its section on continuous
laws) with ever fewer bits, not a real codec: it needs no library, whose builds differ, and gives the same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from consilience.modalities.audio.sample import Sound
from consilience.modalities.base import Corruption
from consilience.sound import TOP

_SLOTS = 20  # pieces of equal length that can drop out
_MU = 255


def level(waves: np.ndarray) -> float:
    """The root mean square."""
    return float(np.sqrt(np.square(waves, dtype=np.float64).mean()))


def _noise(sound: Sound, severity: float, rng: np.random.Generator) -> np.ndarray:
    """White, from 20 dB below the recording to 10 dB above it; softer as a whole where it would be over full scale."""
    loudness = level(sound.waves) * 10 ** ((30 * severity - 20) / 20)
    waves = sound.waves + loudness * rng.standard_normal(len(sound.waves))
    return waves / max(1.0, float(np.abs(waves).max()))


def _clipping(sound: Sound, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Cut at a height that falls from the peak to a tenth of the root mean square."""
    peak = float(np.abs(sound.waves).max())
    height = peak ** (1 - severity) * (0.1 * level(sound.waves)) ** severity
    return sound.waves.clip(-height, height)


def _dropouts(sound: Sound, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Up to 16 of 20 pieces of equal length are silent, one at least."""
    waves = sound.waves.copy()
    cuts = np.linspace(0, len(waves), _SLOTS + 1).round().astype(int)
    for slot in rng.permutation(_SLOTS)[: max(1, round(0.8 * _SLOTS * severity))]:
        waves[cuts[slot] : cuts[slot + 1]] = 0
    return waves


def _low_pass(sound: Sound, severity: float, rng: np.random.Generator) -> np.ndarray:
    """A Butterworth filter of the second order, by its gain alone: 12 dB softer for each octave above a limit that falls
    from half the rate, or 8 kHz, to 200 Hz.
    """
    highest = min(TOP, sound.rate / 2)
    limit = highest ** (1 - severity) * min(200.0, highest) ** severity
    hertz = np.fft.rfftfreq(len(sound.waves), 1 / sound.rate)
    return np.fft.irfft(np.fft.rfft(sound.waves) / np.sqrt(1 + (hertz / limit) ** 4), len(sound.waves))


def _coding(sound: Sound, severity: float, rng: np.random.Generator) -> np.ndarray:
    """Mu-law of the recording's own range, with steps as of 6 bits down to 1 bit."""
    peak = float(np.abs(sound.waves).max()) or 1.0
    steps = 2 ** (5 * (1 - severity))  # on each side of zero
    squeezed = np.log1p(_MU * np.abs(sound.waves) / peak) / np.log1p(_MU)
    return np.sign(sound.waves) * peak * np.expm1(np.round(squeezed * steps) / steps * np.log1p(_MU)) / _MU


def _damaged(
    damage: Callable[[Sound, float, np.random.Generator], np.ndarray],
    sample: Sound,
    severity: float,
    rng: np.random.Generator,
) -> Sound:
    return replace(sample, waves=damage(sample, severity, rng).astype(np.float32)) if severity > 0 else sample


ALL: Mapping[str, Corruption] = {
    "noise": partial(_damaged, _noise),
    "clipping": partial(_damaged, _clipping),
    "dropouts": partial(_damaged, _dropouts),
    "low_pass": partial(_damaged, _low_pass),
    "coding": partial(_damaged, _coding),
}
