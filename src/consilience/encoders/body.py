"""The transformer body that scratch stems share: stem tokens in, contextual tokens out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from consilience.nn import Block


class Body(nn.Module):
    """Learned positions, then pre-norm transformer blocks and a last norm. [B, N, D] -> [B, N, D].

    `length` is the largest N; pass 0 where the stem's tokens carry their own place (columns of a table).
    """

    def __init__(self, width: int, depth: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02) if length else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """values [B, N, D], mask [B, N] -> [B, N, D]; what stands in padding is not defined."""
        if self.positions is not None:
            values = values + self.positions[: values.shape[1]]
        values = self.dropout(values)
        for block in self.blocks:
            values = block(values, mask)
        return self.norm(values)
