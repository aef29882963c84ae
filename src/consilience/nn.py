"""Small neural building blocks that several plugins share.

Every block is safe for rows whose mask is entirely False: it returns finite numbers and no gradient, because an absent
input is a false mask and never a zero sample.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from consilience.errors import fail


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are there. values [B, N, D], mask [B, N] -> [B, D]; zeros where there is none."""
    weight = mask.to(values.dtype).unsqueeze(-1)
    kept = values.masked_fill(~mask.unsqueeze(-1), 0.0)  # not a product: a NaN in padding must not survive
    return kept.sum(1) / weight.sum(1).clamp(min=1.0)


def masked_deviation(values: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation over the tokens that are there. [B, N, D], [B, N] -> [B, D]; zeros below two tokens."""
    centred = (values - masked_mean(values, mask).unsqueeze(1)).masked_fill(~mask.unsqueeze(-1), 0.0)
    variance = masked_mean(centred.square(), mask)
    still = variance == 0  # where a root has no gradient
    return variance.masked_fill(still, 1.0).sqrt().masked_fill(still, 0.0)


class MLP(nn.Module):
    """Linear, GELU, dropout, linear. [..., D] -> [..., out]."""

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        return self.outer(self.dropout(F.gelu(self.inner(values))))


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, eq. 1) in which False keys get exactly zero weight.

    A query without any key that is there returns zeros instead of NaN.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise fail(
                f"the width {width} is no multiple of the {heads} attention heads", "a multiple", "change one of the two"
            )
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """queries [B, Q, D], keys [B, N, D], mask [B, N] over the keys -> [B, Q, D]."""
        rows, count, width = queries.shape
        query = self.query(queries).view(rows, count, self.heads, -1).transpose(1, 2)
        key, value = self.key_value(keys).view(rows, keys.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        nothing = ~mask.any(1)
        # A row without keys attends to its padding and is zeroed after: cheaper than a branch, and free of NaN.
        allowed = (mask | nothing.unsqueeze(1))[:, None, None, :]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        out = self.out(mixed.transpose(1, 2).reshape(rows, count, width))
        return out.masked_fill(nothing[:, None, None], 0.0)


class Block(nn.Module):
    """Pre-norm transformer block (Xiong et al. 2020): attention, then an MLP of four times the width.

    Dropout stands on what the two branches add, not inside them: on a processor, dropped attention weights and hidden units
    cost half of a training step (their random numbers, and an attention that can no longer be computed in blocks).
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width, 0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """values [B, N, D], mask [B, N] -> [B, N, D]."""
        normed = self.norm_attention(values)
        values = values + self.dropout(self.attention(normed, normed, mask))
        return values + self.dropout(self.mlp(self.norm_mlp(values)))


def sinusoids(positions: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Fixed sine and cosine position codes (Vaswani et al. 2017, section 3.5). [...] -> [..., width]; width even."""
    assert width % 2 == 0, f"width {width} must be even"
    rates = longest ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    angles = positions.to(torch.float32).unsqueeze(-1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
