"""Counts by class and part, against tables small enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consilience.data.schema import infer_schema
from consilience.data.split import Splits
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.evidence.inspection_counts import CLASSES, ClassCount, Counts, Groups, Tally
from consilience.recipe import make_recipe
from consilience.tasks.base import Task
from consilience.tasks.classification import Classification
from consilience.tasks.regression import Regression
from consilience.types import Missing, Sample

SOUND, CUT, BOTH = Sample(), Sample(notes=("cut",)), Sample(notes=("cut", "mended"))


def seen(target: Sequence[Any]) -> View:
    table = read_table(pa.table({"x": [str(row % 7) for row in range(len(target))], "y": pa.array(target)}))
    recipe = make_recipe("y")
    return View(table, infer_schema(table, recipe), Store(), recipe.limit)


def parted(*parts: Sequence[int]) -> Splits:
    train, valid, test = (np.array(part, np.int64) for part in parts)
    return Splits(train, valid, test, ())


def classes() -> Task:
    return Classification(config=Classification.Config())


def test_rows_are_counted_by_class_and_part() -> None:
    groups = Groups(seen(["b", "a", "b", " b ", None, "a"]), classes(), parted([0, 1], [2], [3]))
    assert groups.part_counts() == {"train": 2, "valid": 1, "test": 1, "no part": 2}
    assert groups.class_counts() == (
        ClassCount("b", 3, {"train": 1, "valid": 1, "test": 1}),
        ClassCount("a", 2, {"train": 1, "valid": 0, "test": 0, "no part": 1}),
        ClassCount("no target", 1, {"train": 0, "valid": 0, "test": 0, "no part": 1}),
    )


def test_without_splits_there_are_no_parts_and_without_classes_no_classes() -> None:
    view = seen(["1.5", "2.5", "3.5"])
    for task in (None, Regression(config=Regression.Config())):
        groups = Groups(view, task, None)
        assert (groups.part_counts(), groups.class_counts()) == ({}, ())
    assert Groups(view, None, parted([0], [1], [2])).part_counts() == {"train": 1, "valid": 1, "test": 1}


@pytest.mark.parametrize(("count", "others"), [(CLASSES, 0), (CLASSES + 1, 2), (CLASSES + 9, 10)])
def test_rare_classes_are_counted_together(count: int, others: int) -> None:
    """Class 0 has one row, class 1 two, and so on."""
    found = Groups(seen([f"{label:02}" for label in range(count) for _ in range(label + 1)]), classes(), None).class_counts()
    assert len(found) == CLASSES
    assert found[0] == ClassCount(f"{count - 1:02}", count, {})
    rarest = ClassCount(f"{others} other classes", others * (others + 1) // 2, {}) if others else ClassCount("00", 1, {})
    assert found[-1] == rarest
    assert sum(entry.rows for entry in found) == count * (count + 1) // 2


def test_one_label_is_one_class_however_it_is_written() -> None:
    found = Groups(seen(["1", "1.0", "0", " 1"]), classes(), None).class_counts()
    assert [(entry.label, entry.rows) for entry in found] == [("1", 3), ("0", 1)]


def test_what_became_of_cells_is_counted_by_reason() -> None:
    groups = Groups(seen(["a", "b", "a", "b", "a", "b"]), classes(), parted([0, 1, 2], [3], [4]))
    tally = Tally(groups)
    tally.add(np.array([0, 1, 2, 3]), [Missing("empty"), Missing("not an image"), BOTH, SOUND])
    tally.add(np.array([5, 4]), [Missing("truncated"), CUT])
    assert tally.all() == Counts("", 6, 1, {"not an image": 1, "truncated": 1}, {"cut": 2, "mended": 1})
    assert tally.all().lost == 3
    assert tally.by_class() == (
        Counts("a", 3, 1, {}, {"cut": 2, "mended": 1}),
        Counts("b", 3, 0, {"not an image": 1, "truncated": 1}, {}),
    )
    assert tally.by_part() == (
        Counts("train", 3, 1, {"not an image": 1}, {"cut": 1, "mended": 1}),
        Counts("valid", 1, 0, {}, {}),
        Counts("test", 1, 0, {}, {"cut": 1}),
        Counts("no part", 1, 0, {"truncated": 1}, {}),
    )


def test_of_rows_that_were_not_looked_at_nothing_is_said() -> None:
    tally = Tally(Groups(seen(["a", "b", "a", "b"]), classes(), None))
    assert tally.all() == Counts("", 0, 0, {}, {})
    tally.add(np.array([0, 2]), [SOUND, CUT])
    assert tally.all().rows == 2
    assert tally.by_class() == (Counts("a", 2, 0, {}, {"cut": 1}),)


def test_where_nothing_is_missing_there_are_no_groups() -> None:
    tally = Tally(Groups(seen(["a", "b"]), classes(), parted([0], [1], [])))
    tally.add(np.array([0, 1]), [SOUND, SOUND])
    assert (tally.by_class(), tally.by_part()) == ((), ())


def test_the_most_frequent_reason_comes_first() -> None:
    tally = Tally(Groups(seen(["a", "b", "a", "b"]), None, None))
    tally.add(np.arange(4), [Missing("x"), Missing("b"), Missing("a"), Missing("x")])
    assert list(tally.all().corrupt.items()) == [("x", 2), ("a", 1), ("b", 1)]
