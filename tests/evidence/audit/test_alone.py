"""What a column alone leaves wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from consilience.evidence.audit import Examined, quick
from consilience.evidence.audit.alone import Known, by_value, correlation, crossed, error, known, ranks

Seen = Callable[..., Examined]
RNG = np.random.default_rng(0)


def about(target: np.ndarray, count: int) -> Known:
    return Known(np.arange(len(target)), target, count, [str(value) for value in target], RNG.integers(0, 2, len(target)))


def test_by_value_of_classes() -> None:
    code = RNG.integers(0, 4, 1000)
    target = np.array([0, 1, 2, 2])[code]
    assert by_value(about(target, 3), code) == 0
    wrong = np.arange(1000) % 10 == 0
    assert by_value(about(np.where(wrong, (target + 1) % 3, target), 3), code) == pytest.approx(0.1)
    assert by_value(about(target, 3), np.arange(1000)) > 0.4  # a value that was not taught says nothing


def test_by_value_of_numbers() -> None:
    code = RNG.integers(0, 5, 2000)
    target = code + RNG.normal(size=2000)  # the variance of the code is 2, of the noise 1
    assert by_value(about(target, 0), code) == pytest.approx(1 / 3, abs=0.03)


def test_error(seen: Seen) -> None:
    numbers = RNG.normal(size=300)
    columns = {"x": [f"{value:.3f}" for value in numbers], "y": ["no" if value < 0 else "yes" for value in numbers]}
    table = seen(columns, "y")
    told = known(table)
    assert told is not None
    assert told.asked
    assert told.classes == 2
    (item,) = quick.inputs(table)
    assert error(told, columns["x"], item, table) <= 0.02
    assert error(told, columns["x"][::-1], item, table) > 0.3


def test_limits() -> None:
    assert about(np.arange(400) % 2, 2).limit == 0.005
    rare = about((np.arange(400) < 20).astype(np.int64), 2)
    assert rare.base == pytest.approx(0.05)
    assert rare.limit == pytest.approx(0.0025)
    assert rare.asked
    assert not about((np.arange(400) < 9).astype(np.int64), 2).asked
    assert not about(np.arange(199) % 2, 2).asked
    some = rare.of(np.arange(400) < 40)
    assert some.base == 0.5
    assert some.cells[0] == "1"


def test_figures() -> None:
    assert crossed(np.array([0, 1, 1]), np.array([1, 0, 0]), 2).tolist() == [[0, 1], [2, 0]]
    assert ranks(np.array([3.0, -1.0, 3.0])).tolist() == [1, 0, 1]
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(np.ones(3), np.arange(3.0)) == 0


def test_there_is_no_target(seen: Seen) -> None:
    assert known(seen({"x": ["1", "2"] * 30})) is None
