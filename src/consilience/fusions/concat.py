"""Concatenation: the mean token of each input, side by side, then an MLP. The baseline that fusion has to beat.

An absent input contributes a learned vector in place of its mean, so that absence differs from a mean of zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from consilience.fusions.base import Fusion
from consilience.nn import MLP, masked_mean
from consilience.types import Fused, Tokens


class Concat(Fusion):
    """vector = MLP([mean tokens of input 1, mean tokens of input 2, ...])."""

    class Config(Fusion.Config):
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of hidden units dropped in training.")

    def __init__(self, *, config: Config, inputs: tuple[str, ...], width: int) -> None:
        super().__init__(config=config, inputs=inputs, width=width)
        self.absent = nn.Parameter(torch.zeros(len(self.inputs), width))
        self.norm = nn.LayerNorm(width * len(self.inputs))
        self.mlp = MLP(width * len(self.inputs), 2 * width, width, config.dropout)

    def fuse(self, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        means = [
            torch.where(present[name].unsqueeze(1), masked_mean(tokens[name].values, tokens[name].mask), self.absent[index])
            for index, name in enumerate(self.inputs)
        ]
        return Fused(self.mlp(self.norm(torch.cat(means, dim=1))))
