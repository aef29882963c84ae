"""Whether there is anything in a column to learn from: nothing, hardly anything, or a number of each row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from consilience.evidence.audit.cells import Content
from consilience.evidence.audit.finding import Finding

KINDS: Mapping[str, str] = {
    "empty-column": "a column in which nothing stands",
    "mostly-empty-column": "a column in which nothing stands in all but a few rows",
    "constant-column": "a column with the same in every row",
    "nearly-constant-column": "a column with the same in all but a few rows",
    "id-column": "a column that numbers or names the rows, and is an input",
    "unused-column": "a column that is left out because it is not known what it is",
}

_EMPTY, _CONSTANT, _LEAST = 0.95, 0.995, 200
_ROWS, _CHANCE = 50, 1e-6

_ID = re.compile(r"(?i:(?:.*[_ .-])?(?:id|uuid|guid|index|unnamed: 0))|.*[a-z]I[dD]")


def emptiness(content: Content) -> Iterable[Finding]:
    """Nothing, or next to nothing. Columns with a role have messages of their own."""
    if content.role not in ("input", "excluded") or content.rows.size < _ROWS:
        return
    empty = len(content.rows) - content.filled
    rows = content.rows[content.code < 0]
    if not content.filled:
        yield content.about("empty-column", rows, f"empty in all {content.of}", content.left_out("empty-column"))
    elif empty >= _EMPTY * len(content.rows):
        found = f"empty in {empty} of {content.of}"
        yield content.about("mostly-empty-column", rows, found, content.left_out("mostly-empty-column"))


def sameness(content: Content) -> Iterable[Finding]:
    """The same cell, whether in all rows or all but one in 200. One value or none may be a tick, and says something."""
    if content.role not in ("input", "excluded") or not content.cells:
        return
    top = int(content.count.argmax())
    value, count = content.examples(np.arange(len(content.cells)) == top), int(content.count[top])
    if count == len(content.rows) > 1:
        found = f"{value} in all {content.of}"
        yield content.about("constant-column", content.rows, found, content.left_out("constant-column"))
    elif _CONSTANT * content.filled <= count < content.filled >= _LEAST:
        others = np.arange(len(content.cells)) != top
        found = f"{value} in {count} of {content.filled} cells"
        yield content.finding("nearly-constant-column", others, found, content.left_out("nearly-constant-column"))


def identity(content: Content) -> Iterable[Finding]:
    """Whole numbers that never come back, in a range so narrow that by chance some would; or an id by its name.

    n numbers drawn from a range of m are all different with probability below exp(-n (n - 1) / 2 m).
    """
    if content.kind not in ("number", "category"):
        return
    settled = content.left_out("id-column")
    everything = np.ones(len(content.cells), bool)
    if content.kind == "number" and content.filled >= _ROWS and content.filled == len(content.cells):
        values = content.numbers
        if np.isfinite(values).all() and (values == np.floor(values)).all():
            wide, n = float(np.ptp(values)) + 1, len(values)
            if np.exp(-n * (n - 1) / (2 * wide)) < _CHANCE:
                found = f"{n} different whole numbers from {values.min():g} to {values.max():g} in {n} rows: they number them"
                yield content.finding("id-column", everything, found, settled)
                return
    if _ID.fullmatch(content.name) and (content.kind == "number" or len(content.cells) > content.filled / 2) and content.cells:
        found = f"its name says identifier, and its {len(content.cells)} different values are read as a {content.kind}"
        yield content.finding("id-column", everything, found, settled)


EACH = (emptiness, sameness, identity)
