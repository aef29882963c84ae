"""Rows that belong together, and a split that parts them: of one patient, of one file, of one time.

A column is taken for a group where its name says so (patient, user, session, ...) and its values come back, or where it
is a code or a name whose rows are far more alike than others: most numeric inputs and the target are told by it. It is
no group where it tells the target as a class does. A column of dates is taken for time where the target changes along it;
a number only where its name says so and its values are years or seconds.

Rows of unknown new groups or of later times are harder than rows at random, so a random split flatters. Files are
compared on at most `quick.ROWS` rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from consilience.data.table import is_empty
from consilience.evidence.audit import alone, quick
from consilience.evidence.audit.alike import row_marks
from consilience.evidence.audit.alone import Known, known
from consilience.evidence.audit.contents import contents
from consilience.evidence.audit.finding import Check, Examined, Finding
from consilience.evidence.audit.quick import Seen

KINDS: Mapping[str, str] = {
    "media-across-parts": "one file, or the same bytes under two names, in rows of two parts",
    "repeated-media": "one file, or the same bytes, in far more rows than any other, as a placeholder is",
    "group-column": "a column that looks like a patient, user or session, while rows are split at random",
    "group-across-parts": "such a column, and the split that the table gives puts one of its values into two parts",
    "time-column": "a column of times along which the target changes, while rows are split at random",
}

_PERSON = (
    "patient|subject|participant|person|user|customer|client|speaker|singer|author|reviewer|writer|student|pupil|household|"
    "donor|animal|mouse|respondent|employee|driver|player|owner|seller|buyer"
)
_OCCASION = (
    "session|recording|encounter|admission|case|family|device|sensor|machine|site|hospital|clinic|video|conversation|dialogue|"
    "thread"
)
_NAME = rf"(?:(?P<person>{_PERSON})|(?P<occasion>{_OCCASION}))"
_NAMED = re.compile(rf"{_NAME}(?:[ _\-]?(?:no|nr|num|number|name|idx|index))?", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?:.*[ _\-])?{_NAME}[ _\-]?(?:id|code|key|uuid|hash)", re.IGNORECASE)
_CODED = re.compile(r".*[ _\-](?:id|code|key|uuid|hash)|id|code|key", re.IGNORECASE)
_BORN = re.compile(r"birth|born|\bdob\b", re.IGNORECASE)
_TIMED = re.compile(r"(?:.*[ _\-])?(?:date|datetime|timestamp|epoch|unix|year)(?:[ _\-]?(?:s|ms|utc|time))?", re.IGNORECASE)

REPEATED = 1.5
"""Rows a group must have on average."""
MANY = 10
"""Values that a column must have to be taken for a group where its name does not name persons."""
TOLD = 0.5
"""The share of a numeric column's variance that a group tells of it, on rows that did not teach it."""
FEWEST = 3
"""Values that a column must have whose name does name persons."""
TREND = 0.02
"""The share of the target's variance that groups or times must tell to be worth a word."""
STRETCHES = 10
"""Stretches of time, of equally many rows, whose targets are compared."""
FREQUENT = 0.01
"""The share of rows in which a file stands that is taken for a placeholder."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """A column whose values look like groups: how many there are, and why."""

    column: str
    codes: np.ndarray  # [all rows] int64, below 0 for empty cells
    count: int
    reason: str


def groups(examined: Examined) -> Iterator[Finding]:
    """A column that looks like a group, and a split that does not keep its rows together."""
    schema, recipe, splits = examined.view.schema, examined.recipe, examined.splits
    if splits is None or schema.role("group") is not None or schema.role("time") is not None:
        return
    found = [grouping for column in _free(examined) if (grouping := _grouping(examined, column)) is not None]
    given = _given(examined)
    if given:
        found = [grouping for grouping in found if len(_parted(examined, grouping.codes))]
    if not found:
        return
    best = min(found, key=lambda grouping: grouping.count)  # the coarsest keeps most together
    also = [grouping.column for grouping in found if grouping is not best]
    about = f"{best.column!r} looks like a group: {best.reason}" + (f" (so do {', '.join(map(repr, also))})" if also else "")
    rows = _parted(examined, best.codes)
    text = (
        f"{about}; {len(rows)} rows of valid and test have a value that rows of an earlier part have too, so scores say "
        "nothing about new ones"
    )
    named = any(best.column in spec.columns for spec in recipe.inputs.values())
    held_out = len(examined.view.table.roots) > 1
    kind = "group-across-parts" if given else "group-column"
    if named or held_out:
        setting = quick.accepting(recipe, kind, best.column)
    elif given:
        column = schema.role("split")
        setting = quick.setting("split", {"method": "grouped", "group": best.column, "column": column})
    else:
        setting = quick.setting("split.group", best.column)
    yield Finding(kind, (best.column,), len(rows), quick.first(rows), text, setting)


def _given(examined: Examined) -> bool:
    """Does the table say itself which row is in which part?"""
    split = examined.recipe.split
    column = examined.view.schema.role("split") is not None and split.method in ("auto", "column") and split.folds is None
    return column or len(examined.view.table.roots) > 1


def _free(examined: Examined) -> list[str]:
    """Columns that may say what belongs together: inputs, and those left out."""
    media = {item.column for item in quick.inputs(examined) if item.media}
    return [
        note.column for note in examined.view.schema.columns if note.role in ("input", "excluded") and note.column not in media
    ]


def _grouping(examined: Examined, column: str) -> Grouping | None:
    """Whether a column looks like a group, by its name or by what it tells."""
    about = known(examined)
    words = _words(column)
    named = _NAMED.fullmatch(words) or _NUMBERED.fullmatch(words)
    some = quick.sampled(examined, most=alone.ROWS)
    cells = quick.cells_of(examined, column, some)
    values = quick.numbers(cells)
    if values is not None and (values[np.isfinite(values)] % 1 != 0).any():
        return None
    told = None
    if named is not None:
        filled = [cell for cell in cells if not is_empty(cell)]
        if words.lower() == "subject" and sum(any(map(str.isdigit, str(cell))) for cell in filled) < 0.9 * len(filled):
            return None  # what a lesson or a letter is about
    elif values is None or _CODED.fullmatch(words):
        told = _alike(examined, column)
    if named is None and told is None:
        return None
    codes = examined.view.table.codes(column)
    here = codes[codes >= 0]
    count = len(np.unique(here))
    if count < (MANY if named is None or named["person"] is None else FEWEST) or len(here) < REPEATED * count:
        return None
    if about is not None and about.classes > 0 and _is_target(codes[about.rows], about, count):
        return None
    each = f"each of its {count} values has {len(here) / count:.3g} rows"
    return Grouping(column, codes, count, f"its name says so, and {each}" if told is None else f"{each}, and it tells {told}")


def _words(column: str) -> str:
    """A name with its words apart: patientId is patient_Id."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).strip()


