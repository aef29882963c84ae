"""Which rows of a media column hold the same bytes, whatever their files are called.

A file of another size holds other bytes, so that only files of equal sizes are read; at most `BYTES` of them in all,
and what is beyond that is told apart by name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from consilience.data.schema import modality_of
from consilience.evidence.audit import quick
from consilience.evidence.audit.finding import Examined
from consilience.evidence.audit.quick import Seen
from consilience.media import allowed

BYTES = 128 << 20


def contents(examined: Examined, seen: Seen, rows: np.ndarray) -> np.ndarray:
    """[len(rows)] int64: equal for cells that name one file or hold, or name files that hold, the same bytes; 0: empty."""
    return quick.once(examined, "contents", seen.column, rows, lambda: _contents(examined, seen, rows))


def _contents(examined: Examined, seen: Seen, rows: np.ndarray) -> np.ndarray:
    cells = quick.cells_of(examined, seen.column, rows)
    found = quick.marks(cells)
    if seen.input.many:
        return found
    kind = modality_of(seen.input)
    table = examined.view.table
    limits_at = {root: examined.view.limits.below(root) for _, root in table.roots}
    paths: list[Path | None] = []
    files: dict[Path, bool] = {}  # and whether they may be opened
    for row, cell in zip(rows.tolist(), cells, strict=True):
        root = table.root(row)
        path = root / cell if isinstance(cell, str) and cell.strip() and kind.names_file(cell) else None
        paths.append(path)
        if path is not None:
            files[path] = files.get(path, False) or allowed(path, limits_at[root])
    told = _told_apart(files)
    return np.array([mark if path is None else told[path] for path, mark in zip(paths, found.tolist(), strict=True)])


def _told_apart(files: Mapping[Path, bool]) -> dict[Path, int]:
    """For each file a number that stands for its bytes, or for its name where it was not read, or may not be."""
    sizes = {path: _size(path) if opened else 0 for path, opened in files.items()}
    many = Counter(sizes.values())
    told = {path: hash(str(path)) for path in sizes}
    left = BYTES
    for path, size in sizes.items():
        if not size or many[size] < 2 or size > left:
            continue
        left -= size
        try:
            data = path.read_bytes()
        except OSError:  # the reading of its input says so
            continue
        told[path] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)
    return told


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except (OSError, ValueError):
        return 0
