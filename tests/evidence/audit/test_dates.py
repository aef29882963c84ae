"""Columns of dates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from consilience.evidence.audit import Finding
from consilience.evidence.audit.values import CHECKS

Look = Callable[..., list[Finding]]

DAYS = [date(2018, 1, 1) + timedelta(days=11 * row) for row in range(100)]
ISO = [str(day) for day in DAYS]


def said(look: Look, cells: Sequence[Any]) -> list[tuple[str, int]]:
    beside = [("red", "blue", "green", "white")[row % 4] for row in range(len(cells))]
    return [(finding.kind, finding.count) for finding in look(CHECKS, {"x": list(cells), "beside": beside})]


def test_dates_in_order(look: Look) -> None:
    assert said(look, ISO) == []
    assert said(look, DAYS) == []
    assert said(look, [f"{day}T10:30" for day in DAYS]) == []


def test_day_and_month(look: Look) -> None:
    assert said(look, [f"{day:%d/%m/%Y}" for day in DAYS]) == [("day-month-order", 100)]
    (found,) = look(CHECKS, {"x": [f"{day:%m/%d/%y}" for day in DAYS], "beside": ["a", "b"] * 50})
    tells = sum(day.day > 12 for day in DAYS)
    assert f"in {tells} cells it can be seen" in found.found
    (found,) = look(CHECKS, {"x": [f"{1 + row % 12:02d}.{1 + row % 11:02d}.2020" for row in range(100)], "b": ["a", "b"] * 50})
    assert "in none can it be seen" in found.found
    cells = ["13.01.2020", *(f"{1 + row % 12:02d}.{1 + row % 11:02d}.2020" for row in range(99))]
    (found,) = look(CHECKS, {"x": cells, "b": ["a", "b"] * 50})
    assert "in 1 cells it can be seen" in found.found


def test_names_of_months(look: Look) -> None:
    assert said(look, [f"{day:%d %B %Y}" for day in DAYS]) == [("unread-dates", 100)]


@pytest.mark.parametrize("shape", ["%d.%m.%Y", "%d %b %Y"])
def test_two_ways(shape: str, look: Look) -> None:
    # 30 of 100 are of the lesser way
    mixed = [f"{day:{shape}}" if row < 30 else iso for row, (day, iso) in enumerate(zip(DAYS, ISO, strict=True))]
    assert said(look, mixed) == [("mixed-date-formats", 30)]


def test_both_orders(look: Look) -> None:
    cells = [f"{day:%d/%m/%Y}" if row % 2 else f"{day:%m/%d/%Y}" for row, day in enumerate(DAYS)]
    ((kind, _),) = said(look, cells)
    assert kind == "mixed-date-formats"


def test_days_that_no_calendar_has_and_words(look: Look) -> None:
    assert said(look, ["2021-02-30", "never", *ISO[2:]]) == [("no-dates", 2)]


def test_the_future(look: Look) -> None:
    later = [str(date.today() + timedelta(days=days)) for days in (2, 900)]
    assert said(look, [*later, *ISO[2:]]) == [("future-dates", 2)]
    plans = [str(date.today() + timedelta(days=days - 50)) for days in range(100)]
    assert said(look, plans) == []


def test_far_off(look: Look) -> None:
    assert said(look, ["0218-05-01", "9999-12-31", *ISO[2:]]) == [("far-off-dates", 2)]
    assert said(look, ["1900-01-01"] * 20 + ISO[20:]) == [("far-off-dates", 20)]
    assert said(look, [f"18{10 + row}-05-01" for row in range(6)] + ISO[6:]) == []  # six in a hundred are a part of their own
    assert said(look, ["1970-01-01"] * 2 + [f"{1930 + row % 70}-05-0{1 + row % 9}" for row in range(98)]) == []
