"""A series encoder that is trained here: patches in time, all channels mixed, then the shared transformer body.

Patches as in PatchTST (Nie et al. 2023, "A time series is worth 64 words", section 3.1), with the channels of a patch in
one token instead of one token each, so that a sensor of 30 channels costs no more than one of one. A patch is a linear map of
its points, beside a convolution with a mean over the patch: the first knows when in the patch something happened, the
second that it happened. Each series is centred and divided by its own deviation, channel by channel (their section 3.1,
"instance normalization"); what that takes away, level and spread, comes back as a token of its own, the first.

The length of a patch is learned: `tokens` patches fill a series of the median length. Long patches are reduced to at most
`_POINTS` points, the means of as many steps each. A series of up to a third more steps has more patches; of a longer one,
patches are taken that lie evenly over it: each keeps its meaning, and what lies between is still in the first token.

A missing value is zero, the mean of its series. A patch in which nothing is there has no token; of the others, the share
that is there of each channel goes into the token.
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
from consilience.modalities.series import Series
from consilience.modalities.series.channels import Scales, scales_from, scales_of
from consilience.modalities.series.values import deviations, means
from consilience.types import Input, Sample, State, Tokens

_POINTS = 64  # most points of a patch
_KERNEL = 9  # points that the convolution sees
_FLAT = 1e-3  # deviations of the channel below which a series counts as flat: rounding is not made large
_LONGEST = 1_000_000  # steps of a point that a state may ask for


class Scratch(Encoder):
    """Tokens [B, 1 + patches, width]: level and spread first, then the patches in time; seconds are the middles."""

    class Config(Encoder.Config):
        tokens: int = Field(48, ge=1, le=1024, description="Patches of a series of the median length.")
        width: int = Field(128, ge=32, le=512, multiple_of=32, description="Numbers per token.")
        depth: int = Field(2, ge=1, le=12, description="Transformer blocks after the stem.")
        heads: Literal[1, 2, 4, 8] = Field(4, description="Attention heads per block.")
        dropout: float = Field(0.1, ge=0, lt=1, description="Share of units dropped in training.")

    modality = "series"
    frozen = False

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.patches = config.tokens
        self.width = config.width
        self.most = math.ceil(config.tokens * 4 / 3)
        self.length = 1 + self.most
        self.body = Body(config.width, config.depth, config.heads, config.dropout, self.length)

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Scales of the channels, the length of a patch, and the parameters that depend on them."""
        values = [_values(sample) for sample in samples]
        median = float(np.median([len(item) for item in values])) if values else 1.0
        self._take(scales_of(values, rng), max(1, math.ceil(median / self.patches)))

    def _take(self, scales: Scales, steps: int) -> None:
        self.scales = scales
        self.block = math.ceil(steps / _POINTS)  # steps of a point
        self.points = math.ceil(steps / self.block)  # of a patch
        channels = len(scales.centre)
        self.linear = nn.Linear(channels * (self.points + 1), self.width)
        self.kernel = nn.Conv1d(channels, self.width // 2, min(_KERNEL, self.points - 1 + self.points % 2), padding="same")
        self.pooled = nn.Linear(self.width // 2, self.width)
        self.statistics = nn.Linear(3 * channels, self.width)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """points [N, C, P] and shares [N, C] of the patches, statistics [3 C], seconds [1 + N]; N at least 1. float32."""
        assert isinstance(sample, Series)
        scaled = self.scales(sample.values)
        steps = len(scaled)
        level, spread = means(scaled), deviations(scaled)
        there, flat = ~np.isnan(scaled), spread < _FLAT
        normed = (scaled - level) / np.where(flat, 1.0, spread)
        normed[~there | flat] = 0.0
        size = self.block * self.points
        starts = np.arange(0, steps, size)
        if len(starts) > self.most:
            starts = np.linspace(0, steps - size, self.most).round().astype(int)
        blocks, here = _patches(normed, starts, size), _patches(there, starts, size)
        counts = here.reshape(len(starts), self.points, self.block, -1).sum(2)
        points = blocks.reshape(len(starts), self.points, self.block, -1).sum(2) / np.maximum(counts, 1)
        middles = (np.minimum(starts + size, steps) + starts) / 2
        prepared = {
            "points": points.clip(-20, 20).transpose(0, 2, 1),
            "shares": here.mean(1),
            "statistics": np.concatenate([np.arcsinh(level), np.log(spread + _FLAT), 1 - there.mean(0)]),
            "seconds": np.concatenate([[steps / 2], middles]) / sample.rate,
        }
        return {key: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for key, value in prepared.items()}

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """Patches that are added have shares of zero, like those in which nothing is there."""
        most = length - 1 if length is not None else max(len(item["points"]) for item in items)
        batch = {"statistics": torch.stack([item["statistics"] for item in items])}
        for key in ("points", "shares", "seconds"):
            short = [most + (key == "seconds") - len(item[key]) for item in items]
            padded = [
                F.pad(item[key], (0, 0) * (item[key].ndim - 1) + (0, more)) for item, more in zip(items, short, strict=True)
            ]
            batch[key] = torch.stack(padded)
        return batch

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        points, shares = batch["points"], batch["shares"]  # [B, N, C, P], [B, N, C]
        rows, count = points.shape[:2]
        flat = torch.cat([points.flatten(2), shares], dim=2)
        seen = F.gelu(self.kernel(points.flatten(0, 1))).mean(2).unflatten(0, (rows, count))
        patches = self.linear(flat) + self.pooled(seen)
        first = self.statistics(batch["statistics"]).unsqueeze(1)
        there = (shares > 0).any(2)
        mask = torch.cat([there.new_ones(rows, 1), there], dim=1)
        return Tokens(self.body(torch.cat([first, patches], dim=1), mask), mask, batch["seconds"])

    def state(self) -> State:
        return State({"block": self.block, "points": self.points}, self.scales.arrays())

    def restore(self, state: State) -> None:
        scales = scales_from(state, "scratch")
        block, points = state.json.get("block"), state.json.get("points")
        if not (isinstance(block, int) and isinstance(points, int) and 0 < points <= _POINTS and 0 < block <= _LONGEST):
            raise fail(f"a series encoder with patches of {points} points of {block} steps", "whole numbers", "train it again")
        self._take(scales, block * points)


def _patches(values: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """[T, C] -> [N, size, C] from `starts` on; zero where a patch reaches over the end."""
    if starts[-1] == size * (len(starts) - 1):  # one after the other
        padded = np.zeros((size * len(starts), values.shape[1]), values.dtype)
        padded[: len(values)] = values
        return padded.reshape(len(starts), size, -1)
    return values[starts[:, None] + np.arange(size)]


def _values(sample: Sample) -> np.ndarray:
    assert isinstance(sample, Series)
    return sample.values
