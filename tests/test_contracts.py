"""One contract test over every plugin: what the design promises of a kind holds for each of its members."""

from __future__ import annotations

import atexit
import io
import itertools
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch

from consilience import component
from consilience.data import encoding
from consilience.data.schema import modality_of
from consilience.encoders.base import Encoder
from consilience.encoders.several import SeveralEncoder
from consilience.errors import ConsilienceError
from consilience.fusions.base import Fusion
from consilience.metrics import GREATER_IS_BETTER
from consilience.modalities.base import Modality
from consilience.types import Input, Limits, Missing, Sample, Tokens
from families import saved

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


# Modalities and their encoders


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def wav(seed: int) -> bytes:
    waves = np.random.default_rng(seed).normal(0, 0.1, 1600 + 100 * seed)
    buffer = io.BytesIO()
    soundfile.write(buffer, waves, 8000, format="WAV")
    return buffer.getvalue()


WORDS = [
    "the",
    "dress",
    "fits",
    "well",
    "and",
    "the",
    "colour",
    "is",
    "as",
    "bright",
    "as",
    "it",
    "looks",
    "in",
    "the",
    "shop",
    "window",
]

# For every modality an input and the cells of twelve rows. A modality without an entry fails the first test.
EXAMPLES: dict[str, tuple[Input, list[dict[str, Any]]]] = {
    "image": (Input("photo", "image", ("photo",), ("",)), [{"photo": png(seed)} for seed in range(12)]),
    "text": (
        Input("review", "text", ("review",), ("",)),
        [{"review": " ".join(WORDS[start : start + 10 + start % 5])} for start in range(12)],
    ),
    "tabular": (
        Input(
            "account",
            "tabular",
            ("age", "plan", "since", *(f"n{place}" for place in range(5))),
            ("number", "category", "date", *["number"] * 5),
        ),
        [
            {"age": str(20 + row), "plan": "abc"[row % 2 if row < 6 else 2], "since": f"2024-0{1 + row % 9}-03"}
            | {f"n{place}": str((row * (place + 2)) % 7 + 0.5) for place in range(5)}
            for row in range(12)
        ],
    ),
    "audio": (Input("voice", "audio", ("voice",), ("",)), [{"voice": wav(seed)} for seed in range(12)]),
    "series": (
        Input("pulse", "series", ("pulse",), ("2",)),
        [{"pulse": np.random.default_rng(row).standard_normal((30 + row % 3, 2)).cumsum(0).tolist()} for row in range(12)],
    ),
}

# Lists of the items above, two to four a row: what wraps a modality and its encoders keeps their promises.
LISTS: dict[str, tuple[Input, list[dict[str, Any]]]] = {
    f"lists of {name}": (
        Input("many", name, ("many",), item.kinds, many=True),
        [{"many": [rows[(row + place) % 12][item.columns[0]] for place in range(2 + row % 3)]} for row in range(12)],
    )
    for name, (item, rows) in EXAMPLES.items()
    if not modality_of(item).grouped
}


def read_all(name: str) -> tuple[Modality, Input, list[Any]]:
    item, rows = (EXAMPLES | LISTS)[name]
    kind = modality_of(item)
    samples = [kind.read(item, cells, Limits()) for cells in rows]
    assert all(isinstance(sample, Sample) for sample in samples)
    return kind, item, samples


def encoders() -> list[tuple[str, str]]:
    return [(name, kind) for name, (item, _) in (EXAMPLES | LISTS).items() for kind in modality_of(item).encoders()]


