"""The training loop: plain PyTorch, read top-down, no callbacks.

With validation rows, the epoch with the best metric wins and its weights are kept; training stops when the metric has not
improved for `patience` epochs. Without, it trains for exactly `stop` epochs on the same schedule: that is how a refit on
train and valid together repeats what was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from consilience.component import Config
from consilience.data.loader import Batch, training_batches
from consilience.data.view import View
from consilience.errors import fail
from consilience.model import Network
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.optim import make_optimizer, schedule
from consilience.train.pieces import Cost, Pieces, recomputing
from consilience.train.position import Epoch, Position, best_epoch, kept, taken

OFTEN = 5.0
"""Seconds between the checkpoints at the ends of short epochs."""


class Train(Config):
    """How a network is trained."""

    epochs: int = Field(40, ge=1, description="The most epochs; the learning rate falls to zero over them.")
    stop: int | None = Field(None, ge=1, description="Stop after this epoch, on the schedule of all epochs.")
    patience: int = Field(8, ge=1, description="Stop when the metric has not improved for so many epochs.")
    batch: int = Field(64, ge=1, description="Rows per step.")
    rate: float = Field(1e-3, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of all steps over which the rate rises.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    augment: bool = Field(True, description="Vary samples in training, for encoders that are trained.")
    views: int = Field(0, ge=0, le=100, description="Stored variations of each sample, drawn from for frozen encoders.")
    pieces: int = Field(1, ge=1, description="Batches that a step's rows are cut into; doubled where memory runs out.")
    recompute: bool = Field(False, description="Compute layers again in the backward pass instead of keeping them.")
    compile: bool = Field(False, description="Compile the network by torch.compile; takes a minute and a C++ compiler.")
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="auto: bf16 where the device gains by it.")


def train_network(
    network: Network,
    view: View,
    rows: np.ndarray,
    task: Task,
    config: Train,
    rng: np.random.Generator,
    budget: Budget,
    label: str,
    validate: Callable[[], float] | None = None,
    rates: Mapping[str, float] | None = None,
) -> list[Epoch]:
    """Train `network` in place on `rows`; at the end it holds the best epoch's weights. Returns the history.

    `validate` gives the metric, larger is better; `rates` are the peak rates of parameters that have their own. Raises
    ConsilienceError where no row has an input, and when the loss is no longer finite. With `budget.checkpoints` it goes on
    where the newest one stands. A KeyboardInterrupt ends it after the last whole epoch and sets `budget.stop`; before there is
    one it is let through.
    """
    encoders = dict(zip(network.names, network.encoders, strict=True))
    rows = rows[np.stack(list(view.present(rows, network.names).values())).any(0)]
    if not len(rows):
        raise fail(
            f"no training row has what {label} is trained on ({', '.join(network.names)})",
            "at least one",
            "leave it out of the predictor's inputs, or mend its cells",
        )
    place = np.full(len(view), -1)
    place[rows] = np.arange(len(rows))
    encoded = task.encode(view.target(rows))
    weight = view.weight(rows) * task.balance(encoded)
    weight /= weight.mean()
    optimizer = make_optimizer(network, config.rate, config.weight_decay, rates)
    steps = math.ceil(len(rows) / config.batch)  # of an epoch
    last = min(config.epochs, config.stop or config.epochs)
    pieces = Pieces(config.pieces, budget.progress)
    through = torch.compile(network, dynamic=True) if config.compile else network
    checkpoints = budget.checkpoints
    state = checkpoints.get("network") if checkpoints is not None else None
    at = Position(rng.bit_generator.state) if state is None else taken(state, network, optimizer, rng, budget.device)
    cost = Cost(label, budget.progress, last * steps)
    with (
        budget.interruptible(lambda: bool(at.best)),
        recomputing(network, config.recompute),
        budget.progress.bar(label, last * steps) as advance,
    ):
        if state is not None:
            advance((at.epoch - 1) * steps + len(at.losses), _note(at.history))
        while at.epoch <= last and not (validate and _over(at.history, config.patience)):
            network.train()
            made = training_batches(
                view,
                encoders,  # type: ignore[arg-type]
                rows,
                config.batch,
                augment=config.augment,
                rng=rng,
                start=len(at.losses),
                pieces=lambda: pieces.count,
                views=config.views if config.augment else 0,
            )
            for step in made:
                factor = schedule((at.epoch - 1) * steps + len(at.losses), config.epochs * steps, config.warmup)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * factor

                def backward(batch: Batch, share: float) -> Tensor:
                    """The loss of some rows of a step, times the share of its weight that they have; its gradient is added."""
                    here = place[batch.rows]
                    target = torch.tensor(encoded[here], device=budget.device)
                    scale = torch.tensor(weight[here], dtype=torch.float32, device=budget.device)
                    with torch.autocast(
                        budget.device.split(":")[0], torch.bfloat16, enabled=_bf16(config.precision, budget.device)
                    ):
                        raw, _ = through(batch.to(budget.device))
                    loss = share * task.loss(raw.float(), target if target.dtype == torch.int64 else target.float(), scale)
                    loss.backward()
                    return loss.detach()

                loss = pieces.loss(step, lambda rows: float(weight[place[rows]].sum()), optimizer, backward)
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
                optimizer.step()
                at.losses.append(loss)
                advance(1, _note(at.history))
                cost.stepped()
                if checkpoints is not None and checkpoints.clock.due():
                    checkpoints.put("network", kept(at, network, optimizer, budget.device))
            mean = float(torch.stack(at.losses).mean())
            if not math.isfinite(mean):
                raise fail(f"the loss of {label} became {mean} in epoch {at.epoch}", "a finite loss", "lower its train.rate")
            at.history.append(Epoch(at.epoch, mean, validate() if validate else None))
            if validate and best_epoch(at.history) == at.epoch:
                at.best = {name: value.detach().clone() for name, value in network.state_dict().items()}
            at.next(rng)
            if checkpoints is not None and checkpoints.clock.due(OFTEN):
                checkpoints.put("network", kept(at, network, optimizer, budget.device))
    if at.best:
        network.load_state_dict(at.best)
    network.eval()
    return at.history


def _over(history: list[Epoch], patience: int) -> bool:
    """Has the metric not improved for so long?"""
    return bool(history) and history[-1].epoch - best_epoch(history) >= patience


def _bf16(precision: str, device: str) -> bool:
    """bf16 gains on GPUs that have it; on CPUs of this size of network it costs more in casts than it saves."""
    if precision == "auto":
        return device.startswith("cuda") and torch.cuda.is_bf16_supported()
    return precision == "bf16"


def _note(history: list[Epoch]) -> str:
    if not history:
        return ""
    last = history[-1]
    best = f", best epoch {best_epoch(history)}" if last.metric is not None else ""
    return f"epoch {last.epoch}: loss {last.loss:.3g}{best}"
