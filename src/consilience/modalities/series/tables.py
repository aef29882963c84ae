"""Tables whose rows are time steps: CSV, TSV and Parquet files, and structs of named lists.

Numeric and boolean columns are channels. The first column whose name says time is the clock and never a channel; where
it increases throughout, its median step gives the rate. Numbers are seconds unless the name has a unit ("time_ms").
Other columns are left out, with a note.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from consilience.modalities.series import arrays
from consilience.modalities.series.arrays import Found, numbers
from consilience.types import Limits, Missing

if TYPE_CHECKING:
    import pyarrow as pa

_GAP = 1.5  # median steps from which on the clock has a hole
_UNITS = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_CLOCK = re.compile(
    r"(?:(?:date)?[ _]?time|time[ _]?stamp|date|elapsed|t|secs?|seconds?)(?:[ _]?[(\[]?(s|sec|seconds|ms|us|ns)[)\]]?)?", re.I
)


def read_csv(data: bytes, delimiter: str, limits: Limits) -> Found | Missing:
    """With a header, or without one where the first line holds numbers only."""
    import pyarrow as pa
    import pyarrow.csv as pacsv

    first = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip().split(delimiter)
    bare = all(_is_number(cell) for cell in first)
    try:
        table = pacsv.read_csv(
            io.BytesIO(data),  # one block, so that types are inferred from all rows
            pacsv.ReadOptions(use_threads=False, autogenerate_column_names=bare, block_size=len(data) + 1),
            pacsv.ParseOptions(delimiter=delimiter),
        )
    except (pa.ArrowException, ValueError):
        return Missing("damaged")
    return _read_table(table, limits, named=not bare)


def read_parquet(data: bytes, limits: Limits) -> Found | Missing:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows * file.metadata.num_columns > limits.values:  # before anything is unpacked
            return Missing("over the value limit")
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError):
        return Missing("damaged")
    return _read_table(table, limits, named=True)


def read_struct(cell: Mapping[str, Any], limits: Limits) -> Found | Missing:
    """Names -> lists of numbers of one length; None is a channel that is not there."""
    columns: dict[str, np.ndarray | None] = {}
    for name, cells in cell.items():
        listed = isinstance(cells, list | tuple | np.ndarray)
        values = numbers(cells) if listed else None
        if isinstance(values, str) or (values is not None and values.ndim != 1) or not (listed or cells is None):
            return Missing("not a struct of lists of numbers")
        columns[str(name)] = values
    lengths = {len(values) for values in columns.values() if values is not None}
    if len(lengths) != 1:
        return Missing("ragged lists" if lengths else "empty")
    gone = np.full(lengths.pop(), np.nan)
    clock = next((name for name, values in columns.items() if is_clock(name) and values is not None), None)
    channels = [(name, gone if values is None else values) for name, values in columns.items() if not is_clock(name)]
    times = columns[clock] if clock else None
    return _joined(channels, None if times is None else times * _unit(str(clock)), limits, ())


def is_clock(name: str) -> bool:
    """Does the name of a column say time?"""
    return _CLOCK.fullmatch(name.strip()) is not None


def _unit(name: str) -> float:
    """Seconds of one unit of a numeric clock."""
    match = _CLOCK.fullmatch(name.strip())
    return _UNITS.get(((match and match[1]) or "").lower(), 1.0)


def _read_table(table: pa.Table, limits: Limits, *, named: bool) -> Found | Missing:
    import pyarrow as pa
    from pyarrow import types

    if table.num_rows * table.num_columns > limits.values:
        return Missing("over the value limit")
    try:
        names = table.column_names
    except UnicodeDecodeError:
        return Missing("damaged")
    clock: np.ndarray | None = None
    channels: list[tuple[str, np.ndarray]] = []
    left = 0
    for name, column in zip(names, table.columns, strict=True):
        kind = column.type
        moment = types.is_timestamp(kind) or types.is_date(kind)
        number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
        if named and is_clock(name) and (moment or number):
            if clock is None:
                try:
                    plain = column.cast(pa.timestamp("us")).cast(pa.int64()) if moment else column
                except pa.ArrowInvalid:  # moments that microseconds cannot hold
                    return Missing("damaged")
                values = plain.cast(pa.float64(), safe=False)
                clock = values.to_numpy() * (1e-6 if moment else _unit(name))
            else:
                left += 1
        elif number or types.is_null(kind):  # nothing but empty cells: a channel that is not there
            whole = types.is_integer(kind) and not column.null_count
            plain = column.cast(pa.uint8()) if types.is_boolean(kind) else column
            channels.append((name if named else "", plain.cast(pa.int64() if whole else pa.float64(), safe=False).to_numpy()))
        else:
            left += 1
    return _joined(channels, clock, limits, (f"{left} columns that are no channels left out",) if left else ())


def _joined(
    channels: list[tuple[str, np.ndarray]], clock: np.ndarray | None, limits: Limits, notes: tuple[str, ...]
) -> Found | Missing:
    """Channels by name, and the seconds of the steps -> one array and its rate."""
    if not channels:
        return Missing("no column of numbers")
    rate = 1.0
    if clock is not None and len(clock) > 1:
        steps = np.diff(clock)
        if not (steps >= 0).all() or not np.median(steps) > 0:  # also where a time is missing: NaN is not >= 0
            notes += ("the time does not increase: one step is taken for a second",)
        else:
            rate = float(1.0 / np.median(steps))
            if steps.max() > _GAP * np.median(steps):
                notes += ("the time has gaps, which are not filled",)
    names = tuple(name for name, _ in channels)
    return arrays.made(np.stack([values for _, values in channels], axis=1), limits, rate, names if all(names) else (), notes)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True
