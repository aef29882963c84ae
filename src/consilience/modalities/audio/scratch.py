"""A small audio encoder that is trained here: convolutions over patches of the log-mel spectrogram, then the shared body.

A token is a patch of 40 ms that is seen with its surroundings, 80 ms in all. Each patch goes through the convolutions on
its own, so that neither padding nor what is left out between two windows can reach it, and they run over frequency too:
a higher voice is the same pattern a little further up. They see it twice, as it is and averaged over nine frames, which
noise hides less. Both are centred on their median and divided by their deviation, recording by recording, so that
loudness does not count.

A recording of more patches than `length` is read in evenly spaced windows of consecutive patches. How many tokens are
padded to is learned from the training recordings, at most `length`: short sounds are not to cost as much as long ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from consilience.encoders.base import Encoder
from consilience.encoders.body import Body
from consilience.errors import fail
from consilience.modalities.audio.sample import Sound
from consilience.sound import HOP, decibels, filled_bands, frames_of, mel_power
from consilience.types import Input, Sample, State, Tokens

_STEP = 4  # frames from patch to patch
_SEEN = 8  # frames that the convolutions see of each
_RUN = 8  # consecutive patches of a window
_BANDS = 40
_AROUND = 4  # frames to each side that are averaged
_CLIP = 4.0  # deviations


class Scratch(Encoder):
    """One token [width] per 40 ms, at most `length`."""

    modality = "audio"
    frozen = False

    class Config(Encoder.Config):
        width: int = Field(128, ge=32, le=512, multiple_of=32, description="Numbers per token.")
        depth: int = Field(2, ge=1, le=12, description="Transformer blocks after the convolutions.")
        heads: Literal[1, 2, 4, 8] = Field(4, description="Attention heads per block.")
        dropout: float = Field(0.1, ge=0, lt=1, description="Share of units dropped in training.")
        length: int = Field(256, ge=_RUN, le=4096, description="Patches of 40 ms read of a recording, spread evenly over it.")

    config: Config

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.width = config.width
        self.stem = nn.Sequential(
            nn.Conv2d(2, 64, (_SEEN, 9), stride=(1, 2), padding=(0, 4)),  # all of the time, 20 places of frequency
            nn.GELU(),
            nn.Conv2d(64, 64, (1, 3), stride=(1, 2), padding=(0, 1)),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(64 * (_BANDS // 4), config.width),
        )
        self._set(config.length)

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learns the length: an eighth over the longest recording, because augmentation slows down too."""
        longest = max((_patches(sample) for sample in samples), default=0)
        self._set(min(self.config.length, max(_RUN, _RUN * math.ceil(longest / _RUN * 9 / 8))))

    def state(self) -> State:
        return State({"length": self.length})

    def restore(self, state: State) -> None:
        length = state.json.get("length")
        if not isinstance(length, int) or not 0 < length <= self.config.length:
            raise fail(f"audio scratch: length is {length!r}", f"1 to {self.config.length}", "train the run again")
        self._set(length)

    def _set(self, length: int) -> None:
        options = self.config
        self.length = length
        self.body = Body(options.width, options.depth, options.heads, options.dropout, length)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """patches: float32 [N, 2, 8, 40], as it is and averaged over nine frames; seconds: float32 [N], the middle of each."""
        assert isinstance(sample, Sound)
        power = mel_power(sample.waves, sample.rate, _BANDS)
        smooth = F.avg_pool1d(power.T, 2 * _AROUND + 1, stride=1, padding=_AROUND, count_include_pad=False).T
        frames = torch.stack([_levels(power, sample.rate), _levels(smooth, sample.rate)], 1)
        count = math.ceil(len(frames) / _STEP)
        around = (_SEEN - _STEP) // 2
        padded = F.pad(frames, (0, 0, 0, 0, around, around + count * _STEP - len(frames)))
        chosen = torch.from_numpy(windows(count, self.length))
        every = padded.unfold(0, _SEEN, _STEP).transpose(2, 3)
        patches = every.contiguous() if len(chosen) == count else every[chosen]  # which would be much slower
        return {"patches": patches, "seconds": (chosen * _STEP + (_STEP - 1) / 2).float() * HOP}

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """patches [B, N, 2, 8, 40], seconds [B, N], padded with 0, and mask [B, N]; N is `length` or the most of the items."""
        counts = torch.tensor([len(item["seconds"]) for item in items])
        longest = int(counts.max()) if length is None else length
        assert int(counts.max()) <= longest <= self.length
        patches = [F.pad(item["patches"], (0, 0, 0, 0, 0, 0, 0, longest - len(item["patches"]))) for item in items]
        seconds = [F.pad(item["seconds"], (0, longest - len(item["seconds"]))) for item in items]
        mask = torch.arange(longest) < counts[:, None]
        return {"patches": torch.stack(patches), "seconds": torch.stack(seconds), "mask": mask}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, N, width]."""
        patches, mask = batch["patches"], batch["mask"]
        values = self.stem(patches.flatten(0, 1)).view(*mask.shape, self.width)
        return Tokens(self.body(values, mask), mask, batch["seconds"])


def _levels(power: Tensor, rate: int) -> Tensor:
    """Decibels about their median, divided by their deviation as it would be without outliers."""
    levels = decibels(power, rate)
    spread = levels[:, : filled_bands(rate, _BANDS)].abs().median() / 0.67
    return (levels / spread.clamp(min=1.0)).clamp(-_CLIP, _CLIP)


def _patches(sample: Sample) -> int:
    assert isinstance(sample, Sound)
    return math.ceil(frames_of(len(sample.waves), sample.rate) / _STEP)


def windows(count: int, length: int) -> np.ndarray:
    """int64: which of `count` patches are read, in order; all where they are at most `length`."""
    if count <= length:
        return np.arange(count)
    starts = np.linspace(0, count - _RUN, length // _RUN).round().astype(np.int64)
    return (starts[:, None] + np.arange(_RUN)).ravel()
