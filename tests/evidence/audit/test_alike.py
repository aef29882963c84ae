"""Rows as sums of marks, and how many are equal by chance."""

from __future__ import annotations

import numpy as np
import pytest

from consilience.evidence.audit.alike import beyond_chance, by_chance, later, mixed, most_telling, pairs, surprise


def columns(rows: int, values: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [mixed(rng.integers(0, count, rows), salt) for salt, count in enumerate(values)]


def total(parts: list[np.ndarray]) -> np.ndarray:
    return np.stack(parts).sum(0, dtype=np.uint64)


def test_pairs_and_later() -> None:
    marks = np.array([5, 7, 5, 5, 7, 1], np.uint64)
    assert pairs(marks) == 3 + 1
    assert later(marks).tolist() == [False, False, True, True, True, False]


def test_marks_depend_on_the_column() -> None:
    assert mixed(np.array([1, 2]), 0)[0] != mixed(np.array([1, 2]), 1)[0]
    one, two = mixed(np.array([1, 2]), 0), mixed(np.array([2, 1]), 1)
    assert len(set((one + two).tolist())) == 2  # 1 and 2 in two columns are not 2 and 1


def test_coarse_columns_are_equal_by_chance() -> None:
    parts = columns(2000, [4, 3, 5, 2, 40])
    real, guess = pairs(total(parts)), by_chance(total(parts), parts)
    assert real == pytest.approx(2000**2 / 2 / (4 * 3 * 5 * 2 * 40), rel=0.15)
    assert guess == pytest.approx(real, rel=0.3)
    assert not beyond_chance(real, guess)


def test_copies_are_beyond_chance() -> None:
    parts = [np.concatenate([part, part[:30]]) for part in columns(2000, [4, 3, 10**9, 10**9])]
    assert pairs(total(parts)) == 30
    assert by_chance(total(parts), parts) == 0
    assert beyond_chance(1, 0)
    assert not beyond_chance(3, 1)


def test_most_telling() -> None:
    assert set(most_telling(columns(500, [2, 100, 3, 50, 2, 90, 80]))) >= {1, 3, 5, 6}


def test_surprise() -> None:
    rows = np.arange(1000)
    own, half = mixed(rows, 0), mixed(rows % 2, 1)
    assert surprise([half[:1]], [half], 1000)[0] == pytest.approx(1000**2 / 2 * 0.5, rel=0.01)
    assert surprise([own[:1], half[:1]], [own, half], 1000)[0] == pytest.approx(1000**2 / 2 * 1e-6 * 0.5, rel=0.01)
