"""What checks look at instead of the whole: sampled rows, cells as numbers, as marks that tell them apart, as words.

Cells are taken by what they hold, not by the modality that reads them: a column is one of numbers if nearly all of its
filled cells are. Marks come from Python's `hash`, which differs between processes, so they are compared and never shown.
Words are numbered by CRC-32, which does not.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol, TypeVar

import numpy as np
import yaml

from consilience.data.schema import modality_of
from consilience.data.store import digest
from consilience.data.table import is_empty
from consilience.evidence.audit.finding import SHOWN, Examined, Finding
from consilience.recipe import Recipe
from consilience.tasks.base import as_number
from consilience.types import Cell, Input

ROWS = 20_000
"""The most rows that a check looks at closely."""

MOSTLY = 0.95
"""The share of filled cells that must be numbers, or times, for a column to be one of them."""

BATCH = 65_536

_WORD = re.compile(r"\w+")


class Held(Protocol):
    """Something whose size in memory is known."""

    @property
    def nbytes(self) -> int: ...


Made = TypeVar("Made", bound=Held)


@dataclass(frozen=True)
class Seen:
    """A column that the model receives, and the input that it belongs to."""

    column: str
    input: Input
    media: bool


def inputs(examined: Examined) -> list[Seen]:
    """Every column of every input."""
    found = []
    for item in examined.view.schema.inputs:
        media = modality_of(item).media
        found += [Seen(column, item, media) for column in item.columns]
    return found


def sampled(examined: Examined, rows: np.ndarray | None = None, most: int = ROWS) -> np.ndarray:
    """At most `most` of `rows` (default: all of the table), drawn with the recipe's seed, in their order."""
    rows = np.arange(len(examined.view)) if rows is None else rows
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([examined.recipe.seed, most]).choice(rows, most, replace=False))


def labelled(examined: Examined) -> np.ndarray:
    """The rows of all parts, in their order; none where there is no target."""
    splits = examined.splits
    if splits is None or examined.task is None:
        return np.zeros(0, np.int64)
    return np.sort(np.concatenate([splits.train, splits.valid, splits.test]))


def parts(examined: Examined) -> np.ndarray:
    """[all rows] int8: 0 train, 1 valid, 2 test, -1 none."""
    part = np.full(len(examined.view), -1, np.int8)
    if examined.splits is not None:
        for index, rows in enumerate((examined.splits.train, examined.splits.valid, examined.splits.test)):
            part[rows] = index
    return part


def first(rows: np.ndarray) -> tuple[int, ...]:
    """The first rows, as a finding names them."""
    return tuple(int(row) for row in np.sort(rows)[:SHOWN])


def cells_of(examined: Examined, column: str, rows: np.ndarray) -> list[Cell]:
    """Cells of some rows; those of many rows are better asked for in batches."""
    return list(examined.view.cells(column, rows))


def once(examined: Examined, name: str, column: str, rows: np.ndarray, make: Callable[[], Made]) -> Made:
    """What one check made of the rows of a column, for the next one that needs the same."""
    key = ("audit", name, examined.view.identity, column, digest(rows))
    return examined.view.store.once(key, make, lambda made: made.nbytes)


def numbers(cells: Sequence[Cell]) -> np.ndarray | None:
    """[R] float64, NaN where there is none; None where this is no column of numbers. Beyond 1e100 all are alike, because the
    checks square them.
    """
    values = np.fromiter(map(as_number, cells), np.float64, len(cells)).clip(-1e100, 1e100)
    found = int(np.isfinite(values).sum())
    if found == 0 or (found < len(cells) and found < MOSTLY * sum(not is_empty(cell) for cell in cells)):
        return None
    return values


