"""What tells the target without being a value: names of files, empty cells, the order of the rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from consilience.data.table import is_empty
from consilience.evidence.audit import quick
from consilience.evidence.audit.alone import ENOUGH, RARE, Known, by_value, correlation, crossed, known, ranks
from consilience.evidence.audit.finding import Examined, Finding
from consilience.evidence.audit.quick import Seen
from consilience.tasks.base import label_key
from consilience.types import Cell

TELLING = 0.05
"""The share of the target's entropy, or of its variance, that empty cells must explain to be worth a word."""
CHANCE = 1e-6
"""A relation must be less likely than this by chance, over all columns."""


def names(about: Known, cells: list[Cell], item: Seen, examined: Examined) -> Finding | None:
    """A folder, or a piece of the file's name, that says the class."""
    named = np.array([isinstance(cell, str) and not is_empty(cell) for cell in cells])
    if not named.any() or not (about := about.of(named)).asked:
        return None
    cells = [cell for cell, name in zip(cells, named.tolist(), strict=True) if name]
    split = [_pieces(cell) for cell in cells]
    places = {place for pieces in split[:50] for place in pieces}
    for place in sorted(places):
        code = quick.codes([pieces.get(place) for pieces in split])
        if code.max() >= len(cells) // 2 or code.max() == 0:
            continue
        wrong = by_value(about, code)
        if wrong <= about.limit:
            text = (
                f"the {place[0]} of the files in {item.column!r} tell the target (all but {wrong:.2%} of {len(cells)} rows, "
                f"as in {cells[0]!r}); the model does not see names, but files of one class that come from one source may give "
                "it away by more than their names"
            )
            setting = quick.accepting(examined.recipe, "telling-names", item.column)
            return Finding("telling-names", (item.column,), len(cells), quick.first(about.rows), text, setting)
    return None


def _pieces(cell: str) -> dict[tuple[str, int], str]:
    """Folders from the file upwards, and pieces of the file's name, by their place."""
    path = PurePath(cell.strip())
    folders = {("folders", index): name for index, name in enumerate(reversed(path.parts[:-1]))}
    pieces = re.findall(r"[^\W\d_]+|\d+", path.name)
    return {**folders, **{("names", index): piece for index, piece in enumerate(pieces[:8])}}


def gaps(about: Known, cells: list[Cell], item: Seen, tried: int, examined: Examined) -> Finding | None:
    """Do empty cells go with the target, surely and strongly?"""
    values = None if item.media else quick.numbers(cells)
    gap = ~np.isfinite(values) if values is not None else np.array([is_empty(cell) for cell in cells])
    count = int(gap.sum())
    if min(count, len(gap) - count) < RARE:
        return None
    if about.classes:
        share, chance, told = _by_class(about, gap)
    else:
        share = correlation(gap.astype(np.float64), about.target) ** 2
        chance = _tail(share**0.5, len(gap))
        means = [about.target[side].mean() for side in (gap, ~gap)]
        told = f"the target is {abs(means[0] - means[1]):.2g} deviations {'higher' if means[0] > means[1] else 'lower'} there"
    if share < TELLING or chance * tried > CHANCE:
        return None
    text = (
        f"{item.column!r} is empty in {count} of {len(gap)} rows, and {told}; if the cell is filled only once the target "
        "is known, exclude it"
    )
    return quick.of_column(examined, "telling-gaps", item, about.rows[gap], text)


def _by_class(about: Known, gap: np.ndarray) -> tuple[float, float, str]:
    """The share of the target's entropy that a gap explains, how likely that is by chance, and a class that it speaks for."""
    from scipy.special import chdtrc

    table = crossed(gap.astype(np.int64), about.target, about.classes, 2)
    there = np.flatnonzero(table.sum(0))
    table = table[:, there]
    joint, rows, classes = table / table.sum(), table.sum(1) / table.sum(), table.sum(0) / table.sum()
    told = float(np.sum(joint * np.log(np.maximum(joint, 1e-300) / np.outer(rows, classes))))
    chance = float(chdtrc(max(len(there) - 1, 1), 2 * table.sum() * told))  # the G-test
    share = table / table.sum(1, keepdims=True)
    most = int((share[1] - share[0]).argmax())
    label = label_key(about.cells[int(np.flatnonzero(about.target == there[most])[0])])
    words = f"{share[1, most]:.0%} of those are {label!r}, against {share[0, most]:.0%} of the others"
    return told / max(float(-(classes * np.log(classes)).sum()), 1e-300), chance, words


def _tail(correlation: float, count: int) -> float:
    """How likely a correlation is by chance."""
    from scipy.special import erfc

    return float(erfc(abs(np.arctanh(min(correlation, 0.999999))) * np.sqrt(max(count - 3, 1) / 2)))


def order(examined: Examined) -> Iterator[Finding]:
    """Is the table sorted by the target? What is cut off it by row number then lacks classes."""
    about = known(examined)
    if about is None or about.classes < 0 or len(about.rows) < ENOUGH:
        return
    if about.classes:
        changes = int((np.diff(about.target) != 0).sum())
        share = np.bincount(about.target) / len(about.target)
        there = int((share > 0).sum())
        if changes > 2 * (there - 1) or len(about.target) * (1 - np.square(share).sum()) < 10 * changes:
            return
        found = f"the rows are sorted by the target: it changes {changes} times in {len(about.target)} rows"
    else:
        rank = correlation(np.arange(len(about.target), dtype=np.float64), ranks(about.target))
        if abs(rank) < 0.99:
            return
        found = f"the rows are sorted by the target: its rank goes with the number of the row (correlation {rank:.3f})"
    text = f"{found}; a part that is cut off by row number, or a column that counts rows, gives it away"
    setting = quick.accepting(examined.recipe, "rows-sorted-by-target")
    yield Finding("rows-sorted-by-target", (), len(about.rows), quick.first(about.rows), text, setting)
