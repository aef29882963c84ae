"""Cells that hold several items of one modality: the photos of a listing, the notes of a visit. One input, all their tokens.

A list is an Arrow list, a JSON array in a string (`["a.png", "b.png"]`), or names of files joined by ; or | as other
programs write them. Joined names are a list only for a modality whose cells are files and only where no file has the whole
name; for a column to be taken for one, the pieces of one sampled cell at least must all exist. Any other cell stands for a
list of itself, so that a column may mix both. A series of numbers is one thing, not several: lists of numbers are left to
the modality that reads them.

A list has no kinds of column as tabular data has (number, category), so how often an item comes back says nothing: to claim
a column, a modality is shown each different item once. Tags (`["red", "new"]`) thus become text, one item a tag.

An item that cannot be read is left out and noted; the input is missing only where no item is left. Notes name no counts, so
that equal ones of many rows can be counted together. Only the first `ITEMS` are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from consilience.data.table import SAMPLED, is_empty
from consilience.errors import fail
from consilience.media import exists, is_url
from consilience.modalities.base import Corruption, Modality
from consilience.types import ITEMS, Cell, Claim, Column, Input, Limits, Missing, Part, Sample, Several

SHARE = 0.5
"""The share of a column's cells that must be lists; the others are lists of one."""

JOINTS = (";", "|")
"""What joins the names of files in one string."""


def below(cell: Cell, root: Path) -> list[Cell]:
    """The items of a media cell, names of files as paths below `root`."""
    return [
        root / item if isinstance(item, str) and item.strip() and not is_url(item) else item for item in _unpacked(cell, root)
    ]


class Many(Modality):
    """Lists of another modality's items. Wraps it: what a list is stands here, what an item is stays there."""

    def __init__(self, inner: Modality) -> None:
        if inner.grouped:
            raise fail(
                f"the modality {inner.name} was asked for lists",
                "one that reads its cells one by one",
                "choose another modality",
            )
        self.inner = inner
        # Set on the instance: they are those of the modality inside.
        self.name = inner.name  # type: ignore[misc]
        self.media = inner.media  # type: ignore[misc]
        self.corruptions = {name: partial(_each, damage) for name, damage in inner.corruptions.items()}  # type: ignore[misc]

    def detect(self, column: Column) -> Claim | None:
        """What the modality inside says of the items, each different one shown once; None where the cells are no lists."""
        if not holds_items(column, self.media):
            return None
        lists = _lists(column, self.media)
        items = [item for items in lists for item in items if not is_empty(item)]
        different = list({item if isinstance(item, str | bytes) else repr(item): item for item in items}.values())
        places = np.unique(np.linspace(0, len(different) - 1, SAMPLED).astype(np.int64))
        count = len(different)
        shown = replace(column, cells=[different[place] for place in places], rows=count, empty=0, distinct=count)
        claim = self.inner.detect(shown)
        if claim is None:
            return None
        shortest, longest = min(map(len, lists)), max(map(len, lists))
        span = f"{longest}" if shortest == longest else f"{shortest} to {longest}"
        return Claim(claim.confidence, f"lists of {span} items; item by item: {claim.reason}", claim.kind, many=True)

    def read(self, input: Input, cells: Mapping[str, Cell], limits: Limits) -> Several | Missing:
        """The items that can be read; Missing with the most frequent reason where none can, "empty" for an empty list."""
        (column,) = input.columns
        items = _unpacked(cells.get(column), None)
        read = [self.inner.read(input, {column: item}, limits) for item in items[:ITEMS]]
        kept = tuple(item for item in read if isinstance(item, Sample))
        reasons = Counter(item.reason for item in read if isinstance(item, Missing))
        if not kept:
            return Missing(reasons.most_common(1)[0][0] if reasons else "empty")
        notes = [note for item in kept for note in item.notes]
        notes += [f"items that could not be read: {reason}" for reason in reasons]
        if len(items) > ITEMS:
            notes.append(f"only the first {ITEMS} items read")
        return Several(items=kept, notes=tuple(dict.fromkeys(notes)))

    @property
    def varies(self) -> bool:
        return self.inner.varies

    def augment(self, sample: Several, rng: np.random.Generator) -> Several:
        return replace(sample, items=tuple(self.inner.augment(item, rng) for item in sample.items))

    def size(self, sample: Several) -> int:
        return sum(self.inner.size(item) for item in sample.items)

    def parts(self, sample: Several) -> Sequence[Part]:
        """The parts of every item, numbered through, with the item in the label."""
        return [
            Part(number, f"item {place}: {part.label}")
            for place, parts in enumerate(self._numbered(sample), 1)
            for number, part in parts
        ]

    def keep(self, sample: Several, kept: Collection[int]) -> Several:
        """An item none of whose parts is kept leaves the list; where none is kept at all, all stay with nothing in them."""
        items = []
        for item, parts in zip(sample.items, self._numbered(sample), strict=True):
            own = {part.index for number, part in parts if number in kept}
            if own or not parts:
                items.append(self.inner.keep(item, own))
        return replace(sample, items=tuple(items or (self.inner.keep(item, ()) for item in sample.items)))

    def draw(self, sample: Several, weights: Mapping[int, float]) -> str:
        """An ordered list of the items' drawings."""
        drawn = [
            self.inner.draw(item, {part.index: weights[number] for number, part in parts if number in weights})
            for item, parts in zip(sample.items, self._numbered(sample), strict=True)
        ]
        return f'<ol class="several">{"".join(f"<li>{item}</li>" for item in drawn)}</ol>'

    def encoders(self) -> Mapping[str, str]:
        """Those of an item; `encoders.several` makes them take lists."""
        return self.inner.encoders()

    def _numbered(self, sample: Several) -> list[list[tuple[int, Part]]]:
        """For each item its parts, each with its number among the parts of all items."""
        numbered, start = [], 0
        for item in sample.items:
            parts = self.inner.parts(item)
            numbered.append([(start + part.index, part) for part in parts])
            start += max((part.index for part in parts), default=-1) + 1
        return numbered


