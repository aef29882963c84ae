"""The contract of an encoder: sample -> tensors -> tokens.

Three kinds. A *descriptor* computes training-free features, standardised on the training rows, and is frozen. A
*scratch* encoder is trained with the model. A *pretrained* one arrives trained and is frozen unless tuned.

What an encoder learns from rows (vocabularies, scales, bases) it learns in `fit`, from the samples it is handed, which
are training rows only; `state` and `restore` carry it. Parameters trained by gradient are ordinary torch parameters.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from consilience import component
from consilience.types import Input, Sample, State, Tokens

__all__ = ["CHUNK", "Encoder"]

CHUNK = 96
"""Rows that are encoded, or predicted, together. Always as many: a row's bits must not depend on its neighbours.

A multiple of 6, 16 and 32, the rows that matrix products and the elements that loops take at a time: the rows left over
go another way, and differ in the last bit (measured on MKL for AVX2: 64 rows of 4 tokens, the last two of every 176).
"""

Received = Tensor | Sequence[str] | Sequence[tuple[str, int]] | Sequence[tuple[str, float]] | Sequence[tuple[str, str]]
"""Something that an encoder takes in, for people: a tensor, words, words with counts, named quantities, named texts."""


class Encoder(nn.Module, ABC):
    """Turns samples of one modality into tokens. Subclasses are final and hold a nested `Config`.

    The constructor takes `config` and `input` (which columns, of which kinds), by keyword.
    """

    modality: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when `prepare` or `forward` starts to return something else for the same state: stored tokens go stale."""

    class Config(component.Config):
        """No options."""

    width: int
    """D of the tokens. May be known only after `fit` or `restore`."""
    length: int
    """The largest N that the encoder returns; prediction pads to it, so that shapes never depend on the batch."""
    complete: ClassVar[bool] = True
    """False: tokens hold NaN for what is missing, which only trees can take."""
    categorical: tuple[int, ...] = ()
    """Positions of D that hold category codes instead of quantities (NaN: unknown), for predictors that treat both."""
    frozen: bool
    """True: the tokens of a sample never change after `fit`, so that they are computed once and stored."""
    dtype: torch.dtype = torch.float32
    """Of the values of stored tokens."""
    learns: ClassVar[bool] = True
    """False: `fit` needs no samples."""
    heavy: ClassVar[bool] = False
    """True: a cell costs tens of milliseconds, so that chunks are worth threads, and tokens worth a device."""
    span: ClassVar[int] = CHUNK
    """How many rows are handed to `chunks` at once."""

    def __init__(self, *, config: component.Config, input: Input) -> None:
        super().__init__()
        self.input = input
        self.config = config

    def open(self) -> None:
        """Open what it needs beside samples, so that what is lacking is told before anything is trained.

        Raises ConsilienceError where something cannot be had.
        """

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learn vocabularies and scales from the samples of training rows. Makes the parameters that depend on them."""

    @abstractmethod
    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """The tensors of one sample, on the CPU. Runs in worker threads, so it must not change the encoder."""

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """What it takes in of a sample, each thing with a name for people; shown, never computed with.

        Override it where the tensors of `prepare`, which are the default, do not speak; make it of them, so that it is true.
        """
        return self.prepare(sample)

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """Stack prepared samples to B rows, padded to `length` tokens (None: the longest of the items).

        This default is for encoders whose prepared tensors all have one shape.
        """
        return {key: torch.stack([item[key] for item in items]) for key in items[0]}

    def chunks(self, items: Sequence[dict[str, Tensor]]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Batches over prepared samples for prediction: the places of the items in one, and the batch; rows behind those are
        repetitions. The shape of the batch that an item is in depends on that item alone.
        """
        for start in range(0, len(items), CHUNK):
            places = list(range(start, min(start + CHUNK, len(items))))
            part = [items[place] for place in places]
            yield places, self.collate(part + part[-1:] * (CHUNK - len(part)), self.length)

    def tuned(self, method: str, rank: int) -> Encoder:
        """Of an encoder that arrived trained, one whose weights learn; any other is as it is."""
        del method, rank
        return self

    def depths(self) -> Mapping[str, int]:
        """Of the parameters that arrived trained, how many layers below the top each stands; they learn at other rates."""
        return {}

    @abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """What `collate` made, on the device of the model -> Tokens with B rows, N <= `length`, D == `width`."""

    def state(self) -> State:
        """What `fit` learned. Parameters are not in it."""
        return State()

    def restore(self, state: State) -> None:
        """Take back what `state` gave. Raises ConsilienceError where it is not valid."""

    def blueprint(self) -> str:
        """Names the encoder before it is fitted: code version, configuration and columns."""
        cls = type(self)
        head: list[Any] = [cls.__module__, cls.__qualname__, cls.version, self.config.model_dump(mode="json")]
        return json.dumps([*head, self.input.name, self.input.columns, self.input.kinds], sort_keys=True)

    def fingerprint(self) -> str:
        """Names everything that decides the tokens of a sample: blueprint, what `fit` learned, and parameters."""
        state = self.state()
        digest = hashlib.sha256(self.blueprint().encode())
        digest.update(json.dumps(state.json, sort_keys=True, default=str).encode())
        tensors = {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}
        for arrays in (state.arrays, tensors):
            for name in sorted(arrays):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"{name}{array.dtype}{array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()