def _is_target(codes: np.ndarray, about: Known, count: int) -> bool:
    """Are its values just the classes, or parts of them?"""
    both = np.unique(np.stack([codes, about.target]), axis=1).shape[1]
    return both <= max(count, about.classes) and count <= 2 * about.classes


def _alike(examined: Examined, column: str) -> str | None:
    """What a column tells of its rows: most numeric inputs and something of the target; None where it does not."""
    about = known(examined)
    if about is None or about.classes < 0:
        return None
    codes = quick.codes(quick.cells_of(examined, column, about.rows))
    count = int(codes.max()) + 1
    if count < MANY or len(codes) < REPEATED * count:
        return None
    target = _told(codes, about.target) if about.classes == 0 else _told_classes(codes, about)
    if target < _surely(count, about):
        return None
    told, asked = 0, 0
    for item in quick.inputs(examined):
        if item.media or item.column == column:
            continue
        values = quick.numbers(quick.cells_of(examined, item.column, about.rows))
        if values is not None and np.isfinite(values).sum() > len(values) / 2:
            asked += 1
            told += _told(codes, np.where(np.isfinite(values), values, np.nanmean(values))) >= TOLD
    if asked < 4 or told <= asked / 2:
        return None
    return f"{told} of {asked} numeric inputs and {target:.0%} of the target's variance"


def _surely(count: int, about: Known) -> float:
    """The share of variance told by `count` groups that is worth a word, and four deviations above what chance tells."""
    return TREND + 4 * float(np.sqrt(2 * count)) / len(about.rows)


def _told(codes: np.ndarray, values: np.ndarray) -> float:
    """The share of the variance that the mean of the group's other rows tells of a row."""
    count, total = np.bincount(codes), np.bincount(codes, values)
    several = count[codes] > 1
    if several.sum() < 2 or np.ptp(values[several]) == 0:
        return 0.0
    others = (total[codes] - values)[several] / (count[codes][several] - 1)
    return 1.0 - float(np.square(values[several] - others).mean() / values[several].var())


def _told_classes(codes: np.ndarray, about: Known) -> float:
    common = np.bincount(about.target).argsort()[::-1][:5]
    return max(_told(codes, (about.target == label).astype(np.float64)) for label in common)


def _parted(examined: Examined, codes: np.ndarray) -> np.ndarray:
    """The rows of valid and test whose code a row of an earlier part has; codes below 0 are of no group."""
    part = quick.parts(examined)
    rows = np.flatnonzero((part >= 0) & (codes >= 0))
    if not len(rows):
        return rows
    least = np.full(int(codes.max()) + 1, 2, np.int8)
    np.minimum.at(least, codes[rows], part[rows])
    return rows[part[rows] > least[codes[rows]]]


