"""Splits: which rows train, which choose, which are opened once. Grouped, stratified, by time, by column or in folds.

Stratified parts are drawn by systematic sampling: rows sorted by class, in random order within, every 1/share-th one
taken. Each class then has its share to within one row, however few rows it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from consilience.errors import Problem, fail, raise_all
from consilience.recipe import Split
from consilience.types import Cell

Part = Literal["train", "valid", "test"]

SPELLINGS: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "tr", "learn", "fit"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development", "eval"), "valid"),
    **dict.fromkeys(("test", "testing", "te", "holdout", "held-out", "heldout"), "test"),
}


@dataclass(frozen=True, eq=False)
class Splits:
    """Row numbers of each part, in the order of the table. `notes` say how they came about."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Facts:
    """What splitting may look at, one entry a row: the labelled rows, and the columns that bear on it."""

    labelled: np.ndarray  # [R] bool
    strata: np.ndarray | None  # [R] int, or None
    group: Sequence[Cell] | None = None
    time: Sequence[Cell] | None = None
    column: Sequence[Cell] | None = None
    held_out: int = 0  # the last so many rows came from a separate test table


def part_of(cell: Cell) -> Part | None:
    """What a cell of a split column says."""
    return SPELLINGS.get(str(cell).strip().lower())


def split(facts: Facts, recipe: Split, rng: np.random.Generator) -> Splits:
    """Rows -> train, valid and test. Raises ConsilienceError where a part would be empty or a group stand on both sides."""
    rows = np.flatnonzero(facts.labelled)
    notes = []
    if len(rows) < len(facts.labelled):
        count = len(facts.labelled) - len(rows)
        if recipe.unlabelled == "error":
            raise fail(
                f"{count} of {len(facts.labelled)} rows have an empty target",
                "a target in every row",
                "fill them, or leave these rows out of training and scoring with --set split.unlabelled=exclude",
            )
        notes.append(f"{count} rows without a target are in no part")
    first_test = len(facts.labelled) - facts.held_out
    given, rows = rows[rows >= first_test], rows[rows < first_test]
    method = _method(facts, recipe)
    if method == "column":
        train, valid, test, spelled = _by_column(facts, rows)
        notes.append(spelled)
    else:
        train, valid, test = rows, None, given if facts.held_out else None
    if facts.held_out:
        notes.append(f"the separate table's {len(given)} rows are the test part")
        test = given if test is None or not len(test) else np.concatenate([test, given])
    if test is None:
        train, test = _take(facts, recipe, train, recipe.test, method, rng, folds=True)
        notes.append(_say(method, recipe, "test"))
    if valid is None or not len(valid):
        share = min(0.5, recipe.valid * len(rows) / max(len(train), 1))
        train, valid = _take(facts, recipe, train, share, method, rng, folds=False)
        notes.append(_say(method, recipe, "valid"))
    splits = Splits(np.sort(train), np.sort(valid), np.sort(test), tuple(dict.fromkeys(notes)))
    _check(facts, splits)
    return splits


def kfold(
    rows: np.ndarray, k: int, strata: np.ndarray | None, group: Sequence[Cell] | None, rng: np.random.Generator
) -> np.ndarray:
    """The fold 0..k-1 of each of `rows`, [len(rows)] int. Groups stay whole; classes are spread evenly.

    `strata` and `group` are indexed by row number of the table.
    """
    unit, first = _units(rows, group)
    labels = strata[rows[first]] if strata is not None else np.zeros(len(first), dtype=np.int64)
    if len(first) < k:
        raise fail(
            f"{len(first)} {'groups' if group is not None else 'rows'} cannot be cut into {k} folds",
            "no fewer",
            "use fewer folds",
        )
    size = np.bincount(unit)
    order = np.lexsort((rng.permutation(len(first)), -size if group is not None else np.zeros(len(first)), labels))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % k
    return fold[unit]


def _method(facts: Facts, recipe: Split) -> str:
    if recipe.method != "auto":
        needed = {"column": facts.column, "grouped": facts.group, "time": facts.time}
        if recipe.method in needed and needed[recipe.method] is None:
            key = {"column": "split.column", "grouped": "split.group", "time": "split.time"}[recipe.method]
            raise fail(f"split.method is {recipe.method}, but {key} is not set", "the column to split by", f"set {key}")
        if recipe.method == "stratified" and facts.strata is None:
            raise fail("split.method is stratified, but the target has no classes", "random, grouped or time", "choose another")
        return recipe.method
    if facts.column is not None and recipe.folds is None:
        return "column"
    if facts.time is not None:
        return "time"
    if facts.group is not None:
        return "grouped"
    return "stratified" if facts.strata is not None else "random"


