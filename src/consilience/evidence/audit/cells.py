"""What stands in a column, as far as it is looked at: the different cells, and which rows hold which.

Checks work on different cells, because a column of a million rows mostly has few. At most `ROWS` rows are looked at, fewer
where cells are long; drawn evenly over the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from consilience.data.schema import modality, modality_of
from consilience.data.table import is_empty
from consilience.evidence.audit.finding import SHOWN, Examined, Finding
from consilience.evidence.audit.forms import form_of, number_of
from consilience.evidence.audit.quick import ROWS, Seen, accepting, excluding, setting
from consilience.evidence.inspection_ranges import even, shown
from consilience.types import Cell, ColumnRole, Input, Role

BYTES = 10_000_000
"""About as much of a column is looked at; but `LEAST` rows in any case."""

LEAST = 10_000

NOTHING = frozenset({"na", "n/a", "nan", "null", "none", "-", "?"})
"""Words that say, in lower case, that there is nothing; of no use for free text, where they may be an answer."""


@dataclass(frozen=True, eq=False)
class Content:
    """One column.

    item    the input that it belongs to, if it is one
    kind    what a modality that groups columns takes it for: "number", "category", "date"
    rows    [L] the rows looked at
    cells   the different cells in which something stands
    code    [L] which of them stands in the row; -1: nothing
    count   [len(cells)] in how many rows each stands
    """

    examined: Examined
    name: str
    role: Role
    item: Input | None
    kind: str
    rows: np.ndarray
    cells: list[Cell]
    code: np.ndarray
    count: np.ndarray

    @property
    def unused(self) -> bool:
        """Left out by the schema, not by the recipe."""
        return self.role == "excluded"

    @property
    def free(self) -> bool:
        """Free text: an input of its own that is read as it stands in the table."""
        return self.item is not None and not modality(self.item.modality).grouped

    @property
    def quantity(self) -> bool:
        """Read as a number."""
        task = self.examined.task
        return self.kind == "number" or (self.role == "target" and task is not None and task.link == "identity")

    @property
    def named(self) -> bool:
        """Read as names, of categories, classes or groups."""
        return self.kind == "category" or self.role == "group" or (self.role == "target" and not self.quantity)

    @property
    def filled(self) -> int:
        """Rows looked at in which something stands."""
        return int(self.count.sum())

    @property
    def of(self) -> str:
        """How many rows a finding speaks of."""
        total = len(self.examined.view)
        return f"{len(self.rows)} rows" if len(self.rows) == total else f"{len(self.rows)} rows looked at, of {total},"

    @cached_property
    def numbers(self) -> np.ndarray:
        """[len(cells)] float64, infinite as they are written; NaN where a cell is no number."""
        return np.fromiter(map(number_of, self.cells), np.float64, len(self.cells))

    @cached_property
    def forms(self) -> list[str]:
        """How each cell is written."""
        return list(map(form_of, self.cells))

    def held(self, chosen: np.ndarray) -> np.ndarray:
        """Rows that hold one of the cells chosen, [len(cells)] bool."""
        return self.rows[(self.code >= 0) & np.append(chosen, False)[self.code]]

    def examples(self, chosen: np.ndarray, most: int = 3) -> str:
        """The most frequent of the cells chosen."""
        places = np.flatnonzero(chosen)
        places = places[np.argsort(-self.count[places], kind="stable")][:most]
        return ", ".join(repr(shown(self.cells[place])) for place in places)

    def finding(self, kind: str, chosen: np.ndarray, found: str, settled: str = "") -> Finding:
        """A finding about the rows that hold the cells chosen; settled by leaving out a column of no use, or by accepting."""
        return self.about(kind, self.held(chosen), found, settled)

    def about(self, kind: str, rows: np.ndarray, found: str, settled: str = "") -> Finding:
        """A finding about rows."""
        rows_shown = tuple(np.sort(rows)[:SHOWN].tolist())
        return Finding(kind, (self.name,), len(rows), rows_shown, f"{self.name!r}: {found}", settled or self.settled(kind))

    def settled(self, kind: str) -> str:
        """The setting that settles a finding for which the recipe has no key of its own."""
        return self.left_out(kind) if self.unused else accepting(self.examined.recipe, kind, self.name)

    def left_out(self, kind: str) -> str:
        """The setting that takes the column away from the model."""
        recipe = self.examined.recipe
        if self.item is None:
            return setting("exclude", [*recipe.exclude, self.name])
        return excluding(recipe, kind, Seen(self.name, self.item, modality_of(self.item).media))


def checked(examined: Examined) -> list[ColumnRole]:
    """Every column that the recipe does not exclude."""
    return [note for note in examined.view.schema.columns if note.column not in examined.recipe.exclude]


def look(examined: Examined, note: ColumnRole) -> Content | None:
    """The content of a column; None where its cells are lists or bytes, which are for their modality to read."""
    view = examined.view
    column = view.table.data.column(note.column)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return None
    item = next((item for item in view.schema.inputs if note.column in item.columns), None)
    kind = item.kinds[item.columns.index(note.column)] if item is not None and item.kinds else ""
    rows = even(len(view), min(ROWS, max(LEAST, BYTES * len(view) // max(column.nbytes, 1))))
    cells, code = _encoded(column if len(rows) == len(view) else _taken(column, rows))
    words = note.role != "target" and (item is None or modality(item.modality).grouped)
    empty = np.fromiter((_nothing(cell, words) for cell in cells), bool, len(cells))
    place = np.append(np.where(empty, -1, np.cumsum(~empty) - 1), -1)
    cells, code = [cell for cell, gone in zip(cells, empty.tolist(), strict=True) if not gone], place[code]
    return Content(
        examined=examined,
        name=note.column,
        role=note.role,
        item=item,
        kind=kind,
        rows=rows,
        cells=cells,
        code=code,
        count=np.bincount(code[code >= 0], minlength=len(cells)),
    )


def _taken(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """The rows, which ascend, chunk by chunk: Arrow's own way puts the whole column together first."""
    starts = np.cumsum([0, *map(len, column.chunks)])
    cuts = np.searchsorted(rows, starts)
    taken = [
        chunk.take(pa.array(rows[first:last] - start))
        for chunk, start, first, last in zip(column.chunks, starts[:-1], cuts[:-1], cuts[1:], strict=True)
    ]
    return pa.chunked_array(taken, column.type)


def _encoded(column: pa.ChunkedArray) -> tuple[list[Cell], np.ndarray]:
    """The different cells, and the number of each row's; -1 where there is none."""
    if pa.types.is_null(column.type):
        return [], np.full(len(column), -1)
    chunks: Sequence[pa.DictionaryArray] = column.dictionary_encode().unify_dictionaries().chunks
    codes = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) for chunk in chunks]
    return chunks[0].dictionary.to_pylist() if chunks else [], np.concatenate([np.zeros(0, np.int64), *codes])


def _nothing(cell: Cell, words: bool) -> bool:
    return is_empty(cell) or (words and isinstance(cell, str) and len(cell) < 8 and cell.strip().lower() in NOTHING)
