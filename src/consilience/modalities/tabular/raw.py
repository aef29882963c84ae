"""The columns as they are, for boosted trees: one token with one entry per column, in float64.

Trees need no scale, find the order by themselves, and give NaN a branch of its own. A category is a code, 0 for the most
frequent one; unknown, rare and missing categories are all NaN: of none of them is the category known. 254 codes, because
scikit-learn's histogram trees have 255 bins and one is for NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from consilience import component
from consilience.encoders.base import Encoder, Received
from consilience.modalities.tabular.learned import Learned, categories_of, columns_of, restored
from consilience.modalities.tabular.record import Record
from consilience.types import Input, Sample, State, Tokens

CODES = 254


class Raw(Encoder):
    """[B, 1, columns] float64: numbers, days since 1970, codes at the positions `categorical`; NaN: missing or unknown."""

    complete = False
    modality: ClassVar[str] = "tabular"
    length = 1
    frozen = True

    def __init__(self, *, config: component.Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.width = len(input.columns)
        self.categorical = tuple(input.columns.index(column) for column in columns_of(input, "category"))

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learns the codes of the categories."""
        self._take(Learned(categories=categories_of(self.input, samples, 1, CODES)))

    def _take(self, learned: Learned) -> None:
        self.learned = learned
        self.codes = {
            column: {name: float(code) for code, name in enumerate(names)} for column, names in learned.categories.items()
        }

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """{"values": [width] float64}."""
        assert isinstance(sample, Record)
        values = np.full(self.width, np.nan)
        for place, column in enumerate(self.input.columns):
            cell = sample.values[column]
            if isinstance(cell, str):
                values[place] = self.codes[column].get(cell, np.nan)
            elif cell is not None:
                values[place] = cell
        return {"values": torch.from_numpy(values)}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """By column the number, or the category behind its code."""
        assert isinstance(sample, Record)
        shown = []
        for column, value in zip(self.input.columns, self.prepare(sample)["values"].tolist(), strict=True):
            cell = sample.values[column]
            if math.isnan(value):
                number = "NaN: missing" if cell is None else f"NaN: no code for {cell}"
            else:
                number = f"code {value:.0f}: {cell}" if column in self.codes else f"{value:.15g}"
            shown.append((column, number))
        return {"columns as they are": shown}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        values = batch["values"].unsqueeze(1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def state(self) -> State:
        return self.learned.state()

    def restore(self, state: State) -> None:
        self._take(restored(state, self.input, scaled=False, most=CODES))
