"""Tabular: numbers, categories and dates of a table; all columns of a table form one input, or one input a block.

A cell that is empty or cannot be parsed is missing by itself; the input is absent only where all its cells are.
Categories keep their case and their spelling. No statistic is kept here: scales and vocabularies belong to the encoders.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import ClassVar

from consilience.modalities.base import Corruption, Modality
from consilience.modalities.tabular.cells import Parse, numbers, parser, written
from consilience.modalities.tabular.detect import detect
from consilience.modalities.tabular.record import Record, Value, blank, garble, noise
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Part, Sample

__all__ = ["Record", "Tabular"]


class Tabular(Modality):
    """Kinds of columns: "number", "category" (booleans too) and "date"."""

    name: ClassVar[str] = "tabular"
    grouped: ClassVar[bool] = True
    corruptions: ClassVar[Mapping[str, Corruption]] = {"blank": blank, "noise": noise, "garble": garble}

    def detect(self, column: Column) -> Claim | None:
        return detect(column)

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Sample | Missing:
        """Parse each cell by the kind of its column. A column that `cells` lacks is an empty cell.

        What could not be parsed becomes None with a note "COLUMN: not a number". Raises ConsilienceError only for a kind
        that does not exist.
        """
        by = _by_kind(input.columns, input.kinds)
        found = numbers(list(map(cells.get, by.numbers)))
        if found is not None and not by.others:
            return Record(values=dict(zip(input.columns, found, strict=True)))
        values: dict[str, Value] = dict.fromkeys(input.columns)
        values.update(zip(by.numbers, found or (), strict=False))
        problems: dict[str, str] = {}
        for column, parse in by.parsers if found is None else by.others:
            value, problem = parse(cells.get(column))
            if isinstance(value, str) and len(value) > limits.characters:
                value, problem = value[: limits.characters], f"cut at {limits.characters} characters"
            values[column] = value
            if problem:
                problems[column] = problem
        if all(value is None for value in values.values()):
            return Missing(", ".join(sorted(set(problems.values()))) or "empty")
        notes = tuple(f"{column}: {problem}" for column, problem in problems.items())
        return Record(values=values, dates=by.dates, notes=notes)

    def size(self, sample: Record) -> int:
        """The number of cells that hold a value."""
        return sum(value is not None for value in sample.values.values())

    def describe(self, sample: Record) -> str:
        """The values as people write them, without those that are missing."""
        return ", ".join(written(value, column in sample.dates) for column, value in sample.values.items() if value is not None)

    def parts(self, sample: Record) -> Sequence[Part]:
        """The columns that hold a value, by their place among all columns."""
        return [
            Part(index, f"{column} = {written(value, column in sample.dates)}")
            for index, (column, value) in enumerate(sample.values.items())
            if value is not None
        ]

    def keep(self, sample: Record, kept: Collection[int]) -> Record:
        values = {column: value if index in kept else None for index, (column, value) in enumerate(sample.values.items())}
        return replace(sample, values=values)

    def draw(self, sample: Record, weights: Mapping[int, float]) -> str:
        """A `table` with a row per column; blue rows speak for, orange ones against; the title is the weight."""
        rows = []
        for index, (column, value) in enumerate(sample.values.items()):
            weight = weights.get(index, 0.0)
            colour = "31 119 214" if weight > 0 else "230 120 20"
            tint = f' style="background:rgb({colour} / {min(abs(weight), 1.0):.2f})" title="{weight:+.2f}"' if weight else ""
            shown = "<i>missing</i>" if value is None else escape(written(value, column in sample.dates))
            rows.append(f'<tr{tint}><th scope="row">{escape(column)}</th><td>{shown}</td></tr>')
        return f'<table class="tabular">{"".join(rows)}</table>'

    def encoders(self) -> Mapping[str, str]:
        return {
            "descriptor": f"{__name__}.descriptor:Descriptor",
            "raw": f"{__name__}.raw:Raw",
            "scratch": f"{__name__}.scratch:Scratch",
        }


@dataclass(frozen=True)
class _Columns:
    """The columns of an input by kind, with their parsers: the same for every row."""

    parsers: tuple[tuple[str, Parse], ...]
    numbers: tuple[str, ...]
    others: tuple[tuple[str, Parse], ...]
    dates: frozenset[str]


@lru_cache(maxsize=256)
def _by_kind(columns: tuple[str, ...], kinds: tuple[str, ...]) -> _Columns:
    kind = dict(zip(columns, kinds, strict=True))
    parsers = tuple((column, parser(kind[column])) for column in columns)
    return _Columns(
        parsers,
        tuple(column for column in columns if kind[column] == "number"),
        tuple((column, parse) for column, parse in parsers if kind[column] != "number"),
        frozenset(column for column in columns if kind[column] == "date"),
    )
