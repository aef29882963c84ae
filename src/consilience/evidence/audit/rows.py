"""Rows that repeat each other.

In a table of a few coarse columns equal rows are nothing to report: only where there are more than `alike.by_chance`
says are they. Rows without any filled input are left to other checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from consilience.evidence.audit import near, quick, sides
from consilience.evidence.audit.alike import (
    RARE,
    beyond_chance,
    by_chance,
    column_marks,
    later,
    mixed,
    most_telling,
    pairs,
    row_marks,
    surprise,
)
from consilience.evidence.audit.finding import Check, Examined, Finding
from consilience.tasks.base import as_number

KINDS: Mapping[str, str] = {
    "duplicate-rows": "rows that equal an earlier row in every input and in the target",
    "contradictory-rows": "rows whose inputs are equal but whose targets differ",
    "duplicates-across-parts": "rows of valid or test whose inputs equal those of a row of another part",
    **near.KINDS,
    **sides.KINDS,
}

APART = 1.0
"""Equal inputs contradict each other where their numbers are so many deviations of the target apart: less may be noise."""


def repeats(examined: Examined) -> Iterator[Finding]:
    """Equal rows: duplicates, contradictions, and copies on both sides of a split."""
    marks = row_marks(examined)
    if not later(marks).any() or not _copied(examined, marks):
        return
    recipe, target = examined.recipe, _target(examined)
    rows = np.flatnonzero(later(marks + mixed(target, -2)))
    if len(rows):
        what = "every input" if examined.task is None else "every input and in the target"
        text = (
            f"{len(rows)} of {len(marks)} rows equal an earlier row in {what}: they count twice in training, and in "
            "every metric"
        )
        yield Finding("duplicate-rows", (), len(rows), quick.first(rows), text, quick.accepting(recipe, "duplicate-rows"))
    rows = _contradictory(examined, marks, target)
    if len(rows):
        text = (
            f"{len(rows)} rows share all their inputs with a row that has another target: one of each is wrong, or a column "
            "is missing that tells them apart"
        )
        setting = quick.accepting(recipe, "contradictory-rows")
        yield Finding("contradictory-rows", (), len(rows), quick.first(rows), text, setting)
    rows, where = across(examined, marks)
    if len(rows):
        text = (
            f"{len(rows)} rows have the same inputs as a row of another part ({where}): scores on them only show what was "
            "learned by heart"
        )
        setting = quick.accepting(recipe, "duplicates-across-parts")
        yield Finding("duplicates-across-parts", (), len(rows), quick.first(rows), text, setting)


def _copied(examined: Examined, marks: np.ndarray) -> bool:
    """Are more rows equal than coarse columns explain?"""
    seen = quick.inputs(examined)
    if len(seen) == 1:
        return bool(later(marks).mean() < 0.1)  # a single column: nothing tells what is usual but that few repeat
    some = quick.sampled(examined, np.flatnonzero(~later(marks)), quick.ROWS // 4)
    sampled = [column_marks(examined, item, some) for item in seen]
    copies = quick.sampled(examined, np.flatnonzero(later(marks)), quick.ROWS // 4)
    if (surprise([column_marks(examined, item, copies) for item in seen], sampled, len(marks)) >= RARE).all():
        return False
    rows = np.arange(len(marks))
    columns = [mixed(column_marks(examined, seen[index], rows), index) for index in most_telling(sampled)]
    return beyond_chance(pairs(marks), by_chance(marks, columns))


def _target(examined: Examined) -> np.ndarray:
    """[all rows] int64, the mark of each target; zeros where there is none."""
    target, rows = examined.view.schema.target, np.arange(len(examined.view))
    if examined.task is None or target is None:
        return np.zeros(len(rows), np.int64)
    batches = [rows[start : start + quick.BATCH] for start in range(0, len(rows), quick.BATCH)]
    return np.concatenate([quick.marks(quick.cells_of(examined, target, batch)) for batch in batches])


def _contradictory(examined: Examined, marks: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rows whose inputs are those of a row with another target."""
    name, known = examined.view.schema.target, np.flatnonzero(target)
    if examined.task is None or name is None:
        return known[:0]
    group = np.unique(marks[known], return_inverse=True)[1]
    repeated = np.bincount(group)[group] > 1
    known, group = known[repeated], group[repeated]
    if not len(known):
        return known
    if examined.task.link == "identity":
        values = np.fromiter(map(as_number, quick.cells_of(examined, name, known)), np.float64, len(known))
        some = quick.cells_of(examined, name, quick.sampled(examined, np.flatnonzero(target)))
        low, high = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
        np.minimum.at(low, group, values)
        np.maximum.at(high, group, values)
        apart = high - low > APART * np.nanstd(np.fromiter(map(as_number, some), np.float64, len(some)))
    else:
        different = np.unique(np.stack([group, target[known]]), axis=1)[0]
        apart = np.bincount(different, minlength=group.max() + 1) > 1
    return known[apart[group]]


def across(examined: Examined, marks: np.ndarray) -> tuple[np.ndarray, str]:
    """The rows of valid and test whose mark a row of an earlier part has, and how many each part has of them."""
    part = quick.parts(examined)
    rows = np.flatnonzero(part >= 0)
    group = np.unique(marks[rows], return_inverse=True)[1]
    least = np.full(group.max(initial=-1) + 1, 2, np.int8)
    np.minimum.at(least, group, part[rows])
    found = rows[part[rows] > least[group]]
    names = {1: "valid", 2: "test"}
    said = [f"{(part[found] == index).sum()} of {name}" for index, name in names.items() if (part[found] == index).any()]
    return found, ", ".join(said)


CHECKS: tuple[Check, ...] = (repeats, *near.CHECKS, *sides.CHECKS)
