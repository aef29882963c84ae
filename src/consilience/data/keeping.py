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
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from consilience.errors import fail

ROWS = 1 << 16
"""Rows of a batch, at most; fewer where rows are long."""

_DAYS = -719_162, 2_932_897
"""The first day that Python can show, 0001-01-01, and the one after the last, counted from 1970 on."""

_LEAST, _MOST = -(2**63), 2**63 - 1

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
    if pa.types.is_timestamp(type) and (type.unit == "ns" or not _is_zone(type.tz)):  # Python's datetime ends at microseconds
        return pa.timestamp("us" if type.unit == "ns" else type.unit, type.tz if _is_zone(type.tz) else "UTC")
    if pa.types.is_list(type):
        return pa.list_(_inner(type.value_field))
    if pa.types.is_large_list(type):
        return pa.large_list(_inner(type.value_field))
    if pa.types.is_fixed_size_list(type):
        return pa.list_(_inner(type.value_field), type.list_size)
    if pa.types.is_struct(type):
        return pa.struct([_inner(field) for field in type.fields])
    return type


@cache
def _is_zone(name: str | None) -> bool:
    """No zone, or one that is known here; a time of another is shown in UTC."""
    if name is None:
        return True
    try:
        pa.lib.string_to_tzinfo(name)  # type: ignore[attr-defined]
    except (KeyError, ValueError, OSError):
        return False
    return True


def within_years(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times and dates that Python can show, those of the years 1 to 9999; others are null."""
    kind = cells.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return cells
    day = 1 if pa.types.is_date32(kind) else 86_400_000
    first, end = _DAYS
    if pa.types.is_timestamp(kind):
        day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
        if kind.tz is not None:  # where the clock of the zone may show the day before or after
            first, end = first + 1, end - 1
    whole = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    numbers = cells.cast(whole).fill_null(0).to_numpy()
    gone = (numbers < max(first * day, _LEAST)) | (numbers >= min(end * day, _MOST))
    if not gone.any():
        return cells
    return pa.chunked_array([pa.array(numbers, whole, mask=gone | cells.is_null().to_numpy()).cast(kind)])


def _inner(field: pa.Field) -> pa.Field:
    """The field of a nested type with its plain type; Arrow casts no dictionary of views, and can take it as it is."""
    views = pa.types.is_dictionary(field.type) and field.type.value_type in (pa.string_view(), pa.binary_view())
    return field if views else field.with_type(plain_type(field.type))


def column_of(cells: list[Any]) -> tuple[pa.Array, bool]:
    """Python objects -> an Arrow column; as text where their types do not go together, and then True."""
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        column = pa.array(cells)
        if not _bent(column.type, cells):
            return column, False
    return pa.array([written(cell) for cell in cells], pa.string()), True


def _bent(kind: pa.DataType, cells: list[Any]) -> bool:
    """Arrow takes True for 1.0 after a float, and leaves the time of day out after a date."""
    if pa.types.is_floating(kind):
        return bool in set(map(type, cells))
    return pa.types.is_date(kind) and any(issubclass(found, datetime) for found in set(map(type, cells)))


def mixed(names: Iterable[str]) -> tuple[str, ...]:
    """A note for each column that was read as text because its cells are of several types."""
    return tuple(f"column {name!r} holds cells of several types: all of it is read as text" for name in names)


def written(cell: Any) -> str | None:
    if cell is None or cell != cell:
        return None
    if isinstance(cell, bool | int | float | list | tuple | dict):
        return json.dumps(cell, ensure_ascii=False, default=str)
    return str(cell)


def plain(cells: pa.Array) -> pa.Array:
    """The same cells in the type of `plain_type`."""
    if isinstance(cells, pa.DictionaryArray):  # Arrow casts no dictionary of views
        return plain(cells.dictionary).take(cells.indices)
    return cells.cast(plain_type(cells.type), safe=False)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([plain(column) for column in batch.columns], schema=schema)
