"""The modality `series`: numbers that follow each other in time, of one or several channels, one column an input.

Decisions. Rows are time steps, everywhere. NaN is a value that is missing; encoders leave it out. What a column's cells
have in common, how many channels or which names, is its kind (`channels.py`): a sample with others is brought to it and
says so in its notes. A string that looks like a JSON array is one; any other string names a file.

A part is a span of time of one channel. It is removed by making it missing, which a sensor that falls silent does too: no
value has to be invented. A span in which nothing stands is no part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from consilience.media import ending, exists
from consilience.modalities.base import Corruption, Modality
from consilience.modalities.series.channels import fitted, layout_from, layout_of, written
from consilience.modalities.series.corruptions import DAMAGES, Damage
from consilience.modalities.series.drawing import draw, label
from consilience.modalities.series.reading import ENDINGS, is_array, read_cell, starts_like_a_file
from consilience.modalities.series.values import deviations
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part, Sample

_CLAIMED = 0.8  # the share of cells that must look like series
_OPENED = 32  # cells that are read to learn their channels
_FORCED = 0.05  # a claim that no automatic choice falls for: it lends its kind to a recipe that names the modality


@dataclass(frozen=True, kw_only=True, eq=False)
class Series(Sample):
    """values: float32 [T, C], NaN where missing, T and C at least 1 and one value at least there.

    rate: steps per second, from a time column; without one it is 1.0, and a step is a second on the row's clock.
    channels: C names, or () where they have none.
    """

    values: np.ndarray
    rate: float = 1.0
    channels: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        return super().nbytes + self.values.nbytes


def _damaged(damage: Damage, sample: Series, severity: float, rng: np.random.Generator) -> Series:
    return replace(sample, values=damage(sample.values, severity, rng)) if severity > 0 else sample


class Sensors(Modality):
    """Time series of one or several channels."""

    name = "series"
    media = True
    corruptions: ClassVar[Mapping[str, Corruption]] = {name: partial(_damaged, damage) for name, damage in DAMAGES.items()}

    def names_file(self, cell: str) -> bool:
        return not is_array(cell)

    def detect(self, column: Column) -> Claim | None:
        """Claims columns in which 80% of the sampled cells are series. The kind says what channels most of them have.

        Lists and JSON arrays must be read to count; .npy names count by their ending, names of tables where the file exists.
        """
        found: Counter[str] = Counter()
        likely: list[Cell] = []
        there = named = 0
        for cell in column.cells:
            what, path = _looks(cell, column.root)
            if path is not None:
                named += 1
                there += exists(path)
            if what:
                found[what] += 1
                likely.append(path if path is not None else cell)
        if not likely:
            return None
        places = np.unique(np.linspace(0, len(likely) - 1, _OPENED).astype(int))
        opened = [read_cell(likely[place], column.limits) for place in places]
        layout = layout_of([item for item in opened if not isinstance(item, Missing)])
        count = len(column.cells)
        reasons = [f"{number / count:.0%} of {count} sampled cells {what}" for what, number in found.most_common()]
        if named:
            reasons[-1] += f" ({there} of {named} files exist)"
        sure = found.total() >= _CLAIMED * count
        return Claim(0.95 if sure else _FORCED, "; ".join(reasons), written(layout))

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Series | Missing:
        """See `reading.read_cell` for what a cell may be."""
        found = read_cell(cells[input.columns[0]], limits)
        if isinstance(found, Missing):
            return found
        found = fitted(found, layout_from(input.kinds))
        if np.isnan(found.values).all():
            return Missing("no value in a known channel")
        return Series(values=found.values, rate=found.rate, channels=found.channels, notes=found.notes)

    def augment(self, sample: Series, rng: np.random.Generator) -> Series:
        """Moved in time by up to 5% of its length, up to 5% faster or slower, channels scaled by up to 10% about zero, and
        noise of 3% of each channel's deviation. What comes into view at an end is the value there.
        """
        values = sample.values
        steps, count = values.shape
        shift, stretch = rng.uniform(-0.05, 0.05, 2)
        middle = (steps - 1) / 2
        places = (middle + (1 + stretch) * (np.arange(steps) - middle) + shift * steps).clip(0, steps - 1)
        before = places.astype(np.intp)
        part = (places - before)[:, None].astype(np.float32)
        # Where the place is a step, the next one must not matter: it may be missing.
        after = np.where(part[:, 0] > 0, np.minimum(before + 1, steps - 1), before)
        moved = (1 - part) * values[before] + part * values[after]
        scale = 1.1 ** rng.uniform(-1, 1, count)
        jitter = 0.03 * deviations(values) * rng.standard_normal(values.shape, np.float32)
        moved = (scale * moved + jitter).astype(np.float32)
        return replace(sample, values=values if np.isnan(moved).all() else moved)

    def size(self, sample: Series) -> int:
        """T, its number of steps."""
        return len(sample.values)

    def describe(self, sample: Series) -> str:
        """Steps, channels where there are several, and the rate where a time column told it."""
        steps, channels = sample.values.shape
        several = f" of {channels} channels" if channels > 1 else ""
        rate = f", {sample.rate:.3g} a second" if sample.rate != 1 else ""
        return f"{steps} step{'s' if steps > 1 else ''}{several}{rate}"

    def parts(self, sample: Series) -> list[Part]:
        """Spans of each channel that hold a value, channel by channel; eight of a channel, fewer of many channels."""
        return [
            Part(index, label(sample.channels, channel, span, sample.rate))
            for index, (channel, span) in enumerate(spans(sample.values))
            if not np.isnan(sample.values[span, channel]).all()
        ]

    def keep(self, sample: Series, kept: Collection[int]) -> Series:
        """The other spans made missing."""
        values = sample.values.copy()
        for index, (channel, span) in enumerate(spans(values)):
            if index not in kept:
                values[span, channel] = np.nan
        return replace(sample, values=values)

    def draw(self, sample: Series, weights: Mapping[int, float]) -> str:
        """A `<figure>` with an SVG: a line for each channel, its spans tinted blue (for) or red (against)."""
        return draw(sample.values, sample.rate, sample.channels, spans(sample.values), weights)

    def encoders(self) -> Mapping[str, str]:
        return {"descriptor": f"{__name__}.descriptor:Descriptor", "scratch": f"{__name__}.scratch:Scratch"}


def spans(values: np.ndarray) -> list[tuple[int, slice]]:
    """(channel, steps) of each part: 8 spans of a channel, 4 from five channels on, 2 from nine on."""
    steps, count = values.shape
    cuts = np.linspace(0, steps, min(steps, max(2, min(8, 32 // count))) + 1).round().astype(int).tolist()
    return [(channel, slice(*pair)) for channel in range(count) for pair in pairwise(cuts)]


def _looks(cell: Cell, root: Path) -> tuple[str, Path | None]:
    """What a cell looks like, "" for no series, and the file that it names."""
    if isinstance(cell, bytes):
        return ("are bytes that start as npy or Parquet" if starts_like_a_file(cell) else "", None)
    if isinstance(cell, list | tuple | np.ndarray | Mapping):
        return ("are lists of numbers" if not isinstance(read_cell(cell, Limits()), Missing) else "", None)
    if isinstance(cell, str) and is_array(cell):
        return ("are JSON arrays of numbers" if not isinstance(read_cell(cell, Limits()), Missing) else "", None)
    if isinstance(cell, str | Path) and (last := ending(cell)) in ENDINGS:
        path = root / cell
        if exists(path) or (last == ".npy" and len(str(cell).split()) == 1):
            return f"end in {last}", path
    return "", None
