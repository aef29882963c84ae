"""AdamW with warm-up and cosine decay."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn


def make_optimizer(
    network: nn.Module, rate: float, weight_decay: float, rates: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019). Biases, norms and other vectors are not decayed.

    `rates` are those of parameters that learn at another one, by name. Each group knows its own as `peak`.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault(((rates or {}).get(name, rate), decay), []).append(parameter)
    made = [
        {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
        for (peak, decay), parameters in sorted(groups.items(), reverse=True)
    ]
    return torch.optim.AdamW(made, fused=True)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate at `step` of `steps`: linear to 1 over the share `warmup`, then half a cosine to 0."""
    rise = max(1.0, warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rise) / max(1.0, steps - rise))))
