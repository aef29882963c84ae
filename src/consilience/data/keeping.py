"""Arrow out of the way: batches go through a temporary file that is then mapped into memory.

So a table of any size takes disk and page cache, and next to no memory of its own.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from consilience.errors import fail

ROWS = 1 << 16
"""Rows of a batch, at most; fewer where rows are long."""

Read = tuple[pa.Table, tuple[str, ...]]
"""A table, and what there is to say about how it was read."""


def kept(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Batches of one schema -> a table that lies in a temporary file, deleted as soon as the table is.

    Types become those of `plain_type`. Raises ConsilienceError where the disk is full.
    """
    plain = pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])
    handle, name = tempfile.mkstemp(prefix="consilience-", suffix=".arrow")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, pa.ipc.new_file(file, plain) as writer:
            for batch in batches:
                writer.write_batch(batch if batch.schema == plain else _cast(batch, plain))
        return pa.ipc.open_file(pa.memory_map(name)).read_all()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise fail(
            f"the disk is full: no room in {path.parent} to unpack the table",
            "room for the table as it is when unpacked",
            "free some, or let the environment variable TMPDIR name a folder on another disk",
        ) from None
    finally:
        with suppress(OSError):  # Windows deletes no file that is open
            path.unlink()


def plain_type(type: pa.DataType) -> pa.DataType:
    """The type in which a column's cells can be taken, counted and shown."""
    if pa.types.is_dictionary(type):  # pandas categories: the words, not their codes
        return plain_type(type.value_type)
    if type == pa.string_view():  # as polars hands over; Arrow cannot filter views
        return pa.large_string()
    if type == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_timestamp(type) and type.unit == "ns":  # Python's datetime ends at microseconds
        return pa.timestamp("us", type.tz)
    return type


def column_of(cells: list[Any]) -> tuple[pa.Array, bool]:
    """Python objects -> an Arrow column; as text where their types do not go together, and then True."""
    try:
        return pa.array(cells), False
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([written(cell) for cell in cells], pa.string()), True


def mixed(names: Iterable[str]) -> tuple[str, ...]:
    """A note for each column that was read as text because its cells are of several types."""
    return tuple(f"column {name!r} holds cells of several types: all of it is read as text" for name in names)


def written(cell: Any) -> str | None:
    if cell is None or cell != cell:
        return None
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)


def plain(cells: pa.Array) -> pa.Array:
    """The same cells in the type of `plain_type`."""
    if isinstance(cells, pa.DictionaryArray):  # Arrow casts no dictionary of views
        return plain(cells.dictionary).take(cells.indices)
    return cells.cast(plain_type(cells.type), safe=False)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([plain(column) for column in batch.columns], schema=schema)
