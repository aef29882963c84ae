"""Splits: which rows train, which choose, which are opened once. Grouped, stratified, by time, by column or in folds.

Stratified parts are drawn by systematic sampling: rows sorted by class, in random order within, every 1/share-th one
taken. Each class then has its share to within one row, and keeps a row to train on however few it has.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Literal

import numpy as np

from consilience.data.table import Cells
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
    group: np.ndarray | None = None  # [R] int, one number a group; each row without one has a number of its own, below 0
    group_names: Cells | None = None  # what stands in the group column, for messages
    time: Cells | None = None
    column: Cells | None = None
    held_out: int = 0  # the last so many rows came from a separate test table


def part_of(cell: Cell) -> Part | None:
    """What a cell of a split column says."""
    return SPELLINGS.get(str(cell).strip().lower())


def split(facts: Facts, recipe: Split, rng: np.random.Generator) -> Splits:
    """Rows -> train, valid and test. Raises ConsilienceError where a part would be empty or a group stand on both sides."""
    rows, notes = _labelled(facts, recipe)
    method = _method(facts, recipe)
    if facts.column is not None and recipe.folds is not None:
        notes.append("the split column is not used, because split.folds is set")
    first_test = len(facts.labelled) - facts.held_out
    given, rows = rows[rows >= first_test], rows[rows < first_test]
    train, valid, test = rows, rows[:0], rows[:0]
    if method == "column":
        train, valid, test, spelled = _by_column(facts, rows)
        notes.append(spelled)
    elif not facts.held_out:
        taken, note = _test_part(facts, recipe, rows, method, rng)
        train, test = rows[~taken], rows[taken]
        notes.append(note)
    if facts.held_out:
        test = np.concatenate([test, given])
        notes.append(f"the separate table's {len(given)} rows are the test part")
    if not len(valid):
        taken, said = _valid_part(facts, recipe, rows, train, method, rng)
        train, valid = train[~taken], train[taken]
        notes += said
    splits = Splits(np.sort(train), np.sort(valid), np.sort(test), tuple(notes))
    _check(facts, splits)
    return splits


def kfold(
    rows: np.ndarray, k: int, strata: np.ndarray | None, group: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """The fold 0..k-1 of each of `rows`, [len(rows)] int. Groups stay whole; classes are spread evenly.

    `strata` and `group` are indexed by row number of the table. Raises ConsilienceError with fewer rows or groups than folds.
    """
    unit, first = _units(rows, group)
    labels = strata[rows[first]] if strata is not None else np.zeros(len(first), dtype=np.int64)
    if len(first) < k:
        raise fail(
            f"{len(first)} {'groups' if group is not None else 'rows'} cannot be cut into {k} folds",
            "no fewer",
            "use fewer folds",
        )
    order = np.lexsort((rng.permutation(len(first)), -np.bincount(unit), labels))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % k
    return fold[unit]


def _labelled(facts: Facts, recipe: Split) -> tuple[np.ndarray, list[str]]:
    """The rows that may stand in a part, and what there is to say about the others."""
    count = int((~facts.labelled).sum())
    if count and recipe.unlabelled == "error":
        raise fail(
            f"{count} of {len(facts.labelled)} rows have an empty target",
            "a target in every row",
            "fill them, or leave these rows out of training and scoring with --set split.unlabelled=exclude",
        )
    return np.flatnonzero(facts.labelled), [f"{count} rows without a target are in no part"] if count else []


def _method(facts: Facts, recipe: Split) -> str:
    """How to split: what the recipe says, or what the table's columns ask for."""
    if recipe.folds is not None and (facts.held_out or recipe.method == "column"):
        given = "a separate table" if facts.held_out else "the split column"
        raise fail(f"split.folds is set, but {given} is the test part already", "one way to a test part", "remove split.folds")
    if recipe.fold >= (recipe.folds or 1):
        folds = f"split.folds = {recipe.folds}" if recipe.folds else "split.folds, which is not set"
        raise fail(f"split.fold is {recipe.fold}", f"a fold below {folds}", "count from 0")
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