def _by_column(facts: Facts, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    cells = facts.column
    assert cells is not None
    parts = [part_of(cells[row]) for row in rows]
    wrong = sorted({repr(cells[row]) for row, part in zip(rows, parts, strict=True) if part is None})
    if wrong:
        raise fail(
            f"{sum(part is None for part in parts)} cells of the split column name no part: {', '.join(wrong[:10])}",
            "train, valid or test (or a usual spelling of them)",
            "mend the column, or leave --split away",
        )
    found = {part: rows[[item == part for item in parts]] for part in ("train", "valid", "test")}
    spelled = sorted({str(cells[row]) for row in rows} - {"train", "valid", "test"})
    note = "parts as the split column says" + (f" (read {', '.join(spelled)} as usual)" if spelled else "")
    # A column without test rows means: no test. A column without valid rows means: take them from train.
    return found["train"], found["valid"], found["test"], note


def _take(
    facts: Facts, recipe: Split, rows: np.ndarray, share: float, method: str, rng: np.random.Generator, *, folds: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, the rows taken) of `rows`."""
    if share == 0 and not (folds and recipe.folds):
        return rows, rows[:0]
    if method == "time":
        assert facts.time is not None
        moments = _moments([facts.time[row] for row in rows])
        cut = np.quantile(moments, 1 - share, method="lower") if not (folds and recipe.folds) else None
        if cut is None:
            order = np.argsort(np.argsort(moments, kind="stable"), kind="stable")
            taken = (order * (recipe.folds or 1) // len(rows)) == recipe.fold
        else:
            taken = moments > cut
        return rows[~taken], rows[taken]
    group = facts.group
    strata = facts.strata if method != "random" else None
    if folds and recipe.folds:
        if recipe.fold >= recipe.folds:
            raise fail(f"split.fold is {recipe.fold}", f"a fold below split.folds = {recipe.folds}", "count from 0")
        taken = kfold(rows, recipe.folds, strata, group, rng) == recipe.fold
        return rows[~taken], rows[taken]
    unit, first = _units(rows, group)
    labels = strata[rows[first]] if strata is not None else np.zeros(len(first), dtype=np.int64)
    order = np.lexsort((rng.permutation(len(first)), labels))
    size = np.bincount(unit)[order]
    reached = (np.cumsum(size) + rng.random() * size.mean()) * share
    chosen = np.floor(reached) > np.floor(reached - size * share)
    if group is not None:  # a large group may pass several marks at once, so groups are taken until the share is reached
        shuffled = rng.permutation(len(first))
        size = np.bincount(unit)[shuffled]
        order, chosen = shuffled, np.cumsum(size) - size / 2 <= share * len(rows)
    taken = np.isin(unit, order[chosen])
    return rows[~taken], rows[taken]


def _units(rows: np.ndarray, group: Sequence[Cell] | None) -> tuple[np.ndarray, np.ndarray]:
    """(unit of each row, position in `rows` of the first row of each unit); a unit is a group, or a row."""
    if group is None:
        return np.arange(len(rows)), np.arange(len(rows))
    names = [f"\0row {row}" if group[row] is None else str(group[row]) for row in rows]  # an empty group is a group of one
    _, first, unit = np.unique(names, return_index=True, return_inverse=True)
    return unit, first


def _moments(cells: Sequence[Any]) -> np.ndarray:
    try:
        return np.array([float(cell) for cell in cells])
    except (TypeError, ValueError):
        pass
    try:
        return np.array(cells, dtype="datetime64[us]").astype(np.int64)
    except (TypeError, ValueError):
        raise fail(
            "the time column holds cells that are neither numbers nor ISO dates, for instance " + repr(cells[0]),
            "numbers, or dates such as 2024-05-01T12:30:00",
            "mend the column, or choose another",
        ) from None


def _say(method: str, recipe: Split, part: str) -> str:
    how = {
        "time": "the latest rows",
        "grouped": f"whole groups of {recipe.group}, at random",
        "stratified": "at random within each class",
        "random": "at random",
        "column": "at random from the train rows, as the split column has none",
    }[method]
    if part == "test" and recipe.folds:
        return f"test: fold {recipe.fold} of {recipe.folds}, {how}"
    return f"{part}: {how}"


def _check(facts: Facts, splits: Splits) -> None:
    problems = [
        Problem(f"the {name} part has no rows", "at least one", "change the split keys, or bring more rows")
        for name, part in (("train", splits.train), ("valid", splits.valid))
        if not len(part)
    ]
    if facts.group is not None:
        sides = [
            {str(facts.group[row]) for row in part if facts.group[row] is not None}
            for part in (splits.train, splits.valid, splits.test)
        ]
        for (one, left), (two, right) in (
            (("train", sides[0]), ("valid", sides[1])),
            (("train", sides[0]), ("test", sides[2])),
            (("valid", sides[1]), ("test", sides[2])),
        ):
            both = sorted(left & right)
            if both:
                problems.append(
                    Problem(
                        f"{len(both)} groups stand both in {one} and in {two}: {', '.join(both[:5])}",
                        "every group on one side",
                        "leave the group column away, or split by it instead of by the column given",
                    )
                )
    raise_all(problems)
