"""Tabular encoder trained with the model: a token per column, then a transformer.

Feature tokens as in FT-Transformer (Gorishniy et al. 2021, "Revisiting deep learning models for tabular data", section
3.3); quantities pass through periodic embeddings (Gorishniy et al. 2022, "On embeddings for numerical features", section
3.3: ReLU(Linear([sin v, cos v])), v = 2 pi c x with learned c, weights of its own for each column).

A missing cell has no token. Where there are more columns than `tokens`, neighbouring columns share one: the sum of
their embeddings, without those of missing cells, so that a block of many columns costs no more than `tokens` words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from consilience.encoders.base import Encoder, Received
from consilience.encoders.body import Body
from consilience.errors import fail
from consilience.modalities.tabular.learned import (
    PHASES,
    Learned,
    Scales,
    categories_of,
    columns_of,
    phases,
    restored,
    scales_of,
)
from consilience.modalities.tabular.record import Record, Value
from consilience.types import Input, Sample, State, Tokens

LEAST, MOST = 2, 1000  # a category needs two rows to be learned from; what is rarer, or beyond the first MOST, is unknown
FREQUENCIES = 16
SPREAD = 0.1  # deviation of the first frequencies, for x in -3..3; 0.3 bends better but overfits 300 rows, 1.0 always does


def _uniform(*shape: int, fan: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(*shape) - 1) / math.sqrt(fan))


class _Quantities(nn.Module):
    """Periodic embeddings of scaled quantities. [B, Q] -> [B, Q, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(SPREAD * torch.randn(count, FREQUENCIES))
        self.weight = _uniform(count, 2 * FREQUENCIES, width, fan=2 * FREQUENCIES)
        self.bias = _uniform(count, width, fan=2 * FREQUENCIES)

    def forward(self, values: Tensor) -> Tensor:
        angles = 2 * math.pi * self.frequencies * values.unsqueeze(-1)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return F.relu(torch.einsum("bqf,qfd->bqd", waves, self.weight) + self.bias)


class _Dates(nn.Module):
    """Scaled days as quantities, plus a linear map of the phases. [B, Q, 5] -> [B, Q, D]."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.days = _Quantities(count, width)
        self.weight = _uniform(count, 4, width, fan=4)

    def forward(self, values: Tensor) -> Tensor:
        return self.days(values[:, :, 0]) + torch.einsum("bqp,qpd->bqd", values[:, :, 1:], self.weight)


class _Categories(nn.Module):
    """A row for every category of every column; a row of zeros, at first, for a column's unknown. [B, Q] -> [B, Q, D]."""

    starts: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        starts = torch.tensor([0, *sizes]).cumsum(0)[:-1]
        self.register_buffer("starts", starts, persistent=False)
        self.table = _uniform(sum(sizes), width, fan=width)
        self.table.data[starts] = 0.0

    def forward(self, codes: Tensor) -> Tensor:
        return self.table[codes + self.starts]


class Scratch(Encoder):
    """[B, N, width] with N <= `tokens`; a token is True where one of its columns has a value."""

    modality: ClassVar[str] = "tabular"
    frozen = False

    class Config(Encoder.Config):
        width: int = Field(128, ge=8, le=4096, description="Width of the tokens; a multiple of heads.")
        depth: int = Field(2, ge=1, le=48, description="Number of transformer blocks.")
        heads: int = Field(4, ge=1, le=64, description="Attention heads per block.")
        dropout: float = Field(0.1, ge=0, lt=1, description="Share of activations dropped in training.")
        tokens: int = Field(32, ge=1, le=1024, description="Most tokens of a record; neighbouring columns share one beyond it.")

    config: Config
    order: Tensor

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        if config.width % config.heads:
            raise fail(
                f"width {config.width} and {config.heads} heads", "a width that is a multiple of heads", "change one of them"
            )
        self.width = config.width
        self.kinds = {kind: columns for kind in ("number", "date", "category") if (columns := columns_of(input, kind))}
        self.places = {
            kind: np.array([input.columns.index(column) for column in columns]) for kind, columns in self.kinds.items()
        }
        self.share = math.ceil(len(input.columns) / config.tokens)
        self.length = math.ceil(len(input.columns) / self.share)
        places = {column: place for place, column in enumerate(column for columns in self.kinds.values() for column in columns)}
        self.register_buffer("order", torch.tensor([places[column] for column in input.columns]), persistent=False)
        self.columns = _uniform(len(input.columns), config.width, fan=config.width)
        self.body = Body(config.width, config.depth, config.heads, config.dropout, length=0)

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learns scales and categories, and makes the embeddings."""
        categories = categories_of(self.input, samples, LEAST, MOST)
        self._take(Learned(scales=scales_of(self.input, samples), categories=categories))

    def _take(self, learned: Learned) -> None:
        self.learned = learned
        self.scales = {
            kind: Scales([learned.scales[column] for column in self.kinds.get(kind, ())]) for kind in ("number", "date")
        }
        self.codes: dict[str, dict[Value, int]] = {
            column: {name: code for code, name in enumerate(names, start=1)} for column, names in learned.categories.items()
        }
        self.embeddings = nn.ModuleDict()
        for kind, columns in self.kinds.items():
            if kind == "category":
                sizes = [1 + len(learned.categories[column]) for column in columns]
                self.embeddings[kind] = _Categories(sizes, self.width)
            else:
                made = _Quantities if kind == "number" else _Dates
                self.embeddings[kind] = made(len(columns), self.width)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """By kind: numbers [Q] float32, dates [Q, 5] float32, category codes [Q] int64 (0: unknown); mask [columns] bool.

        What stands for a missing cell is covered by the mask.
        """
        assert isinstance(sample, Record)
        cells = sample.values
        prepared = {"mask": np.empty(len(self.input.columns), bool)}
        for kind, columns in self.kinds.items():
            found = list(map(cells.__getitem__, columns))
            if kind == "category":
                prepared[kind] = np.array([self.codes[column].get(cells[column], 0) for column in columns], dtype=np.int64)
                prepared["mask"][self.places[kind]] = [cell is not None for cell in found]
                continue
            values = np.array(found, np.float64)  # NaN for None
            prepared["mask"][self.places[kind]] = values == values
            prepared[kind] = self.scales[kind](values).astype(np.float32)
            if kind == "date":
                turns = np.array([phases(days or 0.0) for days in found], np.float32)  # type: ignore[arg-type]
                prepared[kind] = np.column_stack([prepared[kind], turns])
        return {key: torch.from_numpy(value) for key, value in prepared.items()}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """By column the scaled quantities with the phases of dates, and the codes; what is missing has no token."""
        assert isinstance(sample, Record)
        prepared, cells = self.prepare(sample), sample.values
        quantities: list[tuple[str, float]] = []
        codes: list[tuple[str, str]] = []
        for kind, columns in self.kinds.items():
            for column, values in zip(columns, prepared[kind].reshape(len(columns), -1).tolist(), strict=True):
                if cells[column] is None:
                    continue
                if kind == "category":
                    codes.append((column, f"{values[0]}: {cells[column] if values[0] else 'unknown'}"))
                else:
                    labels = [column, *(f"{column}: {phase}" for phase in PHASES)]
                    quantities += zip(labels, values, strict=False)  # a number has no phases
        missing = [column for column, there in zip(self.input.columns, prepared["mask"].tolist(), strict=True) if not there]
        shown = {"scaled quantities": quantities, "codes of categories": codes, "no token: missing": missing}
        return {name: value for name, value in shown.items() if value}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        there = batch["mask"]
        pieces = [embed(batch[kind]) for kind, embed in self.embeddings.items()]
        values = (torch.cat(pieces, dim=1)[:, self.order] + self.columns).masked_fill(~there.unsqueeze(-1), 0.0)
        spare = self.length * self.share - len(self.input.columns)
        values = F.pad(values, (0, 0, 0, spare)).unflatten(1, (self.length, self.share)).sum(2) / math.sqrt(self.share)
        mask = F.pad(there, (0, spare)).unflatten(1, (self.length, self.share)).any(2)
        # A record of which nothing is kept is still a record that is present: it has one token, of zeros.
        first = torch.arange(self.length, device=mask.device) == 0
        mask = mask | (first & ~mask.any(1, keepdim=True))
        return Tokens(self.body(values, mask), mask)

    def state(self) -> State:
        return self.learned.state()

    def restore(self, state: State) -> None:
        self._take(restored(state, self.input, scaled=True, most=MOST))