@cache
def tiny(modality: str) -> Path:
    """A folder with a small pretrained model."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    atexit.register(shutil.rmtree, folder)
    return saved({"text": "bert", "image": "vit", "audio": "wav2vec2"}[modality], folder)


def new_encoder(name: str, kind: str) -> Encoder:
    item, _ = (EXAMPLES | LISTS)[name]
    cls = component.load(modality_of(item).encoders()[kind])
    options = {"model": str(tiny(item.modality))} if kind == "pretrained" else {}
    encoder: Encoder = cls(config=cls.Config(**options), input=item)  # type: ignore[attr-defined]
    return SeveralEncoder(encoder) if item.many else encoder


def make_encoder(name: str, kind: str) -> tuple[Encoder, list[Any]]:
    _, _, samples = read_all(name)
    torch.manual_seed(0)
    encoder = new_encoder(name, kind)
    encoder.fit(samples, np.random.default_rng(0))
    return encoder.eval(), samples


def encode(encoder: Encoder, samples: list[Any], length: int | None = None) -> Tokens:
    with torch.no_grad():
        return encoder(encoder.collate([encoder.prepare(sample) for sample in samples], length))


def same(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_every_modality_has_an_example() -> None:
    own = {name for name, source in component.names("modalities").items() if source == "consilience"}
    assert set(EXAMPLES) == own


@pytest.mark.parametrize("name", EXAMPLES | LISTS)
def test_modality_reads_nothing_as_missing_and_never_raises(name: str) -> None:
    kind, item, _ = read_all(name)
    for junk in (None, "", float("nan")):
        found = kind.read(item, dict.fromkeys(item.columns, junk), Limits())
        assert isinstance(found, Missing) and found.reason
    for junk in (b"\0\1", 10**30, -1.5, "\ud800", [1, 2], {"a": 1}):
        assert isinstance(kind.read(item, dict.fromkeys(item.columns, junk), Limits()), Missing | Sample)


@pytest.mark.parametrize("name", EXAMPLES | LISTS)
def test_modality_damages_by_severity(name: str) -> None:
    kind, _, samples = read_all(name)
    encoder, _ = make_encoder(name, "descriptor")
    assert kind.corruptions
    for damage in kind.corruptions.values():
        untouched = [damage(sample, 0.0, np.random.default_rng(0)) for sample in samples]
        assert all(same(encoder.prepare(a), encoder.prepare(b)) for a, b in zip(samples, untouched, strict=True))
        broken = [damage(sample, 1.0, np.random.default_rng(0)) for sample in samples]
        assert not all(same(encoder.prepare(a), encoder.prepare(b)) for a, b in zip(samples, broken, strict=True))


@pytest.mark.parametrize("name", EXAMPLES)
def test_severer_damage_takes_samples_further_away(name: str) -> None:
    """The short form of `benchmarks/damage.py`, which measures what damage does to the score of a model."""
    kind, _, samples = read_all(name)
    encoder, _ = make_encoder(name, "descriptor")
    clean = encode(encoder, samples, encoder.length).values
    for damage in kind.corruptions.values():
        away = [0.0]
        for severity in (0.25, 0.5, 0.75, 1.0):
            drawn = [
                damage(sample, severity, np.random.default_rng([draw, row]))
                for draw in range(3)
                for row, sample in enumerate(samples)
            ]
            moved = encode(encoder, drawn, encoder.length).values - clean.repeat(3, 1, 1)
            away.append(float(moved.flatten(1).norm(dim=1).mean()))
        assert all(a <= b for a, b in itertools.pairwise(away)) and 0 < away[1] < away[-1], away


@pytest.mark.parametrize("name", EXAMPLES | LISTS)
def test_modality_takes_samples_apart(name: str) -> None:
    kind, _, samples = read_all(name)
    encoder, _ = make_encoder(name, "descriptor")
    sample = samples[0]
    indices = [part.index for part in kind.parts(sample)]
    assert len(indices) == len(set(indices)) >= 8, "a usual sample has so many parts that removing them tells something"
    assert same(encoder.prepare(kind.keep(sample, indices)), encoder.prepare(sample))
    for removed in indices:
        kept = [index for index in indices if index != removed]
        assert not same(encoder.prepare(kind.keep(sample, kept)), encoder.prepare(sample)), f"part {removed} does nothing"
    drawn = kind.draw(sample, dict.fromkeys(indices, 0.5))
    assert drawn and drawn != kind.draw(sample, dict.fromkeys(indices, -0.5))
    assert kind.size(sample) > 0


@pytest.mark.parametrize(("name", "kind"), encoders())
def test_encoder_returns_tokens_as_it_says(name: str, kind: str) -> None:
    encoder, samples = make_encoder(name, kind)
    tokens = encode(encoder, samples, encoder.length)
    rows, count, width = tokens.values.shape
    assert (rows, width) == (len(samples), encoder.width)
    assert count == encoder.length or (encoder.heavy and count < encoder.length)  # tokens that are stored are padded later
    assert tokens.mask.any(1).all(), "a present sample has a token"
    assert torch.isfinite(tokens.values[tokens.mask]).all()
    assert encode(encoder, samples).values.shape[1] <= encoder.length


@pytest.mark.parametrize(("name", "kind"), encoders())
def test_encoder_says_what_it_received(name: str, kind: str) -> None:
    encoder, samples = make_encoder(name, kind)
    received = [encoder.received(sample) for sample in samples[:2]]
    assert all(said and all(name.strip() for name in said) for said in received)
    assert repr(received[0]) != repr(received[1]), "two samples, one answer"


@pytest.mark.parametrize(("name", "kind"), encoders())
def test_encoder_does_not_mix_rows(name: str, kind: str) -> None:
    encoder, samples = make_encoder(name, kind)
    if encoder.heavy:  # its tokens are stored, and made in chunks of its own
        items = [encoder.prepare(sample) for sample in samples]
        pairs = zip(encoding.encode(encoder, items), encoding.encode(encoder, items[::-1])[::-1], strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
        return
    whole, turned = encode(encoder, samples, encoder.length), encode(encoder, samples[::-1], encoder.length)
    exact = {"atol": 0.0, "rtol": 0.0} if encoder.frozen else {"atol": 1e-5, "rtol": 0.0}
    there = whole.mask.unsqueeze(-1)
    assert torch.equal(whole.mask, turned.mask.flip(0))
    assert torch.allclose(whole.values * there, turned.values.flip(0) * there, **exact)


@pytest.mark.parametrize(("name", "kind"), encoders())
def test_encoder_comes_back_from_its_state(name: str, kind: str) -> None:
    encoder, samples = make_encoder(name, kind)
    again = new_encoder(name, kind)
    again.restore(encoder.state())
    again.load_state_dict(encoder.state_dict())
    one, two = encode(encoder, samples), encode(again.eval(), samples)
    assert torch.equal(one.mask, two.mask) and torch.equal(one.values[one.mask], two.values[two.mask])
    assert encoder.fingerprint() == again.fingerprint()
    if not encoder.learns:
        return
    other = new_encoder(name, kind)
    other.fit(samples[:4], np.random.default_rng(0))
    assert other.fingerprint() != encoder.fingerprint()


@pytest.mark.parametrize(("name", "kind"), encoders())
def test_encoder_is_frozen_or_learns_with_all_it_has(name: str, kind: str) -> None:
    encoder, samples = make_encoder(name, kind)
    parameters = dict(encoder.named_parameters())
    if encoder.frozen:
        assert not parameters
        return
    tokens = encoder.train()(encoder.collate([encoder.prepare(sample) for sample in samples]))
    tokens.values[tokens.mask].square().sum().backward()
    assert parameters and all(value.grad is not None for value in parameters.values())


# Tasks


# For every task the target of six rows. A task without an entry fails the first test.
TARGETS: Mapping[str, list[Any]] = {
    "classification": ["0", "1", "1", "0", "1", "0"],
    "multilabel": ["a|b", "b", "[]", "a", "a|b", "b"],
    "regression": ["0", "1", "1", "0", "1", "0"],
}


def test_every_task_has_an_example() -> None:
    assert set(TARGETS) >= set(component.names("tasks"))


@pytest.mark.parametrize("name", component.names("tasks"))
def test_task_comes_back_from_its_state_and_measures_what_it_says(name: str) -> None:
    cls = component.find("tasks", name)
    target = TARGETS[name]
    task = cls(config=cls.Config())  # type: ignore[attr-defined]
    task.fit(target)
    raw = np.random.default_rng(0).standard_normal((6, task.outputs))
    scores = task.scores(raw)
    found = task.measure(scores, task.encode(target))(np.ones(6))
    assert set(found) == set(task.metrics) <= set(GREATER_IS_BETTER)
    assert {task.default_metric, task.proper} <= set(task.metrics)
    assert task.head(8)(torch.zeros(2, 8)).shape == (2, task.outputs)
    assert task.prior().shape == (scores.shape[1],)
    assert np.allclose(task.combine([scores, scores], np.full((2, 6), 0.5)), scores)
    again = cls(config=cls.Config())  # type: ignore[attr-defined]
    again.restore(task.state())
    assert again.decode(scores) == task.decode(scores)
    assert np.array_equal(again.encode(target), task.encode(target))
