"""The optimiser's groups and the learning rate's course, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from consilience.train.optim import make_optimizer, schedule


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Embedding(5, 4), nn.Linear(4, 2))


def decay_of(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    return {id(parameter): group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}


def test_matrices_are_decayed_and_vectors_are_not() -> None:
    made = network()
    optimizer = make_optimizer(made, 0.01, 0.3)
    decay = decay_of(optimizer)
    assert len(decay) == len(list(made.parameters()))
    for name, parameter in made.named_parameters():
        assert decay[id(parameter)] == (0.3 if parameter.ndim == 2 else 0.0), name
    assert all(group["lr"] == 0.01 for group in optimizer.param_groups)


def test_frozen_parameters_are_left_out() -> None:
    made = network()
    made[0].requires_grad_(False)  # type: ignore[index]
    assert len(decay_of(make_optimizer(made, 0.01, 0.3))) == len(list(made.parameters())) - 2


@pytest.mark.parametrize(("module", "groups"), [(nn.Linear(2, 2, bias=False), 1), (nn.LayerNorm(2), 1), (nn.Linear(2, 2), 2)])
def test_a_group_without_parameters_is_left_out(module: nn.Module, groups: int) -> None:
    assert len(make_optimizer(module, 0.01, 0.3).param_groups) == groups


def test_decay_pulls_matrices_only() -> None:
    made = nn.Linear(1, 1)
    nn.init.ones_(made.weight)
    nn.init.ones_(made.bias)
    optimizer = make_optimizer(made, 0.1, 0.5)
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert made.weight.item() == pytest.approx(1 - 0.1 * 0.5)
    assert made.bias.item() == 1.0


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.0), (4, 1.0), (10, 0.5), (7, 0.5 * (1 + 0.5**0.5)), (16, 0.0)]
)
def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine(step: int, factor: float) -> None:
    # 16 steps, a quarter of them warm-up: 12 are left to fall, of which step 10 is the middle.
    assert schedule(step, 16, 0.25) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (2, 0.5), (10, 0.0), (10, 1.0), (100, 0.1), (3, 0.1)])
def test_the_rate_is_positive_while_training_rises_then_falls_and_never_passes_one(steps: int, warmup: float) -> None:
    factors = [schedule(step, steps, warmup) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1.0
    top = factors.index(1.0)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_past_the_last_step_the_rate_is_zero() -> None:
    assert schedule(100, 10, 0.1) == pytest.approx(0.0)