def moments(cells: Sequence[Cell]) -> np.ndarray | None:
    """[R] float64 in days, NaN where there is none; None where this is no column of ISO dates."""
    filled = [cell for cell in cells if not is_empty(cell)]
    probe = filled[:: max(1, len(filled) // 50)]
    if sum(_days(cell) is not None for cell in probe) < MOSTLY * max(len(probe), 1):
        return None
    return np.array([np.nan if (found := _days(cell)) is None else found for cell in cells], np.float64)


def _days(cell: Cell) -> float | None:
    if isinstance(cell, str):
        if not re.match(r"\d{4}-\d\d", cell.strip()):
            return None
        try:
            cell = datetime.fromisoformat(cell.strip())
        except ValueError:
            return None
    if isinstance(cell, datetime):
        return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp() / 86_400
    return float(cell.toordinal()) if isinstance(cell, date) else None


def marks(cells: Sequence[Cell]) -> np.ndarray:
    """[R] int64: equal for cells that are written alike, 0 for empty ones."""
    return np.fromiter(map(_mark, cells), np.int64, len(cells))


def _mark(cell: Cell) -> int:
    if isinstance(cell, str):
        return hash(cell.strip()) if cell and not cell.isspace() else 0
    return 0 if is_empty(cell) else hash(cell if isinstance(cell, bytes) else repr(cell))  # hash(-1) is hash(-2)


def codes(cells: Sequence[Cell]) -> np.ndarray:
    """[R] int64 from 0: which of the different cells; the empty ones are one of them."""
    return np.unique(marks(cells), return_inverse=True)[1]


@dataclass(frozen=True, eq=False)
class Words:
    """The words of some cells, one after the other: those of cell i are `flat[starts[i]:starts[i + 1]]`."""

    flat: np.ndarray  # uint32
    starts: np.ndarray  # int64

    @property
    def nbytes(self) -> int:
        return self.flat.nbytes + self.starts.nbytes

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.starts)

    def of(self, places: np.ndarray) -> Words:
        """The words of some of the cells, in that order."""
        counts = self.counts[places]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return Words(self.flat[np.arange(starts[-1]) + np.repeat(self.starts[places] - starts[:-1], counts)], starts)

    @property
    def owner(self) -> np.ndarray:
        """For each word, the cell that it stands in."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)


class _Numbered(dict[str, int]):
    def __missing__(self, word: str) -> int:
        number = self[word] = zlib.crc32(word.encode("utf-8", "replace"))
        return number


def words(examined: Examined, column: str, rows: np.ndarray) -> Words:
    """The words of a column's cells in lower case, without punctuation."""
    every = np.arange(len(examined.view))
    if len(every) <= 2 * ROWS:  # several checks ask, each for rows of its own
        return once(examined, "words", column, every, lambda: _words(cells_of(examined, column, every))).of(rows)
    return once(examined, "words", column, rows, lambda: _words(cells_of(examined, column, rows)))


def _words(cells: Sequence[Cell]) -> Words:
    numbered = _Numbered()
    flat: list[int] = []
    starts = [0]
    for cell in cells:
        if isinstance(cell, str):
            flat.extend(map(numbered.__getitem__, _WORD.findall(cell[:10_000].lower())))
        starts.append(len(flat))
    return Words(np.array(flat, np.uint32), np.array(starts, np.int64))


def setting(key: str, value: Any) -> str:
    """KEY=VALUE as `--set` takes it."""
    written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**31, sort_keys=False)
    return f"{key}={written.strip().removesuffix('...').strip()}"


def accepting(recipe: Recipe, kind: str, column: str | None = None) -> str:
    """The setting that accepts a finding, beside those that are accepted already."""
    return setting("audit.accept", [*recipe.audit.accept, kind if column is None else f"{kind}:{column}"])


def excluding(recipe: Recipe, kind: str, seen: Seen) -> str:
    """The setting that takes a column away from the model; where the recipe names it as an input, from that input."""
    named = recipe.inputs.get(seen.input.name)
    if named is None or seen.column not in named.columns:
        return setting("exclude", [*recipe.exclude, seen.column])
    others = [column for column in named.columns if column != seen.column]
    if others and re.fullmatch(r"[^.=\s]+", seen.input.name):
        return setting(f"inputs.{seen.input.name}.columns", others)
    return accepting(recipe, kind, seen.column)


def of_column(examined: Examined, kind: str, seen: Seen, rows: np.ndarray, found: str) -> Finding:
    """A finding about a column, which is settled by taking the column away from the model."""
    return Finding(kind, (seen.column,), len(rows), first(rows), found, excluding(examined.recipe, kind, seen))
