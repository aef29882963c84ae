"""The one forward: encode the present rows of each input, fuse, head.

This is the only place that gathers present rows and scatters back, so no encoder ever sees an absent sample and no fusion
ever sees a made-up one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from consilience.data.loader import Batch
from consilience.encoders.base import Encoder
from consilience.fusions.base import Fusion
from consilience.types import Fused, Tokens


class Network(nn.Module):
    """Encoders, a projection of each input's tokens to the common width, a fusion and a head.

    `dropout` is the share of a token's entries dropped in training before the projection.
    """

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, head: nn.Module, dropout: float) -> None:
        super().__init__()
        self.names = tuple(sorted(encoders))
        self.encoders = nn.ModuleList(encoders[name] for name in self.names)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), nn.Linear(encoders[name].width, fusion.width)) for name in self.names
        )
        self.fusion = fusion
        self.head = head

    def forward(self, batch: Batch) -> tuple[Tensor, Fused]:
        """A batch on the device of the network -> (raw [B, K], what the fusion returned)."""
        tokens = {name: self.encode(index, batch) for index, name in enumerate(self.names)}
        fused = self.fusion(tokens, {name: batch.present[name] for name in self.names})
        return self.head(fused.vector), fused

    def encode(self, index: int, batch: Batch) -> Tokens:
        """Tokens [B, N, fusion width] of one input; False and zero where it is absent."""
        name = self.names[index]
        given, places, rows = batch.given[name], batch.places[name], len(batch.rows)
        if given is None:
            values = self.like().new_zeros(rows, 1, self.fusion.width)
            return Tokens(values, torch.zeros(rows, 1, dtype=torch.bool, device=values.device))
        found = given if isinstance(given, Tokens) else self.encoders[index](given)
        projected = self.projections[index](found.values.to(self.like().dtype))
        count = len(places)  # in a batch of fixed shape what stands behind is repetition
        values = projected.new_zeros(rows, projected.shape[1], projected.shape[2])
        mask = torch.zeros(rows, projected.shape[1], dtype=torch.bool, device=projected.device)
        values[places], mask[places] = projected[:count], found.mask[:count]
        return Tokens(values, mask)

    def like(self) -> Tensor:
        """A parameter, for the device and type of new tensors."""
        return next(self.projections.parameters())
