"""The contract of a fusion: tokens of all inputs -> `Fused(vector, tokens, weights)`.

The content of padding and of absent inputs changes nothing; the order of inputs does not matter; a fusion works with
any subset of the inputs present. One contract test holds every fusion to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from consilience import component
from consilience.errors import fail
from consilience.types import Fused, Tokens

__all__ = ["Fusion"]


class Fusion(nn.Module, ABC):
    """Subclasses are final, hold a nested `Config`, and implement `fuse`.

    The constructor takes `config`, `inputs` (names) and `width` (D of every input's tokens), by keyword.
    """

    class Config(component.Config):
        """No options."""

    def __init__(self, *, config: component.Config, inputs: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.config = config
        self.inputs = tuple(sorted(inputs))  # sorted, so that the order of inputs cannot matter
        self.width = width

    def forward(self, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """tokens and present ([B] bool) for every input; vector is [B, width].

        Raises ConsilienceError where a row has no input present: there is nothing to fuse.
        """
        assert set(tokens) == set(self.inputs) == set(present), f"got {sorted(tokens)}, made for {self.inputs}"
        for name in self.inputs:
            assert tokens[name].values.shape[-1] == self.width, f"{name}: D is {tokens[name].values.shape[-1]}"
            assert torch.equal(present[name], tokens[name].mask.any(1)), f"{name}: present is not mask.any(1)"
        some = torch.stack([present[name] for name in self.inputs]).any(0)
        if not bool(some.all()):
            raise fail(
                f"{int((~some).sum())} of {len(some)} rows have no input present",
                "at least one present input in every row that is fused",
                "answer such rows with the training prior; the predictors do",
            )
        return self.fuse(tokens, present)

    @abstractmethod
    def fuse(self, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        """As `forward`; every row has at least one input."""
