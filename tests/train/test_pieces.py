"""Steps in pieces, layers that are computed again, and what training costs: the same numbers as without."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from consilience.data.loader import Batch, Step
from consilience.errors import ConsilienceError
from consilience.nn import Block
from consilience.progress import Silent, duration
from consilience.train.pieces import Cost, Pieces, recomputing

INPUTS = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
WEIGHT = np.array([1.0, 1.0, 2.0, 4.0])


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def step(count: int) -> Step:
    rows = np.arange(4)
    batches = [Batch(part, {}, {}, {}) for part in np.array_split(rows, min(4, count))]
    return Step(rows, batches, step)


def learner(fails: Callable[[int], Exception | None]) -> tuple[nn.Linear, Callable[[Batch, float], Tensor]]:
    """A line through the rows; `fails` says what is raised for so many rows."""
    line = nn.Linear(1, 1)
    nn.init.ones_(line.weight)
    nn.init.zeros_(line.bias)

    def backward(batch: Batch, share: float) -> Tensor:
        error = fails(len(batch.rows))
        if error is not None:
            raise error
        weight = torch.from_numpy(WEIGHT[batch.rows]).float()
        loss = share * (line(INPUTS[batch.rows])[:, 0].square() * weight).sum() / weight.sum()
        loss.backward()
        return loss.detach()

    return line, backward


def run(pieces: Pieces, cut: int, fails: Callable[[int], Exception | None] = lambda rows: None) -> tuple[float, float]:
    line, backward = learner(fails)
    optimizer = torch.optim.SGD(line.parameters(), 0.1)
    loss = pieces.loss(step(cut), lambda rows: float(WEIGHT[rows].sum()), optimizer, backward)
    assert line.weight.grad is not None
    return float(loss), float(line.weight.grad)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_pieces_add_up_to_the_step(cut: int) -> None:
    # (1*1 + 1*4 + 2*9 + 4*16) / 8 = 87 / 8; its derivative by the slope is twice that.
    loss, gradient = run(Pieces(cut, Silent()), cut)
    assert loss == pytest.approx(87 / 8)
    assert gradient == pytest.approx(87 / 4)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory: you tried")]
)
def test_the_number_is_doubled_where_memory_runs_out(error: Exception) -> None:
    said = Said()
    pieces = Pieces(1, said)
    loss, gradient = run(pieces, 1, lambda rows: error if rows > 1 else None)
    assert (loss, gradient) == (pytest.approx(87 / 8), pytest.approx(87 / 4))
    assert pieces.count == 4
    assert said.lines == [f"  out of memory: steps of 4 rows in {count} pieces from here on" for count in (2, 4)]


def test_a_step_that_was_made_ahead_is_cut_before_it_is_tried() -> None:
    pieces, tried = Pieces(2, Silent()), []
    run(pieces, 1, lambda rows: tried.append(rows))
    assert tried == [2, 2]
    assert pieces.count == 2


def test_says_that_a_row_is_too_much() -> None:
    with pytest.raises(ConsilienceError, match="not enough memory to train on one row at a time"):
        run(Pieces(1, Silent()), 1, lambda rows: torch.OutOfMemoryError("no"))


def test_another_error_is_let_through() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run(Pieces(1, Silent()), 1, lambda rows: RuntimeError("shapes do not fit"))


def test_layers_that_are_computed_again_give_the_same_and_keep_less() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"blocks": nn.ModuleList(Block(16, 2, 0.5) for _ in range(3))})
    values, mask = torch.randn(4, 5, 16), torch.ones(4, 5, dtype=torch.bool)
    kept: dict[bool, int] = {}
    gradients = {}
    for when in (False, True):
        torch.manual_seed(1)
        network.zero_grad()
        numbers: list[int] = []

        def pack(one: Tensor, numbers: list[int] = numbers) -> Tensor:
            numbers.append(one.numel())
            return one

        with recomputing(network, when), torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
            found = values
            for block in network["blocks"]:  # type: ignore[attr-defined]
                found = block(found, mask)
            found.square().sum().backward()
        kept[when], gradients[when] = sum(numbers), [parameter.grad.clone() for parameter in network.parameters()]
    assert all(torch.equal(one, two) for one, two in zip(gradients[False], gradients[True], strict=True))
    assert kept[True] < 0.2 * kept[False]
    assert not any("forward" in vars(block) for block in network["blocks"]), "left behind"  # type: ignore[attr-defined]


def test_says_what_long_training_will_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    said = Said()
    cost = Cost("fused", said, 600)
    for _ in range(5):
        cost.stepped()
    assert said.lines == ["  fused: 600 steps at most, about 10 min"]


@pytest.mark.parametrize(("seconds", "words"), [(3.4, "3 s"), (99.0, "99 s"), (600.0, "10 min"), (7200.0, "2.0 h")])
def test_durations_are_told_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
