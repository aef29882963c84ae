"""The cells of each column: read once, and shown to every check of cells.

A check of cells takes a `Content` instead of the whole table, because to read a column is what costs. What is left out by the
schema, and not explained by anything that is wrong with it, is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from consilience.data.schema import modality_of
from consilience.evidence.audit import dates, numbers, use, words
from consilience.evidence.audit.cells import Content, checked, look
from consilience.evidence.audit.finding import SHOWN, Check, Examined, Finding
from consilience.evidence.audit.quick import setting
from consilience.types import ColumnRole

KINDS: Mapping[str, str] = {**use.KINDS, **numbers.KINDS, **dates.KINDS, **words.KINDS}

EACH: tuple[Callable[[Content], Iterable[Finding]], ...] = (*use.EACH, *numbers.EACH, *dates.EACH, *words.EACH)


def cells(examined: Examined) -> Iterable[Finding]:
    """Everything that the cells of each column say about it; of names of files, only how many there are."""
    for note in checked(examined):
        if note.role in ("id", "split", "weight"):
            continue
        content = look(examined, note)
        if content is None:
            yield from _left_out(examined, note)
            continue
        media = content.item is not None and modality_of(content.item).media
        findings = [finding for check in (EACH if not media else (use.emptiness,)) for finding in check(content)]
        if content.unused and not findings:
            findings += _left_out(examined, note)
        yield from findings


def _left_out(examined: Examined, note: ColumnRole) -> list[Finding]:
    """A column that the schema leaves out, with its reason."""
    if note.role != "excluded":
        return []
    count, settled = len(examined.view), setting("exclude", [*examined.recipe.exclude, note.column])
    rows = tuple(range(min(count, SHOWN)))
    return [Finding("unused-column", (note.column,), count, rows, f"{note.column!r}: not used: {note.reason}", settled)]


CHECKS: tuple[Check, ...] = (cells,)
