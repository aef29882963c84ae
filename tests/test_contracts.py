"""One contract test over every plugin: what the design promises of a kind holds for each of its members."""

from __future__ import annotations

import itertools

import pytest
import torch

from consilience import component
from consilience.errors import ConsilienceError
from consilience.fusions.base import Fusion
from consilience.types import Tokens

INPUTS = ("audio", "notes", "scan")
WIDTH, ROWS = 16, 5


def make_fusion(name: str, inputs: tuple[str, ...] = INPUTS) -> Fusion:
    cls = component.find("fusions", name)
    torch.manual_seed(0)
    return cls(config=cls.Config(), inputs=inputs, width=WIDTH).eval()  # type: ignore[attr-defined]


def make_tokens(seed: int = 0, absent: tuple[tuple[str, int], ...] = ()) -> dict[str, Tokens]:
    """3, 1 and 4 tokens; the last input's rows have 4, 3, 2, ... of them."""
    torch.manual_seed(seed)
    tokens = {}
    for name, count in zip(INPUTS, (3, 1, 4), strict=True):
        mask = torch.ones(ROWS, count, dtype=torch.bool)
        if name == "scan":
            mask = torch.arange(count)[None] < torch.tensor([4, 3, 2, 1, 4])[:, None]
        for other, row in absent:
            if other == name:
                mask[row] = False
        tokens[name] = Tokens(torch.randn(ROWS, count, WIDTH), mask)
    return tokens


def present_of(tokens: dict[str, Tokens]) -> dict[str, torch.Tensor]:
    return {name: item.mask.any(1) for name, item in tokens.items()}


@pytest.fixture(params=component.names("fusions"))
def fusion(request: pytest.FixtureRequest) -> Fusion:
    return make_fusion(request.param)


def test_fusion_gives_one_vector_a_row(fusion: Fusion) -> None:
    tokens = make_tokens()
    assert fusion(tokens, present_of(tokens)).vector.shape == (ROWS, WIDTH)


@pytest.mark.parametrize("junk", [7.5, float("nan"), float("inf")])
def test_fusion_ignores_what_stands_in_padding_and_absent_inputs(fusion: Fusion, junk: float) -> None:
    tokens = make_tokens(absent=(("notes", 1), ("audio", 2), ("scan", 0)))
    dirty = {name: Tokens(item.values.masked_fill(~item.mask.unsqueeze(-1), junk), item.mask) for name, item in tokens.items()}
    present = present_of(tokens)
    assert torch.equal(fusion(tokens, present).vector, fusion(dirty, present).vector)


def test_fusion_does_not_depend_on_the_length_of_padding(fusion: Fusion) -> None:
    tokens = make_tokens(absent=(("notes", 1),))
    longer = {
        name: Tokens(
            torch.cat([item.values, torch.randn(ROWS, 3, WIDTH)], dim=1),
            torch.cat([item.mask, torch.zeros(ROWS, 3, dtype=torch.bool)], dim=1),
        )
        for name, item in tokens.items()
    }
    present = present_of(tokens)
    assert torch.allclose(fusion(tokens, present).vector, fusion(longer, present).vector, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kept", [kept for n in (1, 2) for kept in itertools.combinations(INPUTS, n)])
def test_fusion_answers_every_subset(fusion: Fusion, kept: tuple[str, ...]) -> None:
    tokens = make_tokens(absent=tuple((name, row) for name in INPUTS if name not in kept for row in range(ROWS)))
    vector = fusion(tokens, present_of(tokens)).vector
    assert torch.isfinite(vector).all()
    assert not torch.equal(vector[0], vector[4]), "two different rows got one vector"


def test_fusion_refuses_rows_without_any_input(fusion: Fusion) -> None:
    tokens = make_tokens(absent=tuple((name, 3) for name in INPUTS))
    with pytest.raises(ConsilienceError, match="1 of 5 rows have no input present"):
        fusion(tokens, present_of(tokens))


def test_fusion_does_not_depend_on_the_order_of_inputs(fusion: Fusion) -> None:
    name = type(fusion).__module__.rsplit(".", 1)[-1]
    turned = make_fusion(name, INPUTS[::-1])
    tokens = make_tokens()
    reversed_tokens = dict(reversed(tokens.items()))
    one, two = fusion(tokens, present_of(tokens)).vector, turned(reversed_tokens, present_of(reversed_tokens)).vector
    assert torch.equal(one, two)


def test_fusion_passes_gradient_to_present_inputs_only(fusion: Fusion) -> None:
    tokens = make_tokens(absent=(("audio", 0), ("audio", 1)))
    for item in tokens.values():
        item.values.requires_grad_()
    fusion.train()
    fusion(tokens, present_of(tokens)).vector.square().sum().backward()
    for name, item in tokens.items():
        assert item.values.grad is not None
        assert item.values.grad[4].abs().sum() > 0, f"no gradient reaches {name}"
    assert tokens["audio"].values.grad[:2].abs().sum() == 0  # type: ignore[index]


def test_fusion_registers_and_uses_every_parameter(fusion: Fusion) -> None:
    tokens = make_tokens(absent=(("audio", 0), ("notes", 1), ("scan", 2)))
    fusion(tokens, present_of(tokens)).vector.square().sum().backward()
    unused = [name for name, value in fusion.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    # Queries and keys of a single head may carry no gradient where softmax saturates; nothing here is that extreme.
    assert not unused
