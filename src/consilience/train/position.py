"""Where the training of a network stands: all that its next step depends on, as a checkpoint holds it.

What is drawn in an epoch (order, augmentation) is drawn at its start. So the generator is kept as it was there, and how many
steps of the epoch are done says where to go on; torch's own generator, for dropout, is kept as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from consilience.errors import fail
from consilience.types import State


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean training loss, and the metric on the validation rows (None without them)."""

    epoch: int
    loss: float
    metric: float | None


@dataclass
class Position:
    """In the middle of `epoch` after the steps whose losses are kept; `drawn` is the generator's state at its start."""

    drawn: Mapping[str, Any]
    epoch: int = 1
    losses: list[Tensor] = field(default_factory=list)
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    def next(self, rng: np.random.Generator) -> None:
        """To the start of the next epoch."""
        self.epoch, self.losses, self.drawn = self.epoch + 1, [], rng.bit_generator.state


def best_epoch(history: list[Epoch]) -> int:
    """The epoch with the best metric, the earliest of equals; the last one where nothing was validated."""
    measured = [epoch for epoch in history if epoch.metric is not None and not math.isnan(epoch.metric)]
    if not measured:
        return history[-1].epoch
    return max(measured, key=lambda epoch: (epoch.metric, -epoch.epoch)).epoch


def kept(at: Position, network: nn.Module, optimizer: torch.optim.Optimizer, device: str) -> State:
    """The position with the weights, the optimizer and torch's generators."""
    arrays = {f"weight/{name}": value for name, value in network.state_dict().items()}
    arrays |= {f"best/{name}": value for name, value in at.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{index}/{name}": value for name, value in moments.items()}
    arrays["random"] = torch.get_rng_state()
    if device.startswith("cuda"):
        arrays["random/cuda"] = torch.cuda.get_rng_state(device)
    if at.losses:
        arrays["losses"] = torch.stack(at.losses)
    json = {"epoch": at.epoch, "drawn": at.drawn, "history": [asdict(epoch) for epoch in at.history]}
    return State(json, {name: value.detach().cpu().numpy() for name, value in arrays.items()})


def taken(
    state: State, network: nn.Module, optimizer: torch.optim.Optimizer, rng: np.random.Generator, device: str
) -> Position:
    """Take a position back, into the network, the optimizer and the generators."""
    arrays = {name: torch.from_numpy(array.copy()) for name, array in state.arrays.items()}
    try:
        network.load_state_dict({name[7:]: value for name, value in arrays.items() if name.startswith("weight/")})
        described = optimizer.state_dict()
        described["state"] = {}
        for name, value in arrays.items():
            if name.startswith("optimizer/"):
                _, index, moment = name.split("/")
                described["state"].setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict(described)
        torch.set_rng_state(arrays["random"])
        if device.startswith("cuda"):
            torch.cuda.set_rng_state(arrays["random/cuda"], device)
        rng.bit_generator.state = state.json["drawn"]
        best = {name[5:]: value.to(device) for name, value in arrays.items() if name.startswith("best/")}
        losses = list(arrays["losses"].to(device)) if "losses" in arrays else []
        history = [Epoch(**epoch) for epoch in state.json["history"]]
        return Position(state.json["drawn"], int(state.json["epoch"]), losses, history, best)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise fail(
            f"a checkpoint does not fit this training: {' '.join(str(error).split())}",
            "one that this version wrote of it",
            "remove the folder of checkpoints to begin anew",
        ) from None
