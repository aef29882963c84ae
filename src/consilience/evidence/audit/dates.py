"""Columns of dates: written so that they are not read as dates, or in several ways, or days that can hardly be meant.

What lies in the future depends on the day of the audit, the only thing in it that does. A column of plans, of which more than
a few are in the future, has no finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np

from consilience.evidence.audit.cells import Content
from consilience.evidence.audit.finding import Finding
from consilience.evidence.audit.forms import DATES, day_of, form_of, parts_of

KINDS: Mapping[str, str] = {
    "day-month-order": "dates such as 03/04/2020, of which day and month are not known, and which are not read as dates",
    "mixed-date-formats": "dates written in several ways, of which one at most is read",
    "unread-dates": "dates with the name of a month, such as 12 May 2020, which are not read as dates",
    "no-dates": "cells of a column of dates that are words, or days that no calendar has",
    "future-dates": "a few dates after today",
    "far-off-dates": "a few dates many years from the rest, or a placeholder such as 1900-01-01 that comes back",
}

_MOSTLY, _FEW, _LEAST = 0.8, 0.05, 50
_PROBED = 200
_PARTS = ("day first", "month first", "either order")
_YEARS = 20 * 365.25
_PLACEHOLDERS = frozenset(
    float(date(*day).toordinal())
    for day in ((1, 1, 1), (1899, 12, 30), (1899, 12, 31), (1900, 1, 1), (1970, 1, 1), (9999, 12, 31), (2099, 12, 31))
)
_TIMES = 3


def formats(content: Content) -> Iterable[Finding]:
    """The ways in which dates are written. 3.4.2020 and 3/4/2020 are one: what counts is the order of the parts."""
    if content.quantity or content.role == "group" or not _are_dates(content):
        return
    ways = _ways(content)
    rows = {way: int(content.count[chosen].sum()) for way, chosen in ways.items()}
    known = sum(rows.get(way, 0) for way in ("day first", "month first"))
    families = {"parts" if way in _PARTS else way for way in ways}
    chosen = np.any(list(ways.values()), axis=0)
    if len(families) > 1 or ways.keys() >= {"day first", "month first"}:
        usual = max(rows, key=lambda way: rows[way])
        lesser = np.any([mask for way, mask in ways.items() if way != usual], axis=0)
        shown = ", ".join(content.examples(ways[way], 1) for way in sorted(rows, key=lambda way: -rows[way]))
        found = f"{sum(rows.values())} dates are written in several ways, such as {shown}"
        yield content.finding("mixed-date-formats", lesser, found)
    elif families == {"month name"}:
        found = f"{sum(rows.values())} dates such as {content.examples(chosen, 1)} are not read as dates: write YYYY-MM-DD"
        yield content.finding("unread-dates", chosen, found)
    elif families == {"parts"}:
        said = f"in {known} cells it can be seen which is the day" if known else "in none can it be seen which is the day"
        found = f"{sum(rows.values())} dates such as {content.examples(chosen, 1)} are not read as dates; {said}"
        yield content.finding("day-month-order", chosen, f"{found}: write YYYY-MM-DD")


def no_dates(content: Content) -> Iterable[Finding]:
    """What is left of a column of dates: words, and days such as the 30th of February."""
    if content.kind == "date":
        forms = zip(content.forms, content.cells, strict=True)
        chosen = np.array([form not in DATES or (form == "iso date" and day_of(cell) != day_of(cell)) for form, cell in forms])
        if chosen.any():
            found = f"{content.count[chosen].sum()} of {content.filled} cells are no dates, such as {content.examples(chosen)}"
            yield content.finding("no-dates", chosen, f"{found}: they are read as missing")


def _ways(content: Content) -> dict[str, np.ndarray]:
    """Way of writing -> which cells are written so, [len(cells)] bool; only ways that there are."""
    way = np.array(content.forms, object)
    for place in np.flatnonzero(way == "date").tolist():
        one, two = parts_of(content.cells[place])
        way[place] = "day first" if one > 12 else "month first" if two > 12 else "either order"
    return {name: way == name for name in ("iso date", "month name", *_PARTS) if (way == name).any()}


def _are_dates(content: Content) -> bool:
    if content.kind == "date" or content.role == "time":
        return bool(content.cells)
    places = np.unique(np.linspace(0, max(len(content.cells) - 1, 0), _PROBED).astype(np.int64))[: len(content.cells)]
    if not len(places) or sum(form_of(content.cells[place]) in DATES for place in places) < _MOSTLY * len(places):
        return False
    return content.count[np.isin(np.array(content.forms, object), list(DATES))].sum() >= _MOSTLY * content.filled


def days(content: Content) -> Iterable[Finding]:
    """Days far off first: the year 9999 is no plan."""
    if content.kind != "date" and content.role != "time":
        return
    values = np.fromiter(map(day_of, content.cells), np.float64, len(content.cells))
    known = np.isfinite(values)
    placeholder = np.isin(values, list(_PLACEHOLDERS)) & (content.count >= _TIMES)
    rest = known & ~placeholder
    if content.count[rest].sum() < _LEAST:
        return
    low, high = np.quantile(np.repeat(values[rest], content.count[rest]), [0.05, 0.95])
    far = rest & ((values < low - _YEARS - 3 * (high - low)) | (values > high + _YEARS + 3 * (high - low)))
    far |= placeholder & ((values < low) | (values > high))
    if far.any():
        found = f"{content.count[far].sum()} of {content.filled} dates are far from the rest, such as {content.examples(far)}"
        yield content.finding("far-off-dates", far, f"{found}: they may stand for nothing, or be slips")
    future = known & ~far & (values > date.today().toordinal())
    if future.any() and content.count[future].sum() <= _FEW * content.filled:
        found = f"{content.count[future].sum()} of {content.filled} dates are in the future, such as {content.examples(future)}"
        yield content.finding("future-dates", future, found)


EACH = (formats, no_dates, days)
