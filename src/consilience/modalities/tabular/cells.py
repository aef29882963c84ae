"""A cell of a table -> a number, a category or a date, and what was wrong with it where it is none.

A CSV brings every cell as a string, Parquet brings typed ones, JSON something between; the same value must come out the
same from all three: `True` is the category "true", `3.0` the category "3", a date is days since 1970.

Nothing is guessed. "1,234" is no number (a comma is a decimal mark elsewhere), and 03/04/2020 is no date (March or
April?); a date starts with its four-digit year.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Real

from consilience.errors import fail, nearest
from consilience.types import Cell

MARKERS = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})
"""Strings that say that a cell is empty, in lower case."""

NOT_A_NUMBER, INFINITE, NOT_A_DATE, NOT_A_CATEGORY = "not a number", "infinite", "not a date", "not a category"

YEAR = 365.2425
"""Days of a mean year of the calendar."""

_EPOCH = datetime(1970, 1, 1)
_DAY = timedelta(days=1)
_FIRST, _LAST = (datetime.min - _EPOCH) / _DAY, (datetime.max - _EPOCH) // _DAY
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)(.*)")
_SCALAR = (str, float, int, Decimal, Real)
_EXACT = 2.0**53  # whole floats below this are exact, so that writing them as integers loses nothing

Parsed = tuple[float | str | None, str]
"""The value, or None, and what was wrong: "" where nothing was."""


def empty(cell: Cell) -> bool:
    """None, NaN, a blank string or a marker such as "N/A"."""
    if isinstance(cell, str):
        return cell.strip().lower() in MARKERS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def number(cell: Cell) -> Parsed:
    """A finite float. Booleans are 0 and 1."""
    if empty(cell):
        return None, ""
    if not isinstance(cell, _SCALAR) or (isinstance(cell, str) and "_" in cell):  # Python takes "1_000" for a number
        return None, NOT_A_NUMBER
    try:
        value = float(cell)
    except ValueError:
        return None, NOT_A_NUMBER
    except OverflowError:
        return None, INFINITE
    if math.isnan(value):
        return None, NOT_A_NUMBER
    return (None, INFINITE) if math.isinf(value) else (value, "")


def numbers(cells: Sequence[Cell]) -> list[float] | None:
    """What `number` says of each, at once, where all are finite numbers as they most often are; None: ask it."""
    types = set(map(type, cells))
    if not (types <= {float, int} or (types == {str} and "_" not in "".join(cells))):
        return None
    try:
        values = list(map(float, cells))
    except (ValueError, OverflowError):
        return None
    return values if math.isfinite(sum(values)) else None


def day(cell: Cell) -> Parsed:
    """Days since 1970-01-01, with the time of day as a fraction. A time with an offset is moved to UTC."""
    if empty(cell):
        return None, ""
    if isinstance(cell, str):
        text = cell.strip()
        match = _YEAR_FIRST.fullmatch(text)
        if match is not None:
            text = f"{match[1]}-{match[3]:0>2}-{match[4]:0>2}{match[5]}"
        try:
            cell = datetime.fromisoformat(text)
        except ValueError:
            return None, NOT_A_DATE
    if isinstance(cell, datetime):
        return (cell.replace(tzinfo=None) - _EPOCH - (cell.utcoffset() or timedelta())) / _DAY, ""
    if isinstance(cell, date):
        return float(cell.toordinal() - _EPOCH.toordinal()), ""
    return None, NOT_A_DATE


def category(cell: Cell) -> Parsed:
    """The name of a category, the same for every way in which a file may store it."""
    if empty(cell):
        return None, ""
    if isinstance(cell, bool):
        return str(cell).lower(), ""
    if isinstance(cell, str):
        text = cell.strip()
        if text.lower() in ("true", "false"):
            return text.lower(), ""
        if text.isascii():
            return text, ""
        text = unicodedata.normalize("NFC", text)
        whole = text.encode("utf-8", "replace").decode("utf-8")
        return whole, "" if whole == text else "surrogates replaced"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return str(int(cell)), ""
    if isinstance(cell, (Real, Decimal, date)):
        return str(cell), ""
    return None, NOT_A_CATEGORY


Parse = Callable[[Cell], Parsed]

PARSERS: dict[str, Parse] = {"number": number, "category": category, "date": day}


def parser(kind: str) -> Parse:
    """The parser of a kind of column. Raises ConsilienceError for a kind that does not exist."""
    if kind not in PARSERS:
        raise fail(f"a tabular column of kind {kind!r}", "number, category or date", nearest(kind, PARSERS))
    return PARSERS[kind]


def clamp_day(days: float) -> float:
    """The nearest day that the calendar has (years 1 to 9999)."""
    return min(max(days, _FIRST), _LAST)


def written(value: float | str, is_date: bool) -> str:
    """A value of a record as a person writes it: 33, 0.25, red, 2020-03-04, 2020-03-04 09:30:00."""
    if isinstance(value, str):
        return value
    if is_date:
        whole = value == math.floor(value)
        moment = _EPOCH + timedelta(days=clamp_day(value))
        return str(moment.date()) if whole else moment.isoformat(sep=" ", timespec="seconds")
    return str(int(value)) if value == math.floor(value) and abs(value) < _EXACT else format(value, ".6g")
