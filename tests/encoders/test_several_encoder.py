"""Lists encoded item by item: where the tokens stand, in which shapes the encoder inside is asked, what is delegated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from consilience.encoders.base import Encoder
from consilience.encoders.several import SeveralEncoder
from consilience.modalities.text import Passage
from consilience.modalities.text.descriptor import Descriptor
from consilience.predictors.base import make_encoder
from consilience.predictors.fused import Fused
from consilience.types import ITEMS, Input, Sample, Several, State, Tokens

INPUT = Input("notes", "text", ("notes",), ("",), many=True)


class Words(Encoder):
    """A token [2] for each of at most three words: scale * its length, and its length. It notes the shapes it is asked for."""

    modality = "text"
    width, length, frozen = 2, 3, False

    def __init__(self, *, config: Encoder.Config, input: Input, timed: bool = False) -> None:
        super().__init__(config=config, input=input)
        self.scale = torch.nn.Parameter(torch.tensor(10.0))
        self.timed = timed
        self.seen: list[str] = []
        self.shapes: list[tuple[int, ...]] = []

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        self.seen = [text_of(sample) for sample in samples]

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return {"a.b": torch.tensor([float(len(word)) for word in text_of(sample).split()]), "one": torch.ones(())}

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        most = length or max(len(item["a.b"]) for item in items)
        return {"a.b": torch.stack([torch.nn.functional.pad(item["a.b"], (0, most - len(item["a.b"]))) for item in items])}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        lengths = batch["a.b"]
        self.shapes.append(tuple(lengths.shape))
        values = torch.stack([self.scale * lengths, lengths], dim=2).masked_fill((lengths == 0).unsqueeze(2), float("nan"))
        return Tokens(values, lengths > 0, lengths / 2 if self.timed else None)

    def state(self) -> State:
        return State({"seen": self.seen})

    def restore(self, state: State) -> None:
        self.seen = list(state.json["seen"])


def text_of(sample: Sample) -> str:
    assert isinstance(sample, Passage)
    return sample.text


def notes(*texts: str) -> Several:
    return Several(items=tuple(Passage(text=text) for text in texts))


def make(**options: Any) -> tuple[SeveralEncoder, Words]:
    inner = Words(config=Encoder.Config(), input=INPUT, **options)
    return SeveralEncoder(inner), inner


def collate(encoder: Encoder, samples: Sequence[Sample], length: int | None = None) -> dict[str, Tensor]:
    return encoder.collate([encoder.prepare(sample) for sample in samples], length)


def there(tokens: Tokens) -> list[list[float]]:
    """The lengths of each row's words, in the order of its tokens."""
    return [values[mask][:, 1].tolist() for values, mask in zip(tokens.values, tokens.mask, strict=True)]


ROWS = [notes("a bb"), notes("ccc", "dddd e", "ffffff"), notes("gg gg", "h")]


def test_tokens_of_the_items_stand_side_by_side() -> None:
    encoder, inner = make()
    tokens = encoder(collate(encoder, ROWS))
    assert inner.shapes == [(6, 2)]  # six items, two words at most
    assert tokens.values.shape == (3, 3 * 2, 2)  # three items at most
    assert tokens.mask.tolist() == [
        [True, True, False, False, False, False],
        [True, False, True, True, True, False],
        [True, True, True, False, False, False],
    ]
    assert there(tokens) == [[1, 2], [3, 4, 1, 6], [2, 2, 1]]
    assert tokens.values[1, 2].tolist() == [40, 4]
    assert tokens.seconds is None


def test_for_prediction_the_encoder_inside_is_asked_in_one_shape() -> None:
    encoder, inner = make()
    samples = [notes(*["a bb"] * count) for count in (1, 5, ITEMS, 3)]
    tokens = encoder(collate(encoder, samples, encoder.length))
    assert inner.shapes == [(4, 3)] * 5  # 17 items in passes of four rows
    assert tokens.values.shape == (4, ITEMS * 3, 2)
    assert there(tokens) == [[1, 2] * count for count in (1, 5, ITEMS, 3)]
    inner.shapes.clear()
    encoder(collate(encoder, samples[:1] * 4, encoder.length))
    assert inner.shapes == [(4, 3)]
    with pytest.raises(AssertionError, match="prediction pads to 24 tokens, not 3"):
        collate(encoder, samples, 3)


