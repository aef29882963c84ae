"""Columns that give the target away: copies of it, the same thing under other names, and what alone predicts it.

A column that the model receives is called a leak where it alone predicts the target almost perfectly, on rows that did
not teach it: for classes at most 0.5% of the rows wrong, and at most a twentieth of what always saying the commonest
class gets wrong, on 200 rows at least; for numbers at most 0.5% of the variance left. What is known before the target
is seldom so right. Whether a rule that holds so well is a leak or knowledge no program can tell, so the sentence says what
to ask. Of labels, where a row may have several, only copies are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from consilience.data.table import is_empty
from consilience.evidence.audit import quick, telling
from consilience.evidence.audit.alone import FEWEST, RARE, Known, correlation, crossed, error, known, ranks
from consilience.evidence.audit.finding import Check, Examined, Finding
from consilience.evidence.audit.quick import Seen
from consilience.tasks.base import as_number, is_nested, label_key
from consilience.types import Cell

KINDS: Mapping[str, str] = {
    "target-copy": "a column whose cells equal those of the target",
    "target-recoding": "a column that is the target under other names, or a rising or falling function of it",
    "target-leak": "a column that alone predicts the target almost without error",
    "telling-names": "names of files or folders that hold the class (the model reads the contents, not the names)",
    "telling-gaps": "a column whose empty cells tell the target",
    "rows-sorted-by-target": "the number of a row tells its target, because the table is sorted by it",
}

ALIKE = 0.99999
"""The correlation with the target of a column that is a linear function of it, or of their ranks for any rising function."""


def columns(examined: Examined) -> Iterator[Finding]:
    """Of every column that the model receives, the first thing by which it gives the target away."""
    about = known(examined)
    if about is None:
        return
    seen = quick.inputs(examined)
    for item in seen:
        cells = quick.cells_of(examined, item.column, about.rows)
        filled = np.array([not is_empty(cell) for cell in cells])
        found = None if item.media else _copy(about, cells, filled, item, examined)
        if found is None and about.classes >= 0:
            found = None if item.media else _recoding(about, cells, filled, item, examined)
            found = found or telling.gaps(about, cells, item, len(seen), examined)
            found = found or (
                telling.names(about, cells, item, examined) if item.media else _leak(about, cells, filled, item, examined)
            )
        if found is not None:
            yield found


def _copy(about: Known, cells: list[Cell], filled: np.ndarray, item: Seen, examined: Examined) -> Finding | None:
    if filled.sum() < FEWEST or filled.mean() < 0.2:
        return None
    few = np.flatnonzero(filled)[:FEWEST]
    if _equal(about, [cells[place] for place in few], [about.cells[place] for place in few]).mean() < 0.5:  # as most columns
        return None
    equal = _equal(about, cells, about.cells)
    right = float(equal[filled].mean())
    if right < 1 - about.limit:
        return None
    text = (
        f"{right:.1%} of the {filled.sum()} filled cells of {item.column!r} equal the target "
        f"{examined.view.schema.target!r}: it is a copy"
    )
    return quick.of_column(examined, "target-copy", item, about.rows[equal & filled], text)


def _equal(about: Known, cells: list[Cell], target: list[Cell]) -> np.ndarray:
    if about.classes == 0:
        return np.isclose(_numbers(cells), _numbers(target), rtol=1e-9, atol=0.0)
    return np.array([_key(cell) == _key(other) for cell, other in zip(cells, target, strict=True)])


def _key(cell: Cell) -> str:
    return repr(cell) if is_nested(cell) else label_key(cell)


def _numbers(cells: list[Cell]) -> np.ndarray:
    return np.fromiter(map(as_number, cells), np.float64, len(cells))


def _recoding(about: Known, cells: list[Cell], filled: np.ndarray, item: Seen, examined: Examined) -> Finding | None:
    if filled.sum() < FEWEST or filled.mean() < 0.2:
        return None
    target = f"the target {examined.view.schema.target!r}"
    if about.classes:
        code = quick.codes(cells)[filled]
        classes = about.target[filled]
        table = crossed(code, classes, about.classes)
        table = table[table.sum(1) > 0]
        if len(table) != len(np.unique(classes)) or len(table) < 2 or len(set(table.argmax(1).tolist())) != len(table):
            return None
        right = table.max(1).sum() / table.sum()
        rare = np.sort(table.max(1))[-2]
        if right < 1 - about.limit or rare < min(RARE, len(classes) / (2 * len(table))):
            return None
        text = (
            f"{item.column!r} has as many different values as {target} has classes, and in {right:.1%} of "
            f"{len(classes)} rows each stands for one class: it is the target under other names"
        )
    else:
        found = quick.numbers(cells)
        if found is None:
            return None
        filled = np.isfinite(found)
        values, wanted = found[filled], about.target[filled]
        if len(values) < FEWEST or len(np.unique(wanted)) < FEWEST or len(np.unique(values)) < FEWEST:
            return None
        line, rank = correlation(values, wanted), correlation(ranks(values), ranks(wanted))
        if abs(line) < ALIKE and abs(rank) < ALIKE:
            return None
        how = "a linear" if abs(line) >= ALIKE else "a rising" if rank > 0 else "a falling"
        text = f"{item.column!r} is {how} function of {target} in the {len(values)} rows that have it"
    return quick.of_column(examined, "target-recoding", item, about.rows[filled], text)


def _leak(about: Known, cells: list[Cell], filled: np.ndarray, item: Seen, examined: Examined) -> Finding | None:
    if not filled.any() or not (about := about.of(filled)).asked:
        return None
    wrong = error(about, [cell for cell, there in zip(cells, filled.tolist(), strict=True) if there], item, examined)
    if wrong > about.limit:
        return None
    what = f"all but {wrong:.2%} of {len(about.rows)} rows right" if about.classes else f"all but {wrong:.2%} of its variance"
    text = (
        f"{item.column!r} alone predicts the target {examined.view.schema.target!r} almost without error ({what}, on rows "
        "that did not teach it); if it is known only after the target is, exclude it"
    )
    return quick.of_column(examined, "target-leak", item, about.rows, text)


CHECKS: tuple[Check, ...] = (columns, telling.order)
