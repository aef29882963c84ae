"""A recording once read, and the grid of time and frequency by which it is taken apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from consilience.sound import TOP, to_hertz, to_mel
from consilience.types import Sample

SPANS = BANDS = 4
"""Parts are the cells of a grid of SPANS stretches of time and BANDS bands of frequency."""

_SHORTEST = 64  # samples of a span: shorter ones have too few Fourier bins for their bands


@dataclass(frozen=True, kw_only=True, eq=False)
class Sound(Sample):
    """waves: float32 [T] in -1..1, one channel, T > 0; rate: samples a second."""

    waves: np.ndarray
    rate: int

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.waves.nbytes


@dataclass(frozen=True)
class Region:
    """A part: samples `start` to `stop`, frequencies `low` to `high` in hertz."""

    start: int
    stop: int
    low: float
    high: float

    def label(self, rate: int) -> str:
        return f"{self.start / rate:.2f} to {self.stop / rate:.2f} s, {self.low:.0f} to {self.high:.0f} Hz"


def regions(sound: Sound) -> list[Region]:
    """Four bands of equal width on the mel scale, low to high, in each of four spans of equal length; fewer spans for
    recordings of less than 256 samples. The highest band reaches to half the rate.
    """
    count = len(sound.waves)
    cuts = np.linspace(0, count, max(1, min(SPANS, count // _SHORTEST)) + 1).round().astype(int).tolist()
    hertz = to_hertz(np.linspace(0, to_mel(min(TOP, sound.rate / 2)), BANDS + 1)).tolist()
    hertz[-1] = sound.rate / 2
    return [Region(start, stop, low, high) for start, stop in pairwise(cuts) for low, high in pairwise(hertz)]


def without(sound: Sound, removed: list[Region]) -> np.ndarray:
    """float32 [T]: the waves with a band-stop over each of the regions, which is exact inside its span: regions add up."""
    waves = sound.waves.copy()
    for region in removed:
        span = waves[region.start : region.stop]
        spectrum = np.fft.rfft(span)
        hertz = np.fft.rfftfreq(len(span), 1 / sound.rate)
        stopped = (hertz >= region.low) & ((hertz < region.high) | (region.high == sound.rate / 2))
        spectrum[stopped] = 0
        waves[region.start : region.stop] = np.fft.irfft(spectrum, len(span))
    return waves
