"""The one forward: only present rows reach an encoder, and each result goes back to its row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from consilience import component
from consilience.data.loader import Batch
from consilience.encoders.base import Encoder
from consilience.fusions.base import Fusion
from consilience.model import Network
from consilience.nn import masked_mean
from consilience.types import Fused, Input, Sample, Tokens


class Sum(Fusion):
    """The sum of the inputs' mean tokens."""

    def __init__(self, names: tuple[str, ...], width: int = 2) -> None:
        super().__init__(config=component.Config(), inputs=names, width=width)
        self.scale = nn.Parameter(torch.ones(()))

    def fuse(self, tokens: Mapping[str, Tokens], present: Mapping[str, Tensor]) -> Fused:
        return Fused(self.scale * sum(masked_mean(item.values, item.mask) for item in tokens.values()))


class Twice(Encoder):
    """Tokens [P, 1, 2]: twice what it is given; the number of rows of each call is kept."""

    modality = "text"
    width, length, frozen = 2, 1, False

    def __init__(self) -> None:
        super().__init__(config=Encoder.Config(), input=Input("a", "text", ("a",)))
        self.rows: list[int] = []
        self.factor = nn.Parameter(torch.tensor(2.0))

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        raise AssertionError("a network never prepares")

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        self.rows.append(len(batch["x"]))
        return Tokens((self.factor * batch["x"]).unsqueeze(1), torch.ones(len(batch["x"]), 1, dtype=torch.bool))


def make(*names: str, dropout: float = 0.0) -> tuple[Network, dict[str, Twice]]:
    """A network whose projections and head are the identity."""
    encoders = {name: Twice() for name in names}
    network = Network(encoders, Sum(names), nn.Identity(), dropout)
    for projection in network.projections:
        nn.init.eye_(projection[1].weight)  # type: ignore[index]
        nn.init.zeros_(projection[1].bias)  # type: ignore[index]
    return network, encoders


def batch_of(rows: int, **given: tuple[list[int], Tokens | Tensor | None]) -> Batch:
    """`name=(places, what is given)`."""
    places = {name: torch.tensor(where, dtype=torch.int64) for name, (where, _) in given.items()}
    present = {name: torch.zeros(rows, dtype=torch.bool).index_fill(0, where, True) for name, where in places.items()}
    held = {name: {"x": value} if isinstance(value, Tensor) else value for name, (_, value) in given.items()}
    return Batch(np.arange(rows), places, held, present)


def test_present_rows_are_encoded_and_scattered_back() -> None:
    network, encoders = make("a", "b")
    batch = batch_of(
        3, a=([2, 0], torch.tensor([[1.0, 2.0], [3.0, 4.0]])), b=([1, 2], torch.tensor([[10.0, 0.0], [20.0, 0.0]]))
    )
    raw, fused = network(batch)
    assert raw.tolist() == [[6.0, 8.0], [20.0, 0.0], [42.0, 4.0]]
    assert torch.equal(fused.vector, raw)
    assert [encoder.rows for encoder in encoders.values()] == [[2], [2]]


def test_tokens_of_a_frozen_encoder_do_not_pass_it_again() -> None:
    network, encoders = make("a", "b")
    stored = Tokens(torch.tensor([[[1.0, 1.0], [3.0, 5.0]]]), torch.tensor([[True, True]]))
    raw, _ = network(batch_of(2, a=([1], stored), b=([0], torch.ones(1, 2))))
    assert raw.tolist() == [[2.0, 2.0], [2.0, 3.0]]
    assert encoders["a"].rows == []


def test_masks_of_tokens_are_kept() -> None:
    network, _ = make("a")
    stored = Tokens(torch.tensor([[[1.0, 1.0], [float("inf"), 5.0]]]), torch.tensor([[True, False]]))
    raw, _ = network(batch_of(1, a=([0], stored)))
    assert raw.tolist() == [[1.0, 1.0]]


def test_an_input_that_no_row_has_is_never_encoded() -> None:
    network, encoders = make("a", "b")
    raw, _ = network(batch_of(2, a=([0, 1], torch.ones(2, 2)), b=([], None)))
    assert raw.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert encoders["b"].rows == []


def test_repetitions_in_a_batch_of_fixed_shape_are_left_out() -> None:
    network, encoders = make("a", "b")
    given = torch.tensor([[1.0, 2.0], [9.0, 9.0], [9.0, 9.0]])
    nothing = Tokens(torch.zeros(3, 1, 2), torch.zeros(3, 1, dtype=torch.bool))
    tokens = network.encode(0, batch_of(3, a=([1], given), b=([], nothing)))
    assert tokens.values[:, 0].tolist() == [[0.0, 0.0], [2.0, 4.0], [0.0, 0.0]]
    assert tokens.mask.tolist() == [[False], [True], [False]]
    assert encoders["a"].rows == [3]
    other = network.encode(1, batch_of(3, a=([1], given), b=([], nothing)))
    assert not other.mask.any()
    assert not other.values.any()


def test_no_gradient_reaches_an_encoder_through_a_row_that_lacks_its_input() -> None:
    network, encoders = make("a", "b")
    given = torch.ones(1, 2, requires_grad=True)
    repeated = torch.cat([given, torch.full((1, 2), 7.0)])
    raw, _ = network(batch_of(2, a=([0], repeated), b=([1], torch.ones(1, 2))))
    raw.sum().backward()
    assert encoders["a"].factor.grad == 2.0  # of the one row that has it, not of the repetition
    assert given.grad is not None
    assert given.grad.tolist() == [[2.0, 2.0]]


def test_the_order_of_the_encoders_does_not_matter() -> None:
    one, two = make("a", "b")[0], make("b", "a")[0]
    assert one.names == two.names == ("a", "b")
    batch = batch_of(1, a=([0], torch.ones(1, 2)), b=([0], torch.full((1, 2), 3.0)))
    assert torch.equal(one(batch)[0], two(batch)[0])


def test_dropout_is_of_tokens_before_the_projection_and_in_training_only() -> None:
    network, _ = make("a", dropout=0.5)
    batch = batch_of(1, a=([0], torch.ones(1, 2)))
    torch.manual_seed(0)
    seen = {tuple(network.train()(batch)[0][0].tolist()) for _ in range(40)}
    assert seen == {(0.0, 0.0), (0.0, 4.0), (4.0, 0.0), (4.0, 4.0)}
    assert network.eval()(batch)[0].tolist() == [[2.0, 2.0]]


def test_double_tokens_are_cast_to_the_network() -> None:
    network, _ = make("a")
    stored = Tokens(torch.tensor([[[1.0, 2.0]]], dtype=torch.float64), torch.tensor([[True]]))
    raw, _ = network(batch_of(1, a=([0], stored)))
    assert raw.dtype == torch.float32
    assert raw.tolist() == [[1.0, 2.0]]


def test_every_part_is_registered() -> None:
    network, _ = make("a", "b")
    names = {name.split(".")[0] for name, _ in network.named_parameters()}
    assert names == {"encoders", "projections", "fusion"}
    assert network.encoders[0].factor is dict(network.named_parameters())["encoders.0.factor"]
    with pytest.raises(KeyError):
        network(batch_of(1, a=([0], torch.ones(1, 2))))
