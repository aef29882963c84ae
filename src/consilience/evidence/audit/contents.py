"""Which rows of a media column hold the same bytes, whatever their files are called.

A file of another size holds other bytes, so that only files of equal sizes are read; at most `BYTES` of them in all,
and what is beyond that is told apart by name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np

from consilience.data.schema import modality_of
from consilience.evidence.audit import quick
from consilience.evidence.audit.finding import Examined
from consilience.evidence.audit.quick import Seen
from consilience.types import Cell

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
    named = [isinstance(cell, str) and bool(cell.strip()) and kind.names_file(cell) for cell in cells]
    paths = {
        cell: examined.view.table.root(row) / cell
        for row, cell, name in zip(rows.tolist(), cells, named, strict=True)
        if name
    }
    told = _told_apart(paths)
    return np.array([told.get(cell, mark) if name else mark for cell, name, mark in zip(cells, named, found, strict=True)])


def _told_apart(paths: dict[Cell, Path]) -> dict[Cell, int]:
    """For each name a number that stands for the bytes of its file, of the files that were read."""
    sizes = {name: size for name, path in paths.items() if (size := _size(path))}
    many = Counter(sizes.values())
    told: dict[Cell, int] = {}
    left = BYTES
    for name, size in sizes.items():
        if many[size] < 2 or size > left:
            continue
        left -= size
        try:
            data = paths[name].read_bytes()
        except OSError:  # the reading of its input says so
            continue
        told[name] = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)
    return told


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except (OSError, ValueError):
        return 0
