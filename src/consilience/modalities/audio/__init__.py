"""The modality `audio`: a cell names a recording or holds its bytes.

Decisions. A recording is kept as one channel of float32 at its own rate: encoders look at hertz and seconds, so nothing is
resampled that need not be. Parts are spans of time by bands of frequency, removed by a band-stop inside the span; the
parts add up to the recording, so that removing all of them leaves silence. Augmentation changes the speed by up to a tenth
(Ko et al. 2015, "Audio augmentation for speech recognition"), which moves pitch and tempo together and makes one voice
another, and masks a stretch of time and a band (SpecAugment, Park et al. 2019), here of the waves themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from consilience.media import ending, exists, is_url, read_bytes
from consilience.modalities.audio import corruptions
from consilience.modalities.audio.drawing import draw
from consilience.modalities.audio.sample import Sound, regions, without
from consilience.modalities.base import Corruption, Modality
from consilience.sound import ENDINGS, TOP, decode_sound, is_sound, to_hertz, to_mel
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part

__all__ = ["Audio", "Sound"]

_CLAIMED = 0.8  # the share of cells that must look like recordings
_STEP = 0.04  # seconds
_SPEEDS = np.linspace(0.9, 1.1, 9)  # a few, so that the filter bank of each rate is made once


class Audio(Modality):
    """Recordings, one column an input."""

    name = "audio"
    media = True
    corruptions: ClassVar[Mapping[str, Corruption]] = corruptions.ALL

    def detect(self, column: Column) -> Claim | None:
        """Claims columns in which 80% of the sampled cells name recordings, or hold bytes that open as one.

        A name with white space in it counts only where the file exists: a sentence may end in a file name.
        """
        endings: Counter[str] = Counter()
        found = held = urls = 0
        for cell in column.cells:
            if isinstance(cell, bytes):
                held += is_sound(cell)
            elif isinstance(cell, str | Path) and (last := ending(cell)) in ENDINGS:
                there = exists(column.root / cell)
                if there or len(str(cell).split()) == 1:
                    endings[last] += 1
                    urls += is_url(cell)
                    found += there
        count, named = len(column.cells), endings.total()
        if not count or named + held < _CLAIMED * count:
            return None
        reasons = []
        if named:
            listed = ", ".join(last for last, _ in endings.most_common())
            there = f"{urls} of {named} are URLs" if urls else f"{found} of {named} exist"
            reasons.append(f"{named / count:.0%} of {count} sampled cells end in {listed} and {there}")
        if held:
            reasons.append(f"{held / count:.0%} of {count} sampled cells are bytes that open as a recording")
        return Claim(0.95, "; ".join(reasons))

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Sound | Missing:
        """None, an empty string, an absolute `Path` or `bytes` -> `Sound`. See `consilience.sound` for the rules."""
        data = read_bytes(cells[input.columns[0]], limits)
        if isinstance(data, Missing):
            return data
        decoded = decode_sound(data, limits)
        if isinstance(decoded, Missing):
            return decoded
        waves, rate, notes = decoded
        return Sound(waves=waves, rate=rate, notes=notes)

    def augment(self, sample: Sound, rng: np.random.Generator) -> Sound:
        """Played at 90 to 110% of its speed and moved by up to a tenth of its length; with noise 30 dB or more below it,
        up to a twentieth of its time silent and as much of its mel range taken out; 6 dB louder or softer at most.
        """
        count = len(sample.waves)
        shift, silent, at, cut, low, noise, gain = rng.random(7)
        rate = round(sample.rate * rng.choice(_SPEEDS))
        spectrum = np.fft.rfft(sample.waves)
        top = float(to_mel(min(TOP, rate / 2)))
        bottom = low * (1 - 0.05 * cut) * top
        first, last = (to_hertz(np.array([bottom, bottom + 0.05 * cut * top])) * count / rate).astype(int)
        spectrum[first:last] = 0
        move = round(0.2 * (shift - 0.5) * count)
        waves = np.zeros(count, np.float32)
        waves[max(0, move) : count + min(0, move)] = np.fft.irfft(spectrum, count)[max(0, -move) : count - max(0, move)]
        stretch = round(0.05 * silent * count)
        start = round(at * (count - stretch))
        waves[start : start + stretch] = 0
        level = np.float32(corruptions.level(sample.waves) * 10 ** (-1.5 - noise))
        waves += level * rng.standard_normal(count, np.float32)
        waves *= np.float32(min(2 ** (2 * gain - 1), 1 / max(float(np.abs(waves).max()), 1e-9)))
        return replace(sample, waves=waves, rate=rate)

    def size(self, sample: Sound) -> int:
        """Its number of steps of 40 ms, of which the scratch encoder makes tokens."""
        return 1 + int(len(sample.waves) / sample.rate / _STEP)

    def describe(self, sample: Sound) -> str:
        return f"{len(sample.waves) / sample.rate:.3g} s at {sample.rate / 1000:g} kHz"

    def parts(self, sample: Sound) -> list[Part]:
        """Four spans of time, each by four bands of frequency from low to high."""
        return [Part(index, region.label(sample.rate)) for index, region in enumerate(regions(sample))]

    def keep(self, sample: Sound, kept: Collection[int]) -> Sound:
        """The other cells of time and frequency silent."""
        removed = [region for index, region in enumerate(regions(sample)) if index not in kept]
        return replace(sample, waves=without(sample, removed)) if removed else sample

    def draw(self, sample: Sound, weights: Mapping[int, float]) -> str:
        """A `<figure>` with waveform and spectrogram, its parts tinted red or blue, and the sound where it is short."""
        return draw(sample, self.parts(sample), weights)

    def encoders(self) -> Mapping[str, str]:
        kinds = {"descriptor": "Descriptor", "scratch": "Scratch", "pretrained": "Pretrained"}
        return {name: f"{__name__}.{name}:{kind}" for name, kind in kinds.items()}