def _each(damage: Corruption, sample: Several, severity: float, rng: np.random.Generator) -> Several:
    return replace(sample, items=tuple(damage(item, severity, rng) for item in sample.items))


def may_hold_lists(column: Column) -> bool:
    """A quick look, because most columns hold none: is there any cell that one of the forms of a list would fit?"""
    return any(
        isinstance(cell, list | tuple)
        or (isinstance(cell, str) and (cell.lstrip()[:1] == "[" or any(joint in cell for joint in JOINTS)))
        for cell in column.cells
    )


def holds_lists(column: Column) -> bool:
    """Are its cells lists, whatever of?"""
    return bool(_lists(column, media=False))


def holds_items(column: Column, media: bool) -> bool:
    """Are its cells lists of what a modality may read one by one? Not of numbers, which are one series."""
    items = [item for items in _lists(column, media) for item in items if not is_empty(item)]
    return bool(items) and all(isinstance(item, str | bytes | dict) for item in items)


def _lists(column: Column, media: bool) -> list[list[Cell]]:
    """The items of each sampled cell of a column of lists; nothing for another column."""
    listed = sum(_items(cell) is not None for cell in column.cells)
    if listed >= SHARE * max(len(column.cells), 1) or (media and any(_all_exist(cell, column.root) for cell in column.cells)):
        return [_unpacked(cell, column.root if media else None) for cell in column.cells]
    return []


def _all_exist(cell: Cell, root: Path) -> bool:
    names = _joined(cell, root)
    return names is not None and len(names) > 1 and all(exists(root / name) for name in names)


def _unpacked(cell: Cell, root: Path | None) -> list[Cell]:
    """The items of any cell: none of an empty one, itself of one that is no list. Joined names only with a `root`."""
    if is_empty(cell):
        return []
    items = _items(cell)
    if items is None and root is not None:
        items = _joined(cell, root)
    return [cell] if items is None else items


def _items(cell: Cell) -> list[Any] | None:
    """The items of a list or of a JSON array; None for everything else."""
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str) or not (cell.lstrip().startswith("[") and cell.rstrip().endswith("]")):
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):  # RecursionError: brackets without end
        return None


def _joined(cell: Cell, root: Path) -> list[str] | None:
    """Names of files that stand in one string, each with an ending; None where there are not several, or a file of all."""
    joint = next((joint for joint in JOINTS if joint in cell), None) if isinstance(cell, str) else None
    if joint is None:
        return None
    names = [name.strip() for name in cell.split(joint) if name.strip()]
    return names if names and all(Path(name).suffix for name in names) and not exists(root / cell) else None
