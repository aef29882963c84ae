"""Cells as numbers, times, marks and words; settings as `--set` takes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import numpy as np
import pytest

from consilience.evidence.audit import Examined, quick
from consilience.recipe import make_recipe, setting

Seen = Callable[..., Examined]
PLAIN = {"a b": ["1.5", "2.5", "3", "4"], "text": ["Red, red!", None, "blue  Sky", " "], "y": ["u", "v", "u", "v"]}


def test_numbers() -> None:
    assert quick.numbers(["1", "2.5", None, ""]) == pytest.approx([1, 2.5, np.nan, np.nan], nan_ok=True)
    assert quick.numbers([*["1"] * 19, "one"]) == pytest.approx([*[1.0] * 19, np.nan], nan_ok=True)  # 95%
    assert quick.numbers([*["1"] * 18, "one"]) is None
    assert quick.numbers([None, ""]) is None


def test_moments() -> None:
    found = quick.moments(["1970-01-03", "1970-01-02T12:00:00", "", None])
    assert found == pytest.approx([2, 1.5, np.nan, np.nan], nan_ok=True)
    assert quick.moments([datetime(1970, 1, 2), date(1970, 1, 3)]) == pytest.approx([1, date(1970, 1, 3).toordinal()])
    assert quick.moments(["3", "4"]) is None
    assert quick.moments([None]) is None


def test_marks_and_codes() -> None:
    marks = quick.marks(["a", " a ", "b", None, "", float("nan"), -1, -2, b"a", [1]])
    assert marks[0] == marks[1] != marks[2]
    assert marks[3] == marks[4] == marks[5] == 0
    assert len(set(marks[6:].tolist())) == 4  # Python's hash of -1 is that of -2
    codes = quick.codes(["a", "b", "a", None])
    assert codes[0] == codes[2]
    assert sorted(set(codes.tolist())) == [0, 1, 2]


def test_words(seen: Seen) -> None:
    words = quick.words(seen(PLAIN, "y"), "text", np.arange(4))
    assert words.counts.tolist() == [2, 0, 2, 0]
    assert words.flat[0] == words.flat[1] != words.flat[2]
    assert words.owner.tolist() == [0, 0, 2, 2]


def test_rows(seen: Seen) -> None:
    table = seen({"x": [str(row) for row in range(100)], "y": ["u", "v"] * 50}, "y")
    assert quick.sampled(table).tolist() == list(range(100))
    some = quick.sampled(table, most=10)
    assert len(some) == 10
    assert some.tolist() == sorted(set(some.tolist())) == quick.sampled(table, most=10).tolist()
    assert quick.labelled(table).tolist() == list(range(100))
    assert np.bincount(quick.parts(table) + 1).tolist() == [0, 70, 15, 15]
    assert quick.first(np.arange(30)[::-1]) == tuple(range(10))


def test_settings(seen: Seen) -> None:
    assert quick.setting("exclude", ["a b", "no", "x: 1", "é"]) == "exclude=[a b, 'no', 'x: 1', é]"
    assert setting(quick.setting("split.group", "1")) == {"split": {"group": "1"}}
    recipe = make_recipe("y", settings=[{"exclude": ["z"], "audit": {"accept": ["duplicate-rows"]}}])
    assert quick.accepting(recipe, "target-leak", "a b") == "audit.accept=[duplicate-rows, 'target-leak:a b']"
    assert quick.accepting(recipe, "label-errors") == "audit.accept=[duplicate-rows, label-errors]"
    item = quick.inputs(seen(PLAIN, "y"))[0]
    assert quick.excluding(recipe, "target-leak", item) == "exclude=[z, a b]"


def test_a_column_that_the_recipe_names_leaves_its_input(seen: Seen) -> None:
    named = {
        "inputs": {"mine": {"modality": "tabular", "columns": ["p", "q"]}, "own": {"modality": "tabular", "columns": ["r"]}}
    }
    table = seen({name: ["1", "2", "3", "4"] for name in "pqr"} | {"y": ["u", "v", "u", "v"]}, "y", named)
    by_name = {item.column: item for item in quick.inputs(table)}
    assert quick.excluding(table.recipe, "target-leak", by_name["p"]) == "inputs.mine.columns=[q]"
    assert quick.excluding(table.recipe, "target-leak", by_name["r"]) == "audit.accept=['target-leak:r']"
