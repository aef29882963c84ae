"""How single cells are told apart."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal

import pytest

from consilience.evidence.audit.forms import day_of, form_of, is_compact_date, number_of, parts_of, unit_of

FORMS = {
    "number": ("1", "-3.5", " 7 ", "1e5", ".5", "2.", "0012", 3, 2.5, Decimal("1.5")),
    "infinite": ("inf", "-Infinity", "1e999", float("inf")),
    "iso date": ("2020-03-04", "2020/3/4", "2020-03-04T10:30", "2020-03-04 10:30:00", date(2020, 1, 1), datetime(2020, 1, 1)),
    "date": ("03/04/2020", "3.4.2020", "03-04-2020 10:30", "3/4/20"),
    "month name": ("12 May 2020", "May 12, 2020", "3-Jan-19", "Sept. 5, 2019"),
    "either": ("1,234", "-12,345"),
    "decimal comma": ("3,5", "0,123", "12,3456", "1.234,56", ",5"),
    "thousands": ("1,234,567", "1,234.50", "12 000", "1'000'000", "1.234.567", "1\u202f000,5"),
    "percent": ("5%", "12.5 %", "3,5%"),
    "currency": ("$12", "12 €", "EUR 1,200.50", "1.200,50 eur", "-$3"),
    "unit": ("12 kg", "5cm", "3,5 m²", "70 km/h", "20°C", "20 °", "8 GB"),
    "word": ("red", "", "A12", "12-34", "1.2.3", "v2.0", "12 red apples", "x" * 100, True, None, ["1"], "1_000", "12th of May"),
}


@pytest.mark.parametrize(("form", "cell"), [(form, cell) for form, cells in FORMS.items() for cell in cells])
def test_forms(form: str, cell: object) -> None:
    assert form_of(cell) == form


def test_numbers() -> None:
    assert [number_of(cell) for cell in ("1.5", " 2 ", 3, Decimal("4"), "-inf")] == [1.5, 2.0, 3.0, 4.0, -math.inf]
    assert all(math.isnan(number_of(cell)) for cell in ("x", "1_000", "3,5", None, True, [1], "nan"))
    assert number_of(10**400) == math.inf


def test_units() -> None:
    assert [unit_of(cell) for cell in ("12 kg", "5CM", "-3.5 m", "red")] == ["kg", "cm", "m", ""]


def test_days() -> None:
    first = date(2020, 3, 4).toordinal()
    assert {day_of(cell) for cell in ("2020-03-04", "2020/3/4 10:00", date(2020, 3, 4), datetime(2020, 3, 4, 12))} == {first}
    assert all(math.isnan(day_of(cell)) for cell in ("2021-02-30", "03/04/2020", "x", 5, None))
    assert parts_of("3.4.2020") == (3, 4)


def test_dates_written_as_numbers() -> None:
    assert all(map(is_compact_date, ("20200131", 20200131, 20200131.0, "19991231")))
    assert not any(map(is_compact_date, ("20201331", "20200230", "2020013", "30200131", "x", None)))
