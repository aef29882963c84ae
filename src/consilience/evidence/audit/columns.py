"""Columns against each other, and rows as a whole: columns that repeat one another, names that are easily confused, rows
that repeat the names of the columns, rows of which nothing can be used.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where pyright cannot see them.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consilience.data.schema import modality_of
from consilience.evidence.audit.cells import Content, checked, look
from consilience.evidence.audit.files import READ
from consilience.evidence.audit.finding import SHOWN, Check, Examined, Finding
from consilience.evidence.audit.quick import ROWS, accepting
from consilience.evidence.inspection_ranges import even
from consilience.tasks.base import label_key
from consilience.types import Cell, ColumnRole

KINDS: Mapping[str, str] = {
    "duplicate-columns": "two columns whose cells are equal in every row",
    "alike-names": "columns whose names differ only in case, blanks or underscores",
    "header-rows": "rows that hold the names of the columns, as files joined end to end have them",
    "rows-without-input": "rows in which nothing that the model receives can be read",
}

_PROBED = 1000  # rows in which columns are compared before they are compared in all


def duplicate_columns(examined: Examined) -> Iterable[Finding]:
    """Columns equal in some rows are compared in all that are looked at. Columns of one value are all alike, and said so."""
    rows = even(len(examined.view), _PROBED)
    alike: dict[tuple[str, ...], list[ColumnRole]] = {}
    for note in checked(examined):
        if note.role != "target":  # a copy of the target is a leak
            probe = tuple(_key(cell) for cell in examined.view.cells(note.column, rows))
            if len(set(probe)) > 1:
                alike.setdefault(probe, []).append(note)
    for notes in alike.values():
        kept: list[Content] = []
        for content in _contents(examined, notes):
            first = next((other for other in kept if _equal(other, content)), None)
            if first is None:
                kept.append(content)
                continue
            columns = (first.name, content.name)
            found = f"{content.name!r} equals {first.name!r} in all {content.of}"
            yield Finding("duplicate-columns", columns, len(content.rows), (), found, content.left_out("duplicate-columns"))


def _contents(examined: Examined, notes: Iterable[ColumnRole]) -> Iterator[Content]:
    found = list(notes)
    if len(found) > 1:
        yield from (content for note in found if (content := look(examined, note)) is not None)


def _equal(one: Content, two: Content) -> bool:
    if not np.array_equal(one.rows, two.rows) or len(one.cells) != len(two.cells) or not np.array_equal(one.code, two.code):
        return False
    return all(_key(a) == _key(b) for a, b in zip(one.cells, two.cells, strict=True))


def _key(cell: Cell) -> str:
    return "" if cell is None else label_key(cell)


def alike_names(examined: Examined) -> Iterable[Finding]:
    """One of them is mostly a slip, and its cells belong into the other."""
    names: dict[str, list[str]] = {}
    for note in checked(examined):
        plain = re.sub(r"[\s_]+", " ", unicodedata.normalize("NFKC", note.column)).strip().casefold()
        names.setdefault(plain, []).append(note.column)
    for columns in names.values():
        if len(columns) > 1:
            shown = ", ".join(map(repr, columns))
            found = f"the names of {len(columns)} columns differ only in case, blanks or underscores: {shown}"
            settled = accepting(examined.recipe, "alike-names", columns[0])
            yield Finding("alike-names", tuple(columns), 0, (), found, settled)


def header_rows(examined: Examined) -> Iterable[Finding]:
    """Rows in which most columns hold their own name; two at least, because a word may be a name and a cell."""
    table = examined.view.table.data
    hits, texts = np.zeros(len(examined.view), np.int32), 0
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts += 1
            hits += pc.fill_null(pc.equal(column, name), False).to_numpy()
    rows = np.flatnonzero(hits > max(1, texts / 2))
    if len(rows):
        found = f"{len(rows)} rows hold the names of the columns instead of values"
        settled = accepting(examined.recipe, "header-rows")
        yield Finding("header-rows", (), len(rows), tuple(rows[:SHOWN].tolist()), found, settled)


def rows_without_input(examined: Examined) -> Iterable[Finding]:
    """The quickly read inputs first; the next is asked only for the rows in which the others found nothing."""
    view = examined.view
    looked = rows = even(len(view), ROWS)
    inputs = sorted(view.schema.inputs, key=lambda item: (modality_of(item).media, len(item.columns)))
    for item in inputs:
        if modality_of(item).media and len(rows) > READ:
            return  # then nothing can be said of most rows without reading all their files
        rows = rows[~view.present(rows, [item.name])[item.name]] if len(rows) else rows
    if len(rows):
        found = f"in {len(rows)} of {len(looked)} rows no input can be read: the answer to them is the same whatever they are"
        settled = accepting(examined.recipe, "rows-without-input")
        yield Finding("rows-without-input", (), len(rows), tuple(rows[:SHOWN].tolist()), found, settled)


CHECKS: tuple[Check, ...] = (duplicate_columns, alike_names, header_rows, rows_without_input)
