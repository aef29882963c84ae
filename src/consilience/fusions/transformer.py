"""Masked late-fusion transformer: the default.

Tokens of all inputs, each marked with a learned vector of its input, stand in one sequence with a summary token; a few
pre-norm blocks mix them and the summary token is the result. False tokens are never attended to, so an absent input
leaves the sequence instead of being imputed (late fusion as tuned in SimBaMM, arXiv 2512.22991).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from consilience.fusions.base import Fusion
from consilience.nn import Block
from consilience.types import Fused, Tokens


class Transformer(Fusion):
    """vector = summary token after `depth` blocks over [summary, tokens of all inputs]."""

    class Config(Fusion.Config):
        depth: int = Field(2, ge=1, le=48, description="Number of transformer blocks.")
        heads: int = Field(4, ge=1, le=64, description="Attention heads per block; divides the width.")
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of activations dropped in training.")

    def __init__(self, *, config: Config, inputs: tuple[str, ...], width: int) -> None:
        super().__init__(config=config, inputs=inputs, width=width)
        self.summary = nn.Parameter(torch.randn(width) * 0.02)
        self.marks = nn.Parameter(torch.randn(len(self.inputs), width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, config.heads, config.dropout) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)

    def fuse(self, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        rows = next(iter(present.values())).shape[0]
        summary = self.summary.expand(rows, 1, -1)
        marked = [tokens[name].values + self.marks[index] for index, name in enumerate(self.inputs)]
        values = torch.cat([summary, *marked], dim=1)
        there = torch.ones(rows, 1, dtype=torch.bool, device=values.device)
        mask = torch.cat([there, *(tokens[name].mask for name in self.inputs)], dim=1)
        # What stands in padding may be anything, NaN included; attention gives it zero weight, but 0 * NaN is NaN.
        values = values.masked_fill(~mask.unsqueeze(-1), 0.0)
        for block in self.blocks:
            values = block(values, mask)
        values = self.norm(values)
        return Fused(values[:, 0], values[:, 1:])
