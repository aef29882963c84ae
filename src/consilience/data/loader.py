"""Batches for networks: tokens from the store for frozen encoders, prepared samples for those that train.

A batch holds only what is present: for each input the places of the rows that have it and the tensors of just those.
The model encodes them and scatters back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from consilience.data.schema import modality_of
from consilience.data.several import Many
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.modalities.base import Modality
from consilience.types import ITEMS, Missing, Sample, Several, Tokens

AHEAD = 3
"""Batches that are made while the network works on the one before."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B rows. For each input `places` [P] says which rows have it; `given` holds P rows of tensors, or tokens.

    In a batch of fixed shape `given` has B rows for every input: the P present ones, then repetitions that the model
    leaves out again; for an input that no row has, tokens that are not there. Else it is None for such an input.
    """

    rows: np.ndarray
    places: Mapping[str, Tensor]
    given: Mapping[str, Tokens | dict[str, Tensor] | None]
    present: Mapping[str, Tensor]

    def to(self, device: str) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.rows,
            {name: value.to(device) for name, value in self.places.items()},
            {name: _move(value, device) for name, value in self.given.items()},
            {name: value.to(device) for name, value in self.present.items()},
        )


@dataclass(frozen=True, eq=False)
class Step:
    """The rows of one step of training, in batches that go through the network one after the other."""

    rows: np.ndarray
    batches: Sequence[Batch]
    again: Callable[[int], Step]
    """The same step in so many batches; what is drawn for a row may differ."""


def make_batch(
    view: View,
    encoders: Mapping[str, Encoder],
    rows: np.ndarray,
    present: Present,
    *,
    fixed: bool = False,
    augment: np.random.Generator | None = None,
    views: int = 0,
) -> Batch:
    """The batch of `rows`. `fixed`: shapes depend on the encoders and the number of rows only, not on what is present.

    `augment` varies the samples of encoders that learn; of frozen ones it draws among the sample and `views` variations of it.
    """
    places, given = {}, {}
    for name, encoder in encoders.items():
        here = np.flatnonzero(present[name])
        places[name] = torch.from_numpy(here)
        filled = np.concatenate([here, np.repeat(here[:1], len(rows) - len(here))]) if fixed else here
        length = encoder.length if fixed else None
        if not len(here):
            given[name] = _nothing(encoder, len(rows)) if fixed else None
        elif encoder.frozen or (fixed and encoder.heavy):
            which = augment.integers(views + 1, size=len(filled)) if augment is not None and views else None
            given[name] = _pad(view.tokens(encoder, name, rows[filled], which), length)
        else:
            samples = view.samples(name, rows[filled])
            assert not any(isinstance(sample, Missing) for sample in samples)
            if augment is not None:
                kind = modality_of(view.schema[name])
                samples = [kind.augment(sample, augment) for sample in samples]
            given[name] = encoder.collate([encoder.prepare(sample) for sample in samples], length)  # type: ignore[arg-type]
    return Batch(rows, places, given, {name: torch.from_numpy(present[name].copy()) for name in encoders})


def training_batches(
    view: View,
    encoders: Mapping[str, Encoder],
    rows: np.ndarray,
    size: int,
    *,
    augment: bool,
    rng: np.random.Generator,
    start: int = 0,
    pieces: Callable[[], int] = lambda: 1,
    views: int = 0,
) -> Iterator[Step]:
    """One epoch in random order, rows of like size together, made ahead in a thread. Rows without any input are left out.

    All is drawn before the first step; `start` steps that were had before are then left out. `pieces` says in how many batches
    a step is cut. Every step draws its own generator before the thread starts, so that timing cannot change what is drawn.
    """
    present = view.present(rows, tuple(encoders))
    some = np.stack(list(present.values())).any(0)
    rows, present = rows[some], {name: values[some] for name, values in present.items()}
    order = _order(len(rows), _sizes(view, encoders, rows, present), size, rng)
    seeds = rng.integers(0, 2**63, len(order))

    def make(index: int, count: int | None = None) -> Step:
        own = np.random.default_rng(seeds[index]) if augment else None
        made = []
        for part in np.array_split(order[index], min(len(order[index]), count or pieces())):
            here = {name: values[part] for name, values in present.items()}
            made.append(make_batch(view, encoders, rows[part], here, augment=own, views=views))
        return Step(rows[order[index]], made, lambda count: make(index, count))

    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, index) for index in range(start, min(start + AHEAD, len(order)))]
        for index in range(start, len(order)):
            step = waiting.pop(0).result()
            if index + AHEAD < len(order):
                waiting.append(pool.submit(make, index + AHEAD))
            yield step


def _sizes(view: View, encoders: Mapping[str, Encoder], rows: np.ndarray, present: Present) -> np.ndarray | None:
    """[R] how much there is to encode in each row; None where every row is alike because all tokens are stored."""
    growing = [name for name, encoder in encoders.items() if not encoder.frozen and encoder.length > 1]
    if not growing:
        return None
    sizes = np.zeros(len(rows))
    for name in growing:
        kind = modality_of(view.schema[name])
        here = np.flatnonzero(present[name])
        samples = view.samples(name, rows[here])
        sizes[here] += [_amount(kind, sample, encoders[name].length) for sample in samples]
    return sizes


def _amount(kind: Modality, sample: Sample | Missing, most: int) -> int:
    """The size of a sample up to the `most` tokens that its encoder returns; of a list, of item by item."""
    if isinstance(kind, Many):
        assert isinstance(sample, Several)
        return sum(_amount(kind.inner, item, most // ITEMS) for item in sample.items)
    return min(kind.size(sample), most)


def _order(count: int, sizes: np.ndarray | None, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of positions 0..count-1. With sizes, runs of 16 batches are sorted by size and the batches shuffled again."""
    order = rng.permutation(count)
    if sizes is not None:
        for start in range(0, count, 16 * size):
            run = order[start : start + 16 * size]
            order[start : start + 16 * size] = run[np.argsort(sizes[run], kind="stable")]
    batches = [order[start : start + size] for start in range(0, count, size)]
    return [batches[index] for index in rng.permutation(len(batches))]


def _nothing(encoder: Encoder, rows: int) -> Tokens:
    """Tokens that are not there, as many as an encoder may return: the length of the sequence is part of the shape."""
    values = torch.zeros(rows, encoder.length, encoder.width)
    return Tokens(values, torch.zeros(rows, encoder.length, dtype=torch.bool))


def _pad(tokens: Tokens, length: int | None) -> Tokens:
    if length is None or tokens.values.shape[1] == length:
        return tokens
    rows, count, width = tokens.values.shape
    values, mask = tokens.values.new_zeros(rows, length, width), tokens.mask.new_zeros(rows, length)
    values[:, :count], mask[:, :count] = tokens.values, tokens.mask
    return Tokens(values, mask)


def _move(value: Tokens | dict[str, Tensor] | None, device: str) -> Tokens | dict[str, Tensor] | None:
    if isinstance(value, Tokens):
        return Tokens(value.values.to(device), value.mask.to(device))
    return None if value is None else {key: tensor.to(device) for key, tensor in value.items()}