def _by_column(facts: Facts, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    cells = facts.column
    assert cells is not None
    said = Counter(cells.at(rows))
    wrong = sorted(repr(cell) for cell in said if part_of(cell) is None)
    if wrong:
        raise fail(
            f"{sum(said[cell] for cell in said if part_of(cell) is None)} cells of the split column name no part: "
            + ", ".join(wrong[:10]),
            "train, valid or test (or a usual spelling of them)",
            "mend the column, or leave --split away",
        )
    names = ("train", "valid", "test")
    codes = {cell: names.index(part) for cell in said if (part := part_of(cell)) is not None}
    part = np.fromiter(map(codes.__getitem__, cells.at(rows)), np.int8, len(rows))
    train, valid, test = (rows[part == code] for code in range(len(names)))
    spelled = sorted({str(cell) for cell in said} - set(names))
    note = "parts as the split column says" + (f" (read {', '.join(spelled)} as usual)" if spelled else "")
    # Without test rows there is no test part. Without valid rows they are taken from train.
    return train, valid, test, note


def _test_part(facts: Facts, recipe: Split, rows: np.ndarray, method: str, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """[len(rows)] bool: which of `rows` are the test part, and how they were chosen."""
    how = _how(facts, recipe, method)
    if recipe.folds is None:
        if recipe.test == 0:
            return np.zeros(len(rows), dtype=bool), "no test part, because split.test is 0"
        return _draw(facts, rows, rows, method, recipe.test, rng), f"test: {how}"
    if method == "time":
        assert facts.time is not None
        fold, how = _stretches(_moments(facts.time.at(rows)), recipe.folds), "stretches of time"
    else:
        fold = kfold(rows, recipe.folds, None if method == "random" else facts.strata, facts.group, rng)
    return fold == recipe.fold, f"test: fold {recipe.fold} of {recipe.folds}, {how}"


def _valid_part(
    facts: Facts, recipe: Split, rows: np.ndarray, train: np.ndarray, method: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """[len(train)] bool: which of `train`, what the test part left of `rows`, are the valid part, and what there is to say."""
    notes = [f"valid: {_how(facts, recipe, method)}"]
    wanted = recipe.valid * len(rows)
    if method == "column":
        share = wanted / max(len(train), 1)
        if share > 0.5:
            notes.append("valid is half of the train rows, because split.valid of all rows is more than that")
        return _draw(facts, train, train, method, min(share, 0.5), rng), notes
    if wanted >= len(train) > 0:
        raise fail(
            f"split.valid is {recipe.valid} of all rows, but the test part leaves {len(train)} of {len(rows)}",
            "parts that leave rows to train on",
            "lower split.valid or split.test",
        )
    return _draw(facts, train, rows, method, recipe.valid, rng), notes


def _draw(facts: Facts, rows: np.ndarray, whole: np.ndarray, method: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """[len(rows)] bool: as many of `rows` as are about `share` of the rows `whole`; never all, none of fewer than two."""
    if len(rows) < 2:
        return np.zeros(len(rows), dtype=bool)
    if method == "time":
        assert facts.time is not None
        return _latest(_moments(facts.time.at(rows)), share * len(whole))
    if facts.group is not None:
        return _whole_groups(_units(rows, facts.group)[0], share * len(whole), rng)
    labels = facts.strata if facts.strata is not None and method != "random" else np.zeros(len(facts.labelled), np.int64)
    return _systematic(labels[rows], share * np.bincount(labels[whole]), rng)


def _systematic(labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of every class its `wanted` rows to within one, never its last one; at least one row in all where that is possible."""
    order = np.lexsort((rng.permutation(len(labels)), labels))
    label, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    step = np.repeat(np.minimum(wanted[label] / np.maximum(count - 1, 1), 1.0), count)
    step[first] = 0.0  # the row that its class keeps
    if 0 < step.sum() < 1:
        step /= step.sum()
    taken = np.zeros(len(labels), dtype=bool)
    taken[order] = np.diff(np.floor(np.cumsum(step) + rng.random()), prepend=0.0) > 0
    return taken


def _whole_groups(unit: np.ndarray, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """Groups in random order, each taken if that brings the rows taken nearer to `wanted`; `unit` [R] is the group."""
    size = np.bincount(unit)
    if len(size) < 2:
        raise fail("all rows that are left to split are of one group", "at least two groups", "split by another column")
    order = rng.permutation(len(size))
    chosen: list[int] = []
    for index in order[:-1]:  # one group stays
        if size[index] < 2 * wanted:
            chosen.append(index)
            wanted -= int(size[index])
    return np.isin(unit, chosen or order[np.argmin(size[order])])


def _latest(moments: np.ndarray, wanted: float) -> np.ndarray:
    """The rows later than the moment after which about `wanted` rows come; rows of one moment stay together."""
    moment, count = np.unique(moments, return_counts=True)
    if len(moment) < 2:
        raise fail("all rows that are left to split are of one time", "at least two times", "split by another column")
    later = len(moments) - np.cumsum(count)[:-1]
    return moments > moment[np.argmin(np.abs(later - wanted))]


def _stretches(moments: np.ndarray, k: int) -> np.ndarray:
    """The fold 0..k-1 of each row, later rows in later folds; rows of one moment stay together."""
    _, index, count = np.unique(moments, return_inverse=True, return_counts=True)
    fold = ((np.cumsum(count) - count / 2) * k / len(moments)).astype(np.int64)
    if len(np.unique(fold)) < k:
        raise fail(f"{len(count)} different times cannot be cut into {k} folds of like size", "no fewer", "use fewer folds")
    return fold[index]


def _units(rows: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(unit of each row, position in `rows` of the first row of each unit); a unit is a group, or a row."""
    if group is None:
        return np.arange(len(rows)), np.arange(len(rows))
    _, first, unit = np.unique(group[rows], return_index=True, return_inverse=True)
    return unit, first


def _moments(cells: Cells) -> np.ndarray:
    """Numbers as they are, dates in seconds; without a time zone they are taken as UTC."""
    numbers, seconds = (np.fromiter(map(parse, cells), np.float64, len(cells)) for parse in (_number, _seconds))
    values = min(numbers, seconds, key=lambda found: np.isnan(found).sum())
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise fail(
            f"{len(wrong)} of {len(cells)} cells of the time column are no time: "
            + ", ".join(repr(cells[place]) for place in wrong[:5].tolist()),
            "numbers throughout, or ISO dates such as 2024-05-01 or 2024-05-01T12:30:00",
            "mend the column, or choose another",
        )
    return values


def _number(cell: Cell) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return np.nan


def _seconds(cell: Cell) -> float:
    text = str(cell).strip()
    try:
        moment = datetime.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d{2}", text) else text)
    except ValueError:
        return np.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _how(facts: Facts, recipe: Split, method: str) -> str:
    """How a part is drawn, for people."""
    if method == "time":
        return "the latest rows"
    if facts.group is not None:
        return f"whole groups of {recipe.group}, at random"
    if facts.strata is not None and method != "random":
        return "at random within each class"
    return "at random"


def _check(facts: Facts, splits: Splits) -> None:
    problems = [
        Problem(f"the {name} part has no rows", "at least one", "change the split keys, or bring more rows")
        for name, part in (("train", splits.train), ("valid", splits.valid))
        if not len(part)
    ]
    if facts.group is not None:
        group, parts = facts.group, {"train": splits.train, "valid": splits.valid, "test": splits.test}
        for one, two in combinations(parts, 2):
            both = np.intersect1d(group[parts[one]], group[parts[two]])
            if len(both):
                rows = [int(np.flatnonzero(group == code)[0]) for code in both[:5]]
                names = sorted(str(facts.group_names[row]).strip() if facts.group_names else f"row {row}" for row in rows)
                problems.append(
                    Problem(
                        f"{len(both)} groups stand both in {one} and in {two}: {', '.join(names)}",
                        "every group on one side",
                        "leave the group column away, or split by it instead of by the column given",
                    )
                )
    raise_all(problems)
