"""Files outside of the media root are not opened: a table from a stranger must not read any file there is.

Single cells that name one are missing, with that reason. An input of which no file may be opened is an error at once: that is
a setting to choose, not cells to mend.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from consilience.data.schema import modality_of
from consilience.data.table import SAMPLED
from consilience.data.view import View, located
from consilience.errors import Problem, raise_all
from consilience.media import allowed
from consilience.types import Input


def check_reachable(view: View) -> None:
    """Raises ConsilienceError for inputs all of whose files, of 200 cells drawn evenly, lie outside of the media root."""
    problems = []
    for item in view.schema.inputs:
        closed = _closed(view, item) if modality_of(item).media else []
        if closed:
            common = os.path.commonpath([path.parent for path in closed])
            problems.append(
                Problem(
                    f"the files of {item.name!r} lie outside of the media root {view.table.root(0)}, such as {closed[0]}",
                    "files below it, wherever links lead: a table must not make us open any file there is",
                    f"say --media-root {common} (media_root= in Python), or --set limits.outside=true",
                )
            )
    raise_all(problems)


def _closed(view: View, item: Input) -> list[Path]:
    """The files named by cells that are looked at, if none of them, and nothing else in the cells, may be opened."""
    (column,) = item.columns
    rows = np.flatnonzero(view.table.filled(column))
    rows = rows[np.unique(np.linspace(0, max(len(rows) - 1, 0), SAMPLED).astype(np.int64))] if len(rows) else rows
    found: list[Path] = []
    for row, cell in zip(rows.tolist(), view.cells(column, rows), strict=True):
        root = view.table.root(row)
        limits, held = view.limits.below(root), located(item, cell, root)
        for one in held if isinstance(held, list) else [held]:
            if isinstance(one, Path) and not allowed(one, limits):
                found.append(Path(os.path.realpath(one)))
            elif one is not None:
                return []
    return found
