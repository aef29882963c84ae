"""A step in pieces that fit into memory, layers that are computed again instead of kept, and what training will cost.

The rows of a step go through the network in so many batches, one after the other, and their gradients are added up: the step is
that of all rows, whatever the number. Where memory runs out, the number is doubled, and the step done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from consilience.data.loader import Batch, Step
from consilience.errors import fail
from consilience.progress import LONG, Progress, duration

_FULL = ("not enough memory", "can't allocate memory", "out of memory")
"""What the allocators of processors and of Apple's GPUs say; CUDA's raises an error of its own."""


class Pieces:
    """In how many batches the steps of one training are cut."""

    def __init__(self, count: int, progress: Progress) -> None:
        self.count = count
        self.progress = progress

    def loss(
        self,
        step: Step,
        weigh: Callable[[np.ndarray], float],
        optimizer: torch.optim.Optimizer,
        backward: Callable[[Batch, float], Tensor],
    ) -> Tensor:
        """The loss of a step, its gradient in the parameters. Raises ConsilienceError where one row is too much."""
        if len(step.batches) < min(self.count, len(step.rows)):  # made ahead, before memory ran out
            step = step.again(self.count)
        while True:
            optimizer.zero_grad(set_to_none=True)
            try:
                if len(step.batches) == 1:
                    return backward(step.batches[0], 1.0)
                whole = max(weigh(step.rows), 1e-12)
                return torch.stack([backward(batch, weigh(batch.rows) / whole) for batch in step.batches]).sum()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not isinstance(error, torch.OutOfMemoryError) and not any(said in str(error) for said in _FULL):
                    raise
            if self.count >= len(step.rows):
                raise fail(
                    "there is not enough memory to train on one row at a time",
                    "memory for one row",
                    "choose smaller encoders, or set train.recompute",
                )
            optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.count *= 2
            self.progress.say(f"  out of memory: steps of {len(step.rows)} rows in {self.count} pieces from here on")
            step = step.again(self.count)


@contextmanager
def recomputing(network: nn.Module, when: bool) -> Iterator[None]:
    """While it is open, the layers of the network keep what goes into them only (Chen et al. 2016); `when` False: all."""
    layers = [layer for part in network.modules() if isinstance(part, nn.ModuleList) for layer in part] if when else []
    layers = [layer for layer in layers if not _holds_lists(layer)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _holds_lists(layer: nn.Module) -> bool:
    """Is it an encoder, or another module that has layers of its own?"""
    return any(isinstance(part, nn.ModuleList) for part in layer.modules())


class Cost:
    """Says how long a training will take, where it is long, once a few steps are done."""

    def __init__(self, label: str, progress: Progress, steps: int) -> None:
        self.label, self.progress, self.steps = label, progress, steps
        self.done, self.started = 0, 0.0

    def stepped(self) -> None:
        """A step is done. The first one counts for nothing: it waits for the first batch."""
        self.done += 1
        if self.done == 1:
            self.started = time.perf_counter()
        if self.done == 4 and (rest := (time.perf_counter() - self.started) / 3 * self.steps) > LONG:
            self.progress.say(f"  {self.label}: {self.steps} steps at most, about {duration(rest)}")
