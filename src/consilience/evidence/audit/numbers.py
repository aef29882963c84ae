"""Columns of numbers: cells that are written in ways that are not read as numbers, numbers that stand for something else,
and numbers that are off by orders of magnitude.

*Far from the rest* is measured against the rest without what is judged: a gap as wide as a good part of the middle 98% for a
number that comes back, and for single ones a distance on the logarithmic scale of eight times the larger of two robust
deviations (quartile, 97.5%), and ten times the next number. Small ones must also be five deviations away on the plain scale,
because a normal column that reaches down to zero has numbers near it. Normal, log-normal, Pareto, uniform and Cauchy columns
of 3000 rows have no such number (in the tests), nor had any of 300 clean tables of `benchmarks/audit_faults.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from consilience.evidence.audit.cells import Content
from consilience.evidence.audit.finding import Finding
from consilience.evidence.audit.forms import DATES, NUMERIC, form_of, is_compact_date, unit_of

KINDS: Mapping[str, str] = {
    "numbers-with-words": "a column of numbers in which a few cells hold words",
    "numbers-with-units": "numbers with a unit behind them, such as 12 kg, which are not read as numbers",
    "decimal-commas": "numbers with a decimal comma, such as 3,5, which are not read as numbers",
    "thousands-separators": "numbers with separated thousands, such as 12,000, which are not read as numbers",
    "currency-signs": "amounts with a sign or code of a currency, which are not read as numbers",
    "percent-signs": "numbers with a percent sign, which are not read as numbers",
    "sentinel-numbers": "a number far from the rest that comes back, as -999 does where it stands for nothing",
    "infinite-numbers": "infinite numbers, which count as missing",
    "gross-outliers": "a few numbers off by orders of magnitude, as units mixed up make them",
    "dates-as-numbers": "dates written as numbers, such as 20200131, which are read as quantities",
}

_WRITTEN = {
    "unit": ("numbers-with-units", "have a unit behind the number"),
    "decimal comma": ("decimal-commas", "have a decimal comma"),
    "thousands": ("thousands-separators", "have separated thousands"),
    "currency": ("currency-signs", "have a currency"),
    "percent": ("percent-signs", "have a percent sign"),
}

_MOSTLY = 0.8  # the share of filled cells that must be numbers however written
_DIFFERENT = 6  # so many different numbers, or it is a column of names such as 2D and 3D
_PROBED = 200  # different cells of a column of free text that are looked at first

_CODES = {-1.0, -8.0, -9.0, *(sign * (10.0**digits - 1) for sign in (-1, 1) for digits in range(2, 10))}
_CODES |= {float(sign * int(digit * count)) for sign in (-1, 1) for digit in "78" for count in (2, 3, 4)}
_CODES |= {-32768.0, 32767.0, -2147483648.0, 2147483647.0, -99.9, -999.9, 999.9, 99.9, -1e10, 1e10, -1e20, 1e20}

_GAP, _GAP_ZERO, _NEAR, _TIMES, _VARIED = 0.5, 0.75, 5.0, 3, 10
_DECADES, _DEVIATIONS, _FAR, _OUTLIERS, _FACTOR, _LEAST = 2.0, 8.0, 5.0, 0.02, 10.0, 50


def written(content: Content) -> Iterable[Finding]:
    """Numbers that are written in other ways than plain ones, and words among numbers."""
    if not _is_numeric(content):
        return
    forms = np.array(content.forms, object)
    comma = (forms == "decimal comma").any()
    forms[forms == "either"] = "decimal comma" if comma else "thousands"
    effect = "they are read as missing" if content.kind == "number" else "the column is not read as numbers"
    for form, (kind, said) in _WRITTEN.items():
        chosen = forms == form
        if chosen.any() and (form != "unit" or _few_units(content, chosen)):
            rows = int(content.count[chosen].sum())
            found = f"{rows} of {content.filled} cells {said}, such as {content.examples(chosen)}: {effect}"
            yield content.finding(kind, chosen, found)
    words = np.array([form not in NUMERIC and form != "infinite" for form in forms])
    if words.any() and (content.quantity or int((forms == "number").sum()) > 20):
        rows = int(content.count[words].sum())
        found = f"{rows} of {content.filled} cells are no numbers, such as {content.examples(words)}: {effect}"
        yield content.finding("numbers-with-words", words, found)


def _is_numeric(content: Content) -> bool:
    """Numbers however written in most cells; dates and columns of few different cells are none."""
    if content.kind == "date" or content.role in ("group", "time") or not content.cells:
        return False
    if content.free and len(content.cells) > _PROBED:
        places = np.linspace(0, len(content.cells) - 1, _PROBED).astype(np.int64)
        if sum(form_of(content.cells[place]) in NUMERIC for place in places) < _MOSTLY * _PROBED:
            return False
    numeric = np.array([form in NUMERIC or form == "infinite" for form in content.forms])
    if not content.quantity and (numeric.sum() < _DIFFERENT or any(form in DATES for form in content.forms)):
        return False
    return content.count[numeric].sum() >= _MOSTLY * content.filled


def _few_units(content: Content, chosen: np.ndarray) -> bool:
    """One unit, or two or three spellings: more are codes, as seats (12A) and sections (3b) are."""
    units = Counter(unit_of(str(content.cells[place])) for place in np.flatnonzero(chosen).tolist())
    return len(units) <= 3 and units.most_common(1)[0][1] >= 0.5 * units.total()


def infinite(content: Content) -> Iterable[Finding]:
    if not content.quantity:
        return
    chosen = np.isinf(content.numbers)
    if chosen.any():
        rows = int(content.count[chosen].sum())
        found = f"{rows} of {content.filled} numbers are infinite, such as {content.examples(chosen)}: they count as missing"
        yield content.finding("infinite-numbers", chosen, found)


def odd(content: Content) -> Iterable[Finding]:
    """Sentinels first: they would hide the outliers, and be taken for some."""
    if not content.quantity or content.filled < _LEAST:
        return
    sentinels = _sentinels(content)
    if sentinels.any():
        rows = int(content.count[sentinels].sum())
        rest = content.numbers[np.isfinite(content.numbers) & ~sentinels]
        found = (
            f"{rows} of {content.filled} numbers are {content.examples(sentinels)}, far from the others "
            f"({rest.min():g} to {rest.max():g}): it may stand for a missing number, but is read as one"
        )
        yield content.finding("sentinel-numbers", sentinels, found)
    kept = np.isfinite(content.numbers) & ~sentinels
    chosen = np.zeros(len(kept), bool)
    chosen[kept] = _outliers(content.numbers[kept], content.count[kept])
    if chosen.any():
        usual = float(np.median(np.repeat(content.numbers[kept & ~chosen], content.count[kept & ~chosen])))
        rows = int(content.count[chosen].sum())
        found = (
            f"{rows} of {content.filled} numbers are off by orders of magnitude, such as {content.examples(chosen)} "
            f"where {usual:g} is in the middle: units may be mixed up"
        )
        yield content.finding("gross-outliers", chosen, found)


def _sentinels(content: Content) -> np.ndarray:
    """[len(cells)] bool: codes for "nothing", least or greatest of all, that come back and stand alone.

    The gap to the next number is half of the range of the middle 98% of the others; of zero, which is a number like any other
    more often, three quarters, and at most three rows in ten are zero. Or it is the only negative number.
    """
    chosen = np.zeros(len(content.cells), bool)
    values = content.numbers
    finite = np.isfinite(values)
    for _ in range(3):  # -999 may hide -99
        rest = finite & ~chosen
        if rest.sum() <= _VARIED:
            return chosen
        for end, sign in ((values[rest].min(), 1), (values[rest].max(), -1)):
            here, others = rest & (values == end), rest & (values != end)
            times = int(content.count[here].sum())
            if times < _TIMES or others.sum() < _VARIED or (end not in _CODES and end != 0):
                continue
            low, high = np.quantile(np.repeat(values[others], content.count[others]), [0.01, 0.99])
            gap = (values[others].min() - end) if sign > 0 else (end - values[others].max())
            rare = end != 0 or times <= 0.3 * content.filled
            far = rare and gap > (_GAP_ZERO if end == 0 else _GAP) * (high - low)
            if far or _only_negative(end, values[others]):
                chosen |= here
    return chosen


def _only_negative(end: float, others: np.ndarray) -> bool:
    """A negative code below numbers of which none is negative and none near: a count or an amount has no such value."""
    return end < 0 <= others.min() and others.min() - end > _NEAR


def _outliers(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """[len(values)] bool: the few that are orders of magnitude above the rest, or below where all are positive."""
    found = np.zeros(len(values), bool)
    sizes = np.abs(values)
    here = sizes > 0
    if count[here].sum() < _LEAST:
        return found
    scale = np.log10(sizes[here])
    for sign in (1, -1) if (values > 0).all() and _above_zero(values, count) else (1,):
        middle, quarter, most = np.quantile(np.repeat(sign * scale, count[here]), [0.5, 0.75, 0.975])
        deviation = max((quarter - middle) / 0.6745, (most - middle) / 1.96)
        far = sign * scale > middle + max(_DECADES, _DEVIATIONS * deviation)
        if far.any() and count[here][far].sum() <= _OUTLIERS * count.sum() and not far.all():
            gap = (sign * scale)[far].min() - (sign * scale)[~far].max()
            if gap >= np.log10(_FACTOR):
                found[np.flatnonzero(here)[far]] = True
    return found


def _above_zero(values: np.ndarray, count: np.ndarray) -> bool:
    """Is zero further from the middle than numbers of this column get by chance?"""
    least, quarter, middle = np.quantile(np.repeat(values, count), [0.025, 0.25, 0.5])
    return bool(middle > _FAR * max((middle - quarter) / 0.6745, (middle - least) / 1.96))


def compact_dates(content: Content) -> Iterable[Finding]:
    """Eight digits at random are a date of these two centuries once in a thousand times."""
    if content.kind != "number" or len(content.cells) < _VARIED or not content.numbers.min(initial=0) >= 0:
        return
    chosen = np.fromiter(map(is_compact_date, content.cells), bool, len(content.cells))
    if content.count[chosen].sum() >= 0.95 * content.filled:
        found = f"{content.count[chosen].sum()} of {content.filled} numbers are dates, such as {content.examples(chosen)}"
        yield content.finding("dates-as-numbers", chosen, f"{found}: the next day after 20200131 is 20200201, 70 later")


EACH = (written, infinite, odd, compact_dates)
