"""The descriptor of a record: one token of scaled quantities, one-hot categories and the phases of dates.

    number    scaled and clipped (`learned.Scale`)
    date      days since 1970 scaled so, then sine and cosine of the phase in the year and in the week
    category  a one for the category, among those that training rows hold twice or more, or for "other"

and behind each column, where training rows have gaps in it, a one for "missing". A column without gaps in training has
no such place, because nothing could be learned about it; its missing cells are zeros, as those of all columns are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from consilience.encoders.base import Encoder, Received
from consilience.modalities.tabular.learned import (
    PHASES,
    Learned,
    categories_of,
    columns_of,
    gaps_of,
    phases,
    restored,
    scales_of,
)
from consilience.modalities.tabular.record import Record
from consilience.types import Input, Sample, State, Tokens

LEAST = 2  # of a category seen once nothing can be learned but its row


class Descriptor(Encoder):
    """[B, 1, width] float32; the width is known after `fit` or `restore`."""

    modality: ClassVar[str] = "tabular"
    length = 1
    frozen = True

    class Config(Encoder.Config):
        categories: int = Field(50, ge=1, le=10_000, description="Most categories of a column that get a place of their own.")

    config: Config

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.dates = frozenset(columns_of(input, "date"))

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learns scales, categories and gaps. Zero samples give zeros and "other"."""
        categories = categories_of(self.input, samples, LEAST, self.config.categories)
        scales = scales_of(self.input, samples)
        self._take(Learned(scales=scales, categories=categories, gaps=gaps_of(self.input, samples)))

    def _take(self, learned: Learned) -> None:
        """Give every column its places in the token."""
        self.learned = learned
        self.places: dict[str, int] = {}
        self.names: dict[str, dict[str, int]] = {}
        self.missing: dict[str, int] = {}
        place = 0
        for column in self.input.columns:
            self.places[column] = place
            if column in learned.categories:
                names = learned.categories[column]
                self.names[column] = {name: place + 1 + index for index, name in enumerate(names)}
                place += 1 + len(names)
            else:
                place += 5 if column in self.dates else 1
            if column in learned.gaps:
                self.missing[column] = place
                place += 1
        self.width = place

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """{"values": [width] float32}."""
        assert isinstance(sample, Record)
        values = np.zeros(self.width, dtype=np.float32)
        for column, place in self.places.items():
            cell = sample.values[column]
            if cell is None:
                if column in self.missing:
                    values[self.missing[column]] = 1.0
            elif isinstance(cell, str):
                values[self.names[column].get(cell, place)] = 1.0
            else:
                values[place] = self.learned.scales[column](cell)
                if column in self.dates:
                    values[place + 1 : place + 5] = phases(cell)
        return {"values": torch.from_numpy(values)}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """The scaled quantities and phases by column, and which of the other places hold a one."""
        assert isinstance(sample, Record)
        values = self.prepare(sample)["values"].tolist()
        quantities: list[tuple[str, float]] = []
        places: dict[str, int] = {}
        for column, place in self.places.items():
            if column in self.names:
                places |= {f"{column} = {name}": index for name, index in self.names[column].items()}
                places[f"{column}: other"] = place
            else:
                gap = " (missing)" if sample.values[column] is None else ""
                labels = [f"{column}{gap}", *(f"{column}: {phase}" for phase in PHASES if column in self.dates)]
                quantities += [(label, values[place + index]) for index, label in enumerate(labels)]
        places |= {f"{column}: missing": place for column, place in self.missing.items()}
        shown: dict[str, Received] = {"scaled quantities": quantities} if quantities else {}
        if places:
            ones = [label for label, place in places.items() if values[place]]
            shown[f"places that hold a one; the other {len(places) - len(ones)} hold a zero"] = ones
        return shown

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        values = batch["values"].unsqueeze(1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def state(self) -> State:
        return self.learned.state()

    def restore(self, state: State) -> None:
        self._take(restored(state, self.input, scaled=True, most=self.config.categories))
