"""Numbers that are not read as numbers, that stand for something else, or that are off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from consilience.evidence.audit import Examined, Finding
from consilience.evidence.audit.values import CHECKS

Look = Callable[..., list[Finding]]

ROWS = 100


def said(look: Look, cells: Sequence[Any], *rest: Any) -> list[tuple[str, int]]:
    """Kind and count of what is found in a column; beside it stands one in order."""
    beside = [("red", "blue", "green", "white")[row % 4] for row in range(len(cells))]
    return [(finding.kind, finding.count) for finding in look(CHECKS, {"x": list(cells), "beside": beside}, *rest)]


def plain(rows: int = ROWS, middle: float = 50.0, spread: float = 8.0) -> list[str]:
    """Normal numbers of two digits behind the point, which never come back in a way that means anything."""
    return [f"{value:.2f}" for value in np.random.default_rng(0).normal(middle, spread, rows)]


def with_first(cells: list[str], *first: str) -> list[str]:
    return [*first, *cells[len(first) :]]


@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        ("numbers-with-words", "unknown"),
        ("numbers-with-units", "51.3 kg"),
        ("decimal-commas", "51,3"),
        ("thousands-separators", "51,300"),
        ("currency-signs", "$51.30"),
        ("percent-signs", "51 %"),
        ("infinite-numbers", "inf"),
    ],
)
def test_a_few_cells_among_numbers(kind: str, odd: str, look: Look) -> None:
    assert said(look, with_first(plain(), odd, odd)) == [(kind, 2)]
    found = look(CHECKS, {"x": with_first(plain(), odd), "beside": ["a", "b"] * 50})[0]
    assert (found.columns, found.rows, found.setting) == (("x",), (0,), f"audit.accept=['{kind}:x']")
    assert repr(odd) in found.found


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("numbers-with-units", "{:.1f} kg"),
        ("thousands-separators", "{:.0f},500"),
        ("currency-signs", "{:.2f} EUR"),
        ("percent-signs", "{:.1f}%"),
    ],
)
def test_a_column_of_them(kind: str, shape: str, look: Look) -> None:
    assert said(look, [shape.format(float(cell)) for cell in plain()]) == [(kind, ROWS)]


def test_commas_are_decimal_where_one_cannot_be_a_thousand(look: Look) -> None:
    assert said(look, [f"{row % 97},{row % 89:02d}" for row in range(ROWS)]) == [("decimal-commas", ROWS)]
    # "1,234" alone is a thousand; beside "1,23" it is a bit more than one
    assert said(look, with_first([f"{row % 97},{row % 89:02d}" for row in range(ROWS)], "1,234")) == [("decimal-commas", ROWS)]


def test_codes_and_sizes_have_no_units(look: Look) -> None:
    assert said(look, [f"{row % 30 + 1}{'ABCDEF'[row % 6]}" for row in range(ROWS)] * 3) == [("unused-column", 300)]
    seats = [f"{row % 30 + 1}{'A' if row % 3 else 'BCDEF'[row % 5]}" for row in range(300)]  # most of them A
    assert said(look, seats) == [("unused-column", 300)]
    assert said(look, ["2D", "3D"] * 50) == []
    assert said(look, ["2", "3", "4", "5more"] * 25) == []


def test_some_numbers_among_names(look: Look) -> None:
    names = [f"{row % 25} kg" if row % 4 else ["bag", "box", "sack"][row % 3] for row in range(1000)]
    assert said(look, names) == []  # three in four are numbers; four in five must be


def test_infinite_numbers_of_a_typed_column(look: Look) -> None:
    assert said(look, [*(row * 0.37 for row in range(98)), float("inf"), -float("inf")]) == [("infinite-numbers", 2)]


@pytest.mark.parametrize("code", ["-999", "9999", "-99.0", "1e20"])
def test_a_code_far_from_the_rest(code: str, look: Look) -> None:
    assert said(look, with_first(plain(), code, code, code)) == [("sentinel-numbers", 3)]


def test_two_codes(look: Look) -> None:
    assert said(look, with_first(plain(), *["-99", "-999"] * 3)) == [("sentinel-numbers", 6)]


def test_zero_and_minus_one_where_there_is_none_near(look: Look) -> None:
    assert said(look, with_first(plain(middle=120), *["0"] * 5)) == [("sentinel-numbers", 5)]
    ages = [str(18 + row % 60) for row in range(ROWS)]
    assert said(look, with_first(ages, "-1", "-1", "-1")) == [("sentinel-numbers", 3)]
    amounts = [
        f"{np.exp(float(cell) / 6):.2f}" for cell in plain()
    ]  # from e^5 to e^12: -999 is near, but the only negative one
    assert said(look, with_first(amounts, "-999", "-999", "-999")) == [("sentinel-numbers", 3)]


def test_what_is_no_code(look: Look) -> None:
    assert said(look, with_first(plain(), "-999", "-999")) != [("sentinel-numbers", 2)]  # twice may be chance
    assert said(look, [str(row % 25 - 1) for row in range(ROWS)]) == []  # -1 beside 0
    assert said(look, with_first([str(row % 40) for row in range(ROWS)], "99", "99")) == []
    zeros = ["0"] * 60 + [f"{100 + value:.1f}" for value in range(40)]  # an amount that most have none of
    assert said(look, zeros) == []


def test_units_mixed_up(look: Look) -> None:
    assert said(look, with_first(plain(), "51300")) == [("gross-outliers", 1)]
    assert said(look, with_first(plain(), "0.0513")) == [("gross-outliers", 1)]
    assert said(look, with_first(plain(spread=12.0), "0.0513")) == []  # four deviations from the middle: it may be meant
    assert said(look, with_first(plain(), "513")) == []  # ten times as much is for a person to judge
    assert said(look, with_first(plain(), *["51300"] * 3)) == []  # three in a hundred are no slips
    ladder = [f"{50 * 3**step}" for step in range(1, 9)]  # to 328,050, each three times the one before: a long tail
    assert said(look, with_first(plain(800), *ladder)) == []
    even = [f"{10 ** (2 * row / 1000):.4f}" for row in range(1000)]  # from 1 to 100, as many in each stretch of the scale
    assert said(look, with_first(even, "5000")) == []  # fifty times the next, and not far on that scale


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", ["normal", "lognormal", "pareto", "uniform", "cauchy"])
def test_tails_are_no_outliers(shape: str, seed: int, look: Look) -> None:
    rng = np.random.default_rng(seed)
    values = {
        "normal": lambda: rng.normal(size=3000),
        "lognormal": lambda: np.exp(2 * rng.normal(size=3000)),
        "pareto": lambda: 1 + rng.pareto(1.0, 3000),
        "uniform": lambda: rng.uniform(size=3000),
        "cauchy": lambda: rng.standard_cauchy(3000),
    }[shape]()
    assert said(look, [f"{value:.6g}" for value in values]) == []


def test_dates_written_as_numbers(look: Look) -> None:
    assert said(look, [f"2020{1 + row % 12:02d}{1 + row % 28:02d}" for row in range(ROWS)]) == [("dates-as-numbers", ROWS)]
    assert said(look, [str(20200000 + 137 * (row % 97)) for row in range(ROWS)]) == []


def test_the_target_is_looked_at(seen: Callable[..., Examined]) -> None:
    cells = {"y": with_first(plain(), "failed"), "x": ["a", "b"] * 50}
    kinds = [finding.kind for check in CHECKS for finding in check(seen(cells, "y"))]
    assert "numbers-with-words" in kinds
    outlier = {"y": with_first(plain(), "51300"), "x": ["a", "b"] * 50}
    assert [finding.kind for check in CHECKS for finding in check(seen(outlier, "y"))] == ["gross-outliers"]
