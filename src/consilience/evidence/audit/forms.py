"""How a cell is written: a plain number, a number with a unit, a date, a word; told from the cell alone.

A plain number is what Python and Arrow read as one. All other ways to write numbers and dates are told apart, so that a check
can say which of them a column holds. "1,234" is `either`: a thousand or a bit more than one; the column decides.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal
from numbers import Real

from consilience.types import Cell

_DIGITS = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_GROUPS = r"\d{1,3}(?:[,.\u0020\u00a0\u202f'\u2019]\d{3})+(?:[.,]\d+)?"
_ANY = rf"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+|{_GROUPS})"
_SIGN = r"(?:[$\u20ac\u00a3\u00a5\u20b9]|(?:usd|eur|gbp|chf|jpy|cad|aud)\b)"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"(?:[ T,]+\d{1,2}:\d{2}.*)?"

_NUMBER = re.compile(rf"{_DIGITS}(?:[eE][+-]?\d+)?")
_FORMS = {
    "infinite": re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE),
    "iso date": re.compile(rf"\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}{_TIME}"),
    "date": re.compile(rf"\d{{1,2}}([-/.])\d{{1,2}}\1\d{{4}}{_TIME}|\d{{1,2}}/\d{{1,2}}/\d{{2}}{_TIME}"),
    "month name": re.compile(rf"\d{{1,2}}[ .-]*{_MONTH}[ ,-]*\d{{2,4}}{_TIME}|{_MONTH} ?\d{{1,2}},? +\d{{4}}{_TIME}", re.I),
    "either": re.compile(r"[+-]?[1-9]\d{0,2},\d{3}"),
    "decimal comma": re.compile(r"[+-]?\d*,\d+|[+-]?\d{1,3}(?:\.\d{3})+,\d+"),
    "thousands": re.compile(
        r"[+-]?\d{1,3}(?:(?:,\d{3})+(?:\.\d+)?|(?:\.\d{3}){2,}|(?:[\u0020\u00a0\u202f'\u2019]\d{3})+(?:[.,]\d+)?)"
    ),
    "percent": re.compile(rf"{_ANY}\s*%"),
    "currency": re.compile(rf"[+-]?{_SIGN}\s*{_ANY}|{_ANY}\s*{_SIGN}", re.IGNORECASE),
    "unit": re.compile(rf"{_ANY}\s*[^\W\d_]{{1,7}}(?:/[^\W\d_]{{1,3}})?[\u00b2\u00b3]?\.?|{_ANY}\s*[\u00b0][CFK]?"),
}

NUMERIC = frozenset({"number", "either", "decimal comma", "thousands", "percent", "currency", "unit"})
DATES = frozenset({"iso date", "date", "month name"})

_UNIT = re.compile(r"[\d.,+\-\s]+(.*)", re.DOTALL)
_COMPACT = re.compile(r"(?:19|20)\d{6}")


def form_of(cell: Cell) -> str:
    """ "number", "infinite", one of `_FORMS`, or "word"."""
    if isinstance(cell, bool):
        return "word"
    if isinstance(cell, Real | Decimal):
        return "number" if math.isfinite(cell) else "infinite"
    if isinstance(cell, date):
        return "iso date"
    if not isinstance(cell, str) or len(cell) > 60:
        return "word"
    text = cell.strip()
    if _NUMBER.fullmatch(text):
        return "number" if math.isfinite(float(text)) else "infinite"
    if not any(letter.isdigit() for letter in text) and not _FORMS["infinite"].fullmatch(text):
        return "word"
    return next((name for name, form in _FORMS.items() if form.fullmatch(text)), "word")


def number_of(cell: Cell) -> float:
    """A plain number, infinite ones too; NaN where the cell is none."""
    if isinstance(cell, str):
        if "_" in cell:  # Python takes 1_000 for a number
            return math.nan
        try:
            return float(cell)
        except ValueError:
            return math.nan
    if not isinstance(cell, Real | Decimal) or isinstance(cell, bool):
        return math.nan
    try:
        return float(cell)
    except OverflowError:
        return math.inf


def unit_of(cell: str) -> str:
    """What stands behind the number."""
    found = _UNIT.fullmatch(cell.strip())
    return found[1].strip().lower() if found else ""


def day_of(cell: Cell) -> float:
    """Days since 0001-01-01 of a date that starts with its year; NaN where there is none."""
    if isinstance(cell, date):  # a datetime is one too
        return float(cell.toordinal())
    if not isinstance(cell, str):
        return math.nan
    found = re.match(r"\s*(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)", cell)
    try:
        return float(datetime(int(found[1]), int(found[3]), int(found[4])).toordinal()) if found else math.nan
    except ValueError:
        return math.nan


def parts_of(cell: str) -> tuple[int, int]:
    """The first two numbers of a date such as 03/04/2020."""
    first, second, *_ = re.split(r"[-/.]", cell.strip())
    return int(first), int(second)


def is_compact_date(cell: Cell) -> bool:
    """A date written as a number, such as 20200131."""
    text = str(cell).strip().removesuffix(".0")
    if not _COMPACT.fullmatch(text):
        return False
    try:
        datetime(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True
