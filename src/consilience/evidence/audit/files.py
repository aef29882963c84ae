"""Cells that no modality can read, and the files that cells name: not found, empty, damaged, of another form than the rest.

Cells are read as for training, so that their answer is the modality's own; of files at most `READ`, drawn evenly.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from consilience.data.schema import modality, modality_of
from consilience.evidence.audit.finding import SHOWN, Check, Examined, Finding
from consilience.evidence.audit.quick import ROWS, accepting, setting
from consilience.evidence.inspection_ranges import even, shown
from consilience.media import OUTSIDE
from consilience.types import Input

READ = 20_000
"""The most cells that are read of an input of media."""

KINDS: Mapping[str, str] = {
    "files-not-found": "cells that name a file which does not exist",
    "file-name-case": "cells that name a file which exists with other capital letters only: found on some systems, not here",
    "files-outside-root": "cells that name a file outside of the media root, which is not opened",
    "empty-files": "cells that name a file without content",
    "unreadable-cells": "cells, or the files that they name, that cannot be read, by reason",
    "odd-file-endings": "a few files whose name ends in another way than nearly all others",
}

_REASONS = {"file not found": "files-not-found", OUTSIDE: "files-outside-root", "empty file": "empty-files"}
_ITEM = "items that could not be read: "
_ODD, _FEW = 0.95, 50  # the share of the most frequent ending, of so many files at least


def readable(examined: Examined) -> Iterable[Finding]:
    """Every input that is not a group of columns, with what its modality said of each cell that it could not read.

    Where columns form a group, a cell that cannot be read is no loss of the input; those are checked as values.
    """
    for item in examined.view.schema.inputs:
        if not modality(item.modality).grouped:
            yield from _readable(examined, item)


def _readable(examined: Examined, item: Input) -> Iterable[Finding]:
    view, (column,) = examined.view, item.columns
    rows = even(len(view), READ if modality_of(item).media else ROWS)
    found: dict[str, list[int]] = defaultdict(list)
    for row, reason in zip(rows.tolist(), view.reasons(item.name, rows), strict=True):
        if reason not in ("", "empty"):
            found[reason].append(row)
        for note in view.notes(item.name, row) if item.many else ():
            if note.startswith(_ITEM):
                found[note.removeprefix(_ITEM)].append(row)
    lost: dict[str, list[int]] = defaultdict(list)
    for reason, hit in found.items():
        lost[_REASONS.get(reason, "unreadable-cells")] += hit
    renamed = [] if item.many else _other_case(examined, column, lost["files-not-found"])
    lost["files-not-found"] = [row for row in lost["files-not-found"] if row not in set(renamed)]
    said = {
        "files-not-found": "name files that do not exist, such as {example}",
        "file-name-case": "name files that exist with other capital letters only, such as {example}",
        "files-outside-root": f"name files outside of the media root {view.table.root(0)}, such as {{example}}: not opened",
        "empty-files": "name files without content, such as {example}",
        "unreadable-cells": "cannot be read: "
        + ", ".join(f"{reason} {len(hit)}" for reason, hit in found.items() if reason not in _REASONS),
    }
    for kind, hit in (*lost.items(), ("file-name-case", renamed)):
        if hit:
            example = repr(shown(view.cells(column, np.array(hit[:1]))[0]))
            words = f"{column!r}: {len(hit)} of {len(rows)} cells {said[kind].format(example=example)}"
            rows_shown = tuple(sorted(hit)[:SHOWN])
            opened = setting("limits.outside", True)
            settled = opened if kind == "files-outside-root" else accepting(examined.recipe, kind, column)
            yield Finding(kind, (column,), len(hit), rows_shown, words, settled)


def _other_case(examined: Examined, column: str, rows: list[int]) -> list[int]:
    """Those of the rows whose file is in its folder under a name that differs in case only."""
    folders: dict[Path, set[str]] = {}
    found = []
    for row, cell in zip(rows, examined.view.cells(column, np.array(rows, np.int64)), strict=True):
        if not isinstance(cell, str):
            continue
        path = examined.view.table.root(row) / cell.strip()
        if path.parent not in folders:
            folders[path.parent] = {item.name.lower() for item in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name.lower() in folders[path.parent]:
            found.append(row)
    return found


def odd_endings(examined: Examined) -> Iterable[Finding]:
    """Files of another format often come from another source, and a source is easily told from its pixels or its rate."""
    view = examined.view
    for item in view.schema.inputs:
        kind = modality_of(item)
        if not kind.media or item.many:
            continue
        (column,) = item.columns
        rows = even(len(view), READ)
        endings = [
            Path(cell).suffix.lower() if isinstance(cell, str) and kind.names_file(cell) else ""
            for cell in view.cells(column, rows)
        ]
        count = Counter(ending for ending in endings if ending)
        if len(count) < 2 or count.total() < _FEW or count.most_common(1)[0][1] < _ODD * count.total():
            continue
        usual = count.most_common(1)[0][0]
        odd = [row for row, ending in zip(rows.tolist(), endings, strict=True) if ending not in ("", usual)]
        others = ", ".join(ending for ending, _ in count.most_common()[1:4])
        found = f"{column!r}: {len(odd)} of {count.total()} files end in {others}, all others in {usual}"
        settled = accepting(examined.recipe, "odd-file-endings", column)
        yield Finding("odd-file-endings", (column,), len(odd), tuple(odd[:SHOWN]), found, settled)


CHECKS: tuple[Check, ...] = (readable, odd_endings)
