"""Neural building blocks by hand, with rows that have no token at all and padding that holds anything."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from consilience.errors import ConsilienceError
from consilience.nn import MLP, Attention, Block, masked_deviation, masked_mean, sinusoids

MASK = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
VALUES = torch.tensor([[[1.0, 10.0], [5.0, 20.0], [99.0, 99.0]], [[7.0, 7.0]] * 3, [[8.0, 8.0], [2.0, -4.0], [9.0, 9.0]]])
NAN = float("nan")


def dirty(values: Tensor, mask: Tensor, junk: float) -> Tensor:
    return values.masked_fill(~mask.unsqueeze(-1), junk)


def test_masked_mean_by_hand() -> None:
    assert masked_mean(VALUES, MASK).tolist() == [[3.0, 15.0], [0.0, 0.0], [2.0, -4.0]]


def test_masked_deviation_by_hand() -> None:
    # Row 0: 1 and 5 lie 2 from their mean 3, 10 and 20 lie 5 from 15. No token and one token have no spread.
    assert masked_deviation(VALUES, MASK).tolist() == [[2.0, 5.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("pool", [masked_mean, masked_deviation])
@pytest.mark.parametrize("junk", [NAN, float("inf"), -1e30])
def test_pooling_ignores_what_stands_in_padding(pool, junk: float) -> None:
    clean, spoiled = VALUES.clone().requires_grad_(), dirty(VALUES, MASK, junk).requires_grad_()
    assert torch.equal(pool(clean, MASK), pool(spoiled, MASK))
    pool(spoiled, MASK).sum().backward()
    assert spoiled.grad is not None
    assert torch.isfinite(spoiled.grad).all()
    assert not spoiled.grad[~MASK].any()


def test_masked_mean_keeps_its_type() -> None:
    assert masked_mean(VALUES.double(), MASK).dtype == torch.float64


def test_mlp_by_hand() -> None:
    mlp = MLP(2, 1, 1, dropout=0.5).eval()
    with torch.no_grad():
        mlp.inner.weight.copy_(torch.tensor([[1.0, 2.0]]))
        mlp.inner.bias.fill_(-1.0)
        mlp.outer.weight.fill_(3.0)
        mlp.outer.bias.fill_(0.5)
    gelu = 2.0 * 0.5 * (1 + math.erf(2.0 / math.sqrt(2)))  # of 1 * 1 + 2 * 1 - 1 = 2
    assert mlp(torch.tensor([1.0, 1.0])).item() == pytest.approx(3 * gelu + 0.5, rel=1e-6)


def identity(attention: Attention) -> Attention:
    """Query, key, value and output as they come."""
    width = attention.query.in_features
    with torch.no_grad():
        attention.query.weight.copy_(torch.eye(width))
        attention.key_value.weight.copy_(torch.cat([torch.eye(width)] * 2))
        attention.out.weight.copy_(torch.eye(width))
        for layer in (attention.query, attention.key_value, attention.out):
            layer.bias.zero_()
    return attention


def test_attention_by_hand() -> None:
    attention = identity(Attention(4, 1))
    queries = torch.tensor([[[2.0, 0.0, 0.0, 0.0]]])
    keys = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]]])
    got = attention(queries, keys, torch.tensor([[True, True, False]]))
    weight = math.exp(2 / math.sqrt(4))  # logits 2 and 0 over the root of the width, the third key is not there
    expected = [weight / (weight + 1), 1 / (weight + 1), 0.0, 0.0]
    assert torch.allclose(got[0, 0], torch.tensor(expected), atol=1e-6)


def test_each_head_attends_on_its_own_part_of_the_width() -> None:
    attention = identity(Attention(4, 2))
    queries = torch.tensor([[[3.0, 0.0, 0.0, 3.0]]])
    keys = torch.tensor([[[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]])
    got = attention(queries, keys, torch.ones(1, 2, dtype=torch.bool))[0, 0]
    weight = math.exp(3 / math.sqrt(2)) / (math.exp(3 / math.sqrt(2)) + 1)
    assert torch.allclose(got, torch.tensor([weight, 1 - weight, 1 - weight, weight]), atol=1e-6)


def test_a_query_without_keys_gets_zeros_and_gives_no_gradient() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    values = torch.randn(3, 4, 8, requires_grad=True)
    mask = torch.tensor([[True, True, False, False], [False] * 4, [False, False, False, True]])
    out = attention(values, values, mask)
    assert not out[1].any(), "the bias of the last layer is no answer"
    out.square().sum().backward()
    assert values.grad is not None
    assert not values.grad[1].any()
    gradients = [values.grad, *(parameter.grad for parameter in attention.parameters())]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_a_batch_without_any_key_leaves_every_parameter_alone() -> None:
    attention = Attention(8, 2)
    values = torch.randn(2, 3, 8)
    attention(values, values, torch.zeros(2, 3, dtype=torch.bool)).square().sum().backward()
    assert all(not parameter.grad.any() for parameter in attention.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("layer", [Attention(8, 2), Block(8, 2, 0.3)], ids=["attention", "block"])
def test_padding_changes_nothing_where_tokens_are(layer: Attention | Block) -> None:
    torch.manual_seed(0)
    layer.eval()
    values = torch.randn(2, 4, 8)
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])

    def run(values: Tensor) -> Tensor:
        return layer(values, values, mask)[mask] if isinstance(layer, Attention) else layer(values, mask)[mask]

    assert torch.equal(run(values), run(dirty(values, mask, 1e4)))


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 0.0).eval()
    values, mask = torch.randn(4, 3, 8), torch.tensor([[True, True, False]] * 4)
    changed = values.clone()
    changed[1:] = 5.0
    assert torch.equal(block(values, mask)[0], block(changed, mask)[0])


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    block = Block(8, 2, 0.5)
    values, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert not torch.equal(block(values, mask), block(values, mask))
    block.eval()
    assert torch.equal(block(values, mask), block(values, mask))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConsilienceError, match="width 10 is no multiple of the 4 attention heads"):
        Attention(10, 4)


def test_sinusoids_by_hand() -> None:
    codes = sinusoids(torch.tensor([[0.0, 1.0], [100.0, -2.0]]), 4)
    assert codes.shape == (2, 2, 4)
    assert codes[0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    expected = [math.sin(-2), math.sin(-0.02), math.cos(-2), math.cos(-0.02)]  # rates 1 and 10000 ** -(2 / 4)
    assert codes[1, 1].tolist() == pytest.approx(expected, abs=1e-6)
    slow = sinusoids(torch.tensor([3]), 4, longest=4.0)
    assert slow[0].tolist() == pytest.approx([math.sin(3), math.sin(1.5), math.cos(3), math.cos(1.5)], abs=1e-6)


def test_sinusoids_need_an_even_width() -> None:
    with pytest.raises(AssertionError, match="even"):
        sinusoids(torch.zeros(1), 3)