def test_a_list_of_one_is_its_item() -> None:
    encoder, inner = make()
    alone, listed = inner(collate(inner, ROWS[0].items)), encoder(collate(encoder, ROWS[:1]))
    assert torch.equal(alone.mask, listed.mask)
    assert torch.equal(alone.values[alone.mask], listed.values[listed.mask])


def test_the_order_of_the_items_is_that_of_the_tokens_and_bears_no_mark() -> None:
    encoder, _ = make()
    one, two = (encoder(collate(encoder, [sample])) for sample in (notes("a", "bb"), notes("bb", "a")))
    assert torch.equal(one.values, two.values.flip(1))


def test_seconds_pass_through() -> None:
    encoder, _ = make(timed=True)
    tokens = encoder(collate(encoder, ROWS))
    assert tokens.seconds is not None
    assert tokens.seconds.tolist()[1] == [1.5, 0, 2, 0.5, 3, 0]


def test_gradient_reaches_the_encoder_inside_from_every_item_once() -> None:
    encoder, inner = make()
    for length in (None, encoder.length):
        inner.scale.grad = None
        tokens = encoder(collate(encoder, ROWS, length))
        tokens.values[tokens.mask][:, 0].sum().backward()
        assert inner.scale.grad is not None
        assert inner.scale.grad.item() == 1 + 2 + 3 + 4 + 1 + 6 + 2 + 2 + 1  # what fills a pass up counts nothing
    assert dict(encoder.named_parameters()).keys() == {"inner.scale"}


def test_what_is_fitted_sees_all_items() -> None:
    encoder, inner = make()
    encoder.fit(ROWS, np.random.default_rng(0))
    assert inner.seen == ["a bb", "ccc", "dddd e", "ffffff", "gg gg", "h"]
    again, other = make()
    again.restore(encoder.state())
    assert other.seen == inner.seen
    assert again.fingerprint() == encoder.fingerprint()
    inner.scale.data.fill_(3.0)
    assert again.fingerprint() != encoder.fingerprint()


def test_what_the_encoder_inside_says_of_itself_holds_for_lists() -> None:
    encoder, inner = make()
    assert (encoder.modality, encoder.width, encoder.length, encoder.frozen) == ("text", 2, ITEMS * 3, False)
    assert encoder.complete and encoder.categorical == ()
    assert encoder.config is inner.config and encoder.input is INPUT
    assert encoder.blueprint() != inner.blueprint()
    descriptor = SeveralEncoder(Descriptor(config=Descriptor.Config.model_validate({"width": 2}), input=INPUT))
    assert descriptor.frozen and descriptor.length == ITEMS
    assert (
        descriptor.blueprint()
        != SeveralEncoder(Descriptor(config=Descriptor.Config.model_validate({"width": 3}), input=INPUT)).blueprint()
    )
    descriptor.fit([notes("red dress", "blue dress"), notes("red shoe", "blue shoe")], np.random.default_rng(0))
    assert descriptor.width == 2  # known only now
    assert list(encoder.received(ROWS[2])) == ["item 1: a.b", "item 1: one", "item 2: a.b", "item 2: one"]


def test_an_encoder_with_gaps_takes_no_lists_and_no_encoder_takes_another_sample() -> None:
    class Gaps(Words):
        complete = False

    with pytest.raises(AssertionError, match="take no lists"):
        SeveralEncoder(Gaps(config=Encoder.Config(), input=INPUT))
    with pytest.raises(AssertionError, match="has Several, not Passage"):
        make()[0].prepare(Passage(text="a"))


def test_a_predictor_makes_it_for_inputs_of_lists_only() -> None:
    config = Fused.Config.model_validate({"encoders": {"text": {"kind": "descriptor", "width": 3}}})
    made = make_encoder(config, INPUT)
    assert isinstance(made, SeveralEncoder) and made.config == Descriptor.Config.model_validate({"width": 3})
    assert isinstance(make_encoder(config, Input("note", "text", ("note",), ("",))), Descriptor)
