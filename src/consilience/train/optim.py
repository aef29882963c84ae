"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math

import torch
from torch import nn


def make_optimizer(network: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019). Biases, norms and other vectors are not decayed."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, fused=True)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate at `step` of `steps`: linear to 1 over the share `warmup`, then half a cosine to 0."""
    rise = max(1.0, warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise))))
