"""Columns with nothing in them to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.values import CHECKS

Look = Callable[..., list[Finding]]


def said(look: Look, cells: Sequence[str | None], name: str = "x") -> list[tuple[str, int, str]]:
    beside = [f"{1.5 + 0.37 * row:.2f}" for row in range(len(cells))]
    found = look(CHECKS, {name: cells, "beside": beside})
    return [(finding.kind, finding.count, finding.setting) for finding in found]


def test_empty(look: Look) -> None:
    assert said(look, [None] * 60) == [("empty-column", 60, "exclude=[x]")]
    assert said(look, ["NA", " ", "-"] * 20) == [("empty-column", 60, "exclude=[x]")]


def test_mostly_empty(look: Look) -> None:
    ticks: list[str | None] = ["x", "y", *[None] * 38]
    assert said(look, [*ticks, *ticks]) == [("mostly-empty-column", 76, "exclude=[x]")]  # 95%
    assert said(look, [*ticks, "x", "y", "x", *[None] * 37]) == []  # 75 of 80
    assert said(look, ticks) == []  # of few rows nothing is said


def test_constant(look: Look) -> None:
    assert said(look, ["kg"] * 60) == [("constant-column", 60, "exclude=[x]")]
    assert said(look, ["kg", None] * 30) == []  # a tick, or none


def test_nearly_constant(look: Look) -> None:
    assert said(look, ["EU"] * 199 + ["US"]) == [("nearly-constant-column", 1, "exclude=[x]")]
    assert said(look, ["EU"] * 198 + ["US"] * 2) == []
    assert said(look, ["EU"] * 198 + ["US"]) == []  # 199 rows


@pytest.mark.parametrize("first", [0, 5_000_000])
def test_row_numbers(first: int, look: Look) -> None:
    numbers = [str(first + int(place)) for place in np.random.default_rng(0).permutation(100)]
    assert said(look, numbers) == [("id-column", 100, "exclude=[x]")]
    assert said(look, [*numbers[:-1], numbers[0]]) == []  # one comes back


def test_different_numbers_of_a_wide_range_are_chance(look: Look) -> None:
    # 100 numbers of 0 to 9999 are all different in one of e^(-0.5) tables
    assert said(look, [str(int(value)) for value in np.random.default_rng(1).choice(10_000, 100, replace=False)]) == []


@pytest.mark.parametrize(
    ("name", "is_id"), [("store_id", True), ("storeId", True), ("ID", True), ("covid", False), ("grid", False)]
)
def test_names_of_ids(name: str, is_id: bool, look: Look) -> None:
    kinds = [kind for kind, _, _ in said(look, [str(37 * (row % 33)) for row in range(100)], name)]
    assert kinds == (["id-column"] if is_id else [])


def test_an_id_that_is_used_as_one_is_in_order(look: Look) -> None:
    assert said(look, [str(row) for row in range(100)], "id") == []
    assert said(look, ["a", "b", "c", "d"] * 25, "plant_id") == []  # four names are categories


def test_what_the_schema_leaves_out(look: Look) -> None:
    tokens = [f"{row * 7919 % 99991:05d}x{row}q" for row in range(100)]
    ((kind, count, setting),) = said(look, tokens)
    assert (kind, count, setting) == ("unused-column", 100, "exclude=[x]")
    nested = look(CHECKS, {"x": [{"a": row} for row in range(60)], "beside": ["red", "blue", "green"] * 20})
    assert [(finding.kind, finding.setting) for finding in nested] == [("unused-column", "exclude=[x]")]
