"""Equal rows: found where they are copies, and not where columns are coarse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from consilience.evidence.audit import Finding, rows
from consilience.recipe import setting

Look = Callable[..., list[Finding]]
Cells = Sequence[Any]


def table(count: int = 120, seed: int = 0) -> dict[str, list[str]]:
    rng = np.random.default_rng(seed)
    return {
        "x": [f"{value:.3f}" for value in rng.normal(size=count)],
        "z": [f"{value:.3f}" for value in rng.normal(size=count)],
        "c": [str(name) for name in rng.choice(["a", "b", "c"], count)],
        "y": [str(name) for name in rng.choice(["u", "v"], count)],
    }


def copied(columns: Mapping[str, list[str]], places: Sequence[int], **other: Callable[[str], str]) -> dict[str, list[str]]:
    """With copies of some rows below, some of their cells changed."""
    return {
        name: cells + [other[name](cells[place]) if name in other else cells[place] for place in places]
        for name, cells in columns.items()
    }


def by_kind(found: list[Finding]) -> dict[str, Finding]:
    return {finding.kind: finding for finding in found}


def flipped(label: str) -> str:
    return "v" if label == "u" else "u"


def test_without_copies_nothing_is_said(look: Look) -> None:
    assert look(rows.CHECKS, table(), "y") == []


def test_duplicates(look: Look) -> None:
    found = by_kind(look(rows.CHECKS, copied(table(), range(20, 40)), "y"))
    assert found["duplicate-rows"].count == 20
    assert found["duplicate-rows"].rows == tuple(range(120, 130))
    assert found["duplicate-rows"].columns == ()
    assert found["duplicate-rows"].setting == "audit.accept=[duplicate-rows]"
    assert "20 of 140 rows" in found["duplicate-rows"].found


def test_duplicates_across_parts(look: Look) -> None:
    columns = copied(table(), [0, 1, 2, 3])
    columns["split"] = ["train"] * 100 + ["valid"] * 20 + ["test", "test", "valid", "train"]
    found = by_kind(look(rows.CHECKS, columns, "y"))
    assert found["duplicates-across-parts"].count == 3
    assert found["duplicates-across-parts"].rows == (120, 121, 122)
    assert "1 of valid, 2 of test" in found["duplicates-across-parts"].found
    assert found["duplicates-across-parts"].setting == "audit.accept=[duplicates-across-parts]"


def test_contradictory_classes(look: Look) -> None:
    found = by_kind(look(rows.CHECKS, copied(table(), [5, 6, 7], y=flipped), "y"))
    assert found["contradictory-rows"].rows == (5, 6, 7, 120, 121, 122)
    assert found["contradictory-rows"].count == 6
    assert "duplicate-rows" not in found
    assert found["contradictory-rows"].setting == "audit.accept=[contradictory-rows]"


def test_contradictory_numbers(look: Look) -> None:
    columns = table()
    columns["y"] = [f"{value:.3f}" for value in np.random.default_rng(5).normal(size=120)]
    far = by_kind(look(rows.CHECKS, copied(columns, [5, 6], y=lambda cell: f"{float(cell) + 3:.3f}"), "y"))
    assert far["contradictory-rows"].rows == (5, 6, 120, 121)
    near = by_kind(look(rows.CHECKS, copied(columns, [5, 6], y=lambda cell: f"{float(cell) + 0.1:.3f}"), "y"))
    assert "contradictory-rows" not in near


def test_without_a_target(look: Look) -> None:
    found = by_kind(look(rows.CHECKS, copied(table(), [5])))
    assert found.keys() == {"duplicate-rows"}
    assert "in every input:" in found["duplicate-rows"].found


@pytest.mark.parametrize("seed", range(4))
def test_coarse_tables_have_equal_rows(seed: int, look: Look) -> None:
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, 800)  # columns that go together
    columns = {
        "age": [str(value) for value in rng.integers(20, 60, 800)],
        **{name: [str(value) for value in np.where(rng.random(800) < 0.7, kind, rng.integers(0, 3, 800))] for name in "abc"},
        "y": [str(name) for name in rng.choice(["u", "v"], 800)],
    }
    assert look(rows.CHECKS, columns, "y") == []


def test_one_coarse_column_says_nothing(look: Look) -> None:
    assert look(rows.CHECKS, {"c": table()["c"], "y": table()["y"]}, "y") == []


def test_rows_without_input_are_no_copies(look: Look) -> None:
    columns: dict[str, Cells] = {
        name: [*cells, *([None] * 10 if name != "y" else ["u"] * 10)] for name, cells in table().items()
    }
    assert look(rows.CHECKS, columns, "y") == []


def test_settings_can_be_applied(look: Look) -> None:
    """`audit` applies them; here they only must be such that the recipe takes them."""
    for finding in look(rows.CHECKS, copied(copied(table(), range(20)), range(30, 35), y=flipped), "y"):
        assert look(rows.CHECKS, table(), "y", setting(finding.setting)) == []
