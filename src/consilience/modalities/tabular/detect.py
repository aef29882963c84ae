"""Is a column a number, a category or a date, and how sure is that?

A column is what at least 95% of its sampled cells are; the few others are noted when they are read. Digits with a
leading zero are codes (post codes, item numbers), because no program writes a quantity so.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from decimal import Decimal
from numbers import Real

from consilience.modalities.tabular.cells import day, empty, number
from consilience.types import Cell, Claim, Column

SHARE = 0.95
FEW, FEW_SHARE, MOST = 20, 0.05, 1000  # so many different strings are categories, or this share of the rows, up to MOST

SURE, LIKELY, UNLIKELY = 0.9, 0.7, 0.1

_CODE = re.compile(r"0\d+")
_DAY_OR_MONTH_FIRST = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{4}(\D.*)?")


def detect(column: Column) -> Claim | None:
    """The claim on a column of scalars; None where a cell is a list, bytes or anything else that is no scalar."""
    if not all(isinstance(cell, str | Real | Decimal | date) for cell in column.cells):
        return None
    cells = [cell for cell in column.cells if not empty(cell)]
    if not cells:
        return Claim(UNLIKELY, "no sampled cell holds a value" + _markers(column), "category")
    kind, confidence, reason = _judge(column, cells)
    return Claim(confidence, reason + _markers(column), kind)


def _judge(column: Column, cells: list[Cell]) -> tuple[str, float, str]:
    """Kind, confidence and reason, from the cells that hold a value."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    if all(isinstance(cell, bool) or (isinstance(cell, str) and cell.strip().lower() in ("true", "false")) for cell in cells):
        return "category", SURE, "true or false"
    repeated = column.distinct < column.rows - column.empty
    codes = [text for text in texts if _CODE.fullmatch(text)]
    if codes and (len(codes) > (1 - SHARE) * len(cells) or len({len(text) for text in texts}) == 1):
        kind = "codes" if repeated else "codes that are all different"
        return "category", LIKELY if repeated else UNLIKELY, f"{kind}, not numbers: leading zeros as in {codes[0]!r}"
    for kind, parse, name in (("number", number, "numbers"), ("date", day, "dates")):
        parsed = sum(parse(cell)[0] is not None for cell in cells)
        if parsed >= SHARE * len(cells):
            return kind, SURE, f"{parsed} of {len(cells)} sampled cells are {name}"
    if sum(_DAY_OR_MONTH_FIRST.fullmatch(text) is not None for text in texts) >= SHARE * len(cells):
        advice = f"dates such as {texts[0]!r} do not say which is day and which month; write YYYY-MM-DD to use them as dates"
        return "category", LIKELY if _few(column) and repeated else UNLIKELY, advice
    if not (repeated and _few(column)):
        return "category", UNLIKELY, f"{column.distinct} different values in {column.rows} rows are too many for categories"
    return "category", LIKELY, f"{column.distinct} different values in {column.rows} rows"


def _few(column: Column) -> bool:
    return column.distinct <= min(max(FEW, FEW_SHARE * column.rows), MOST)


def _markers(column: Column) -> str:
    """How many sampled cells are strings that mean "empty", for the reason; "" where there is none."""
    found = Counter(cell.strip() for cell in column.cells if isinstance(cell, str) and empty(cell))
    if not found:
        return ""
    shown = ", ".join(repr(marker) for marker, _ in found.most_common(3))
    return f"; {found.total()} of {len(column.cells)} sampled cells mean that there is none ({shown})"