def times(examined: Examined) -> Iterator[Finding]:
    """A column of times along which the target changes, while rows are split at random."""
    schema, recipe, about = examined.view.schema, examined.recipe, known(examined)
    ordered = any(schema.role(role) is not None for role in ("group", "time", "split"))
    if about is None or about.classes < 0 or ordered or len(examined.view.table.roots) > 1:
        return
    for column in _free(examined):
        cells = quick.cells_of(examined, column, about.rows)
        moments = quick.moments(cells)
        if moments is None:
            moments = _plausible(column, quick.numbers(cells))
        if moments is None or _BORN.search(column) or not np.isfinite(moments).all() or len(np.unique(moments)) < MANY:
            continue
        trend = _trend(moments, about)
        if trend < _surely(STRETCHES, about):
            continue
        text = (
            f"{column!r} is a time, and the target changes along it (it tells {trend:.0%} of the target's variance), but "
            "rows are split at random: if the model is to predict what comes later, the latest rows must be the test"
        )
        named = any(column in spec.columns for spec in recipe.inputs.values())
        setting = quick.accepting(recipe, "time-column", column) if named else quick.setting("split.time", column)
        yield Finding("time-column", (column,), len(about.rows), quick.first(about.rows), text, setting)
        return


def _plausible(column: str, values: np.ndarray | None) -> np.ndarray | None:
    """Numbers as times: years, or seconds or milliseconds since 1970, in a column whose name says so."""
    if values is None or not _TIMED.fullmatch(_words(column)):
        return None
    low, high = np.nanmin(values), np.nanmax(values)
    spans = ((1900, 2100), (3e8, 5e9), (3e11, 5e12))
    return values if any(least <= low and high <= most for least, most in spans) else None


def _trend(moments: np.ndarray, about: Known) -> float:
    """The share of the target's variance that stretches of time tell, on rows that did not teach it."""
    stretch = np.argsort(np.argsort(moments, kind="stable"), kind="stable") * STRETCHES // len(moments)
    return _told(stretch, about.target) if about.classes == 0 else _told_classes(stretch, about)


def media(examined: Examined) -> Iterator[Finding]:
    """Files that stand in rows of several parts, and files that stand in very many rows."""
    rows = quick.sampled(examined)
    part = quick.parts(examined)[rows]
    for item in quick.inputs(examined):
        if not item.media or item.input.many:
            continue
        codes = contents(examined, item, rows)
        filled = codes != 0
        _, group, count = np.unique(codes[filled], return_inverse=True, return_counts=True)
        if not len(count):
            continue
        found = _placeholder(examined, item, rows[filled], group, count)
        if found is not None:
            yield found
        usual = np.zeros(len(rows), bool)
        usual[filled] = count[group] <= max(MANY, FREQUENT * len(rows)) if found is not None else True
        yield from _shared(examined, item, rows, part, np.where(usual, codes, 0))


def _placeholder(examined: Examined, item: Seen, rows: np.ndarray, group: np.ndarray, count: np.ndarray) -> Finding | None:
    """One file in far more rows than any other."""
    limit = max(MANY, FREQUENT * len(rows), 10 * float(np.median(count)))
    often = np.flatnonzero(count > limit)
    if not len(often):
        return None
    most = int(count.argmax())
    found = rows[np.isin(group, often)]
    name = quick.cells_of(examined, item.column, rows[group == most][:1])[0]
    shown = repr(name) if isinstance(name, str) else f"of {len(name)} bytes" if isinstance(name, bytes) else "of them"
    text = (
        f"{len(often)} {'file stands' if len(often) == 1 else 'files stand'} in {len(found)} of {len(rows)} rows of "
        f"{item.column!r} (the file {shown} in {count[most]}): if it stands for nothing, as a placeholder does, empty "
        "those cells"
    )
    setting = quick.accepting(examined.recipe, "repeated-media", item.column)
    return Finding("repeated-media", (item.column,), len(found), quick.first(found), text, setting)


def _shared(examined: Examined, item: Seen, rows: np.ndarray, part: np.ndarray, codes: np.ndarray) -> Iterator[Finding]:
    """Files on both sides of the split, in rows that are not equal throughout: those are duplicates, and reported so."""
    chosen = np.flatnonzero((part >= 0) & (codes != 0))
    if not len(chosen):
        return
    whole = np.unique(row_marks(examined)[rows[chosen]], return_inverse=True, return_counts=True)
    chosen = chosen[whole[2][whole[1]] == 1]
    if not len(chosen):
        return
    group = np.unique(codes[chosen], return_inverse=True)[1]
    least = np.full(group.max() + 1, 2, np.int8)
    np.minimum.at(least, group, part[chosen])
    found = chosen[part[chosen] > least[group]]
    if not len(found):
        return
    text = (
        f"in {len(found)} of {len(rows)} rows looked at, the file in {item.column!r} is one that a row of another part has "
        "too, under this name or another: scores on them show in part what was learned by heart"
    )
    setting = quick.accepting(examined.recipe, "media-across-parts", item.column)
    yield Finding("media-across-parts", (item.column,), len(found), quick.first(rows[found]), text, setting)


CHECKS: tuple[Check, ...] = (groups, times, media)
