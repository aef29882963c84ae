"""The target and the parts: cells that are empty, classes that are few or rare, numbers taken for classes and the other way
round, parts that are too small to say anything or that lack a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from consilience import component
from consilience.evidence.audit.finding import SHOWN, Check, Examined, Finding
from consilience.evidence.audit.quick import accepting, setting
from consilience.evidence.inspection_ranges import shown
from consilience.tasks.base import Task, as_number
from consilience.types import Cell

KINDS: Mapping[str, str] = {
    "unlabelled-rows": "rows whose target is empty",
    "one-class": "a target that is the same in every row",
    "rare-classes": "classes with so few rows that nothing is learned or measured of them",
    "class-imbalance": "a class with a hundred times the rows of another",
    "class-missing-in-part": "a class that has no row in the training, validation or test part",
    "small-part": "a validation or test part with too few rows to say anything",
    "few-valued-target": "a number with a few different values, taken as a quantity",
    "number-classes": "classes that are numbers and look like a quantity",
    "skewed-target": "a quantity over several orders of magnitude, of which squared errors see the greatest only",
}

_RARE = 5  # a class of fewer rows has none in one of the three parts
_RATIO = 100  # to answer the greatest class always is then right in 99% of these rows, and 1000 test rows hold ten of the least
_PART = 25  # an accuracy of a half has an error of 0.2 each way (95%) in so many rows
_LISTED = 10_000  # classes
_VALUES, _TIMES, _LABELS = 10, 20, 20
_SKEW, _ROWS = 20.0, 100  # the 99% quantile in medians: of a normal number it is no more than a few


@dataclass(frozen=True, eq=False)
class Target:
    """The target of all rows: `code` [R] numbers its different cells in the order of appearance, below 0 where it is empty."""

    examined: Examined
    name: str
    code: np.ndarray

    @cached_property
    def count(self) -> np.ndarray:
        """Rows of each different cell."""
        return np.bincount(self.code[self.code >= 0])

    @cached_property
    def labels(self) -> list[Cell]:
        """The first cell of each code; for classes only, of which there are few."""
        codes, first = np.unique(self.code, return_index=True)
        return self.examined.view.table.cells(self.name, first[codes >= 0])

    @property
    def task(self) -> Task | None:
        return self.examined.task

    @property
    def detected(self) -> bool:
        """The recipe leaves it to the cells what the target means."""
        return self.examined.recipe.task is None

    def finding(self, kind: str, codes: Iterable[int] | np.ndarray, found: str, settled: str = "") -> Finding:
        """A finding about the rows of some classes."""
        rows = np.flatnonzero(np.isin(self.code, np.fromiter(codes, np.int64)))
        accepted = settled or accepting(self.examined.recipe, kind, self.name)
        return Finding(kind, (self.name,), len(rows), tuple(rows[:SHOWN].tolist()), f"{self.name!r}: {found}", accepted)

    def listed(self, codes: np.ndarray) -> str:
        """Classes with their rows, the rarest first."""
        ranked = codes[np.argsort(self.count[codes], kind="stable")]
        named = ", ".join(f"{shown(self.labels[code])!r} ({self.count[code]})" for code in ranked[:5].tolist())
        return named + (", ..." if len(ranked) > 5 else "")


def seen(examined: Examined) -> Target | None:
    """The target; None where there is none, or nothing in it."""
    name = examined.view.schema.target
    if name is None:
        return None
    code = examined.view.table.codes(name)
    codes, place = np.unique(code, return_inverse=True)
    empty = int((codes < 0).sum())
    return Target(examined, name, np.where(code < 0, -1, place - empty))


def unlabelled(target: Target) -> Iterable[Finding]:
    rows = np.flatnonzero(target.code < 0)
    if len(rows) and target.examined.recipe.split.unlabelled == "error":
        found = f"{target.name!r}: empty in {len(rows)} of {len(target.code)} rows"
        key = setting("split.unlabelled", "exclude")
        yield Finding("unlabelled-rows", (target.name,), len(rows), tuple(rows[:SHOWN].tolist()), found, key)


def one_class(target: Target) -> Iterable[Finding]:
    if len(target.count) == 1:
        found = f"{shown(target.labels[0])!r} in all {target.count[0]} rows that have a target"
        yield target.finding("one-class", [0], found)


def class_counts(target: Target) -> Iterable[Finding]:
    """Classes with hardly any rows, else those with very few beside the greatest."""
    task = target.task
    if task is None or task.link != "softmax" or not 2 <= len(target.count) <= _LISTED:
        return
    rare = np.flatnonzero(target.count < _RARE)
    if len(rare):
        found = f"{len(rare)} of {len(target.count)} classes have fewer than {_RARE} rows: {target.listed(rare)}"
        yield target.finding("rare-classes", rare, found)
    few = np.flatnonzero((target.count >= _RARE) & (target.count.max() >= _RATIO * target.count))
    weighted = getattr(task.config, "class_weight", "balanced") != "none"
    if len(few) and not weighted:
        greatest = int(target.count.argmax())
        found = (
            f"{shown(target.labels[greatest])!r} has {target.count[greatest]} rows, "
            f"{_RATIO} times as many as each of {target.listed(few)}"
        )
        key = setting("task", {"kind": _kind(task), "class_weight": "balanced"})
        yield target.finding("class-imbalance", few, found, key)


def meaning(target: Target) -> Iterable[Finding]:
    """Numbers that were taken for classes and may be a quantity, and the other way round; unless the recipe says which."""
    task = target.task
    if task is None or not target.detected or len(target.count) > _LISTED:
        return
    numbers = np.array([as_number(cell) for cell in target.labels])
    if np.isnan(numbers).any():
        return
    span = f"{len(numbers)} different numbers from {numbers.min():g} to {numbers.max():g}"
    other = next((name for name in component.names("tasks") if _link(name) == _OTHER.get(task.link)), None)
    if other is None:
        return
    everything = np.arange(len(numbers))
    if task.link == "identity" and len(numbers) <= min(_VALUES, target.count.sum() / _TIMES):
        found = f"{span} in {target.count.sum()} rows are taken as a quantity, and may be classes"
        yield target.finding("few-valued-target", everything, found, setting("task", other))
    whole = (numbers == np.floor(numbers)).all()
    if task.link == "softmax" and (not whole or len(numbers) > _LABELS):
        found = f"{span} are taken as classes, and may be a quantity"
        yield target.finding("number-classes", everything, found, setting("task", other))


_OTHER = {"identity": "softmax", "softmax": "identity"}


def _link(name: str) -> str:
    return component.find("tasks", name).link  # type: ignore[attr-defined]


def _kind(task: Task) -> str:
    """The name of a task, as the recipe has it."""
    return next(name for name in component.names("tasks") if component.find("tasks", name) is type(task))


def skew(target: Target) -> Iterable[Finding]:
    """A task that can work on the logarithm says so by an option `log`."""
    task = target.task
    if task is None or task.link != "identity" or getattr(task.config, "log", True) or target.count.sum() < _ROWS:
        return
    cells = target.examined.view.cells(target.name, np.flatnonzero(target.code >= 0))
    values = np.fromiter(map(as_number, cells), np.float64, len(cells))
    low, middle, most = np.quantile(values, [0.0, 0.5, 0.99])
    if low >= 0 and middle > 0 and most > _SKEW * middle:
        found = f"from {low:g} to {values.max():g}, with {middle:g} in the middle and one row in a hundred over {most:g}"
        rows = np.unique(target.code[np.flatnonzero(target.code >= 0)[values > most]])
        yield target.finding("skewed-target", rows, found, setting("task", {"kind": _kind(task), "log": True}))


def parts(target: Target) -> Iterable[Finding]:
    """Classes that a part lacks though they have rows enough, and parts that are too small."""
    splits, task, name = target.examined.splits, target.task, target.name
    if splits is None or task is None:
        return
    named = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    for part, rows in named.items():
        if not len(rows):
            continue
        if task.link == "softmax" and len(target.count) <= _LISTED:
            here = np.bincount(target.code[rows], minlength=len(target.count))
            lacking = np.flatnonzero((here == 0) & (target.count >= _RARE))
            if len(lacking):
                found = f"no row of the {part} part is of {target.listed(lacking)}"
                yield target.finding("class-missing-in-part", lacking, found)
        if len(rows) < _PART and part != "train":
            found = f"the {part} part has {len(rows)} rows: what is measured on it is mostly chance"
            accepted = accepting(target.examined.recipe, "small-part")
            yield Finding("small-part", (), len(rows), tuple(rows[:SHOWN].tolist()), f"{name!r}: {found}", accepted)


EACH = (unlabelled, one_class, class_counts, meaning, skew, parts)


def targets(examined: Examined) -> Iterable[Finding]:
    """Everything about the target and about the parts."""
    target = seen(examined)
    if target is not None and (target.code >= 0).any():
        for check in EACH:
            yield from check(target)


CHECKS: tuple[Check, ...] = (targets,)
