"""A cell -> what stands in it: an npy, CSV, TSV or Parquet file, a JSON array, a list, a list of lists, a struct of lists.

Rows are time steps, everywhere: [T] or [T, C]. Nothing is guessed from shapes. A file's format is told by its first bytes
(npy, Parquet), else by its ending. Of an npy file the header is checked before anything is allocated, and its numbers are
taken from the bytes as they stand: nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError

import numpy as np

from consilience.media import ending, read_bytes
from consilience.modalities.series.arrays import Found, listed, made, wrong_shape
from consilience.modalities.series.tables import read_csv, read_parquet, read_struct
from consilience.types import Cell, Limits, Missing

ENDINGS = (".npy", ".csv", ".tsv", ".parquet", ".pq")

# What numpy raises for headers that are none; a Warning where the process makes errors of them.
_BROKEN = (ValueError, SyntaxError, TokenError, TypeError, OverflowError, RecursionError, MemoryError, Warning)

_NPY, _PARQUET = b"\x93NUMPY", b"PAR1"


def is_array(cell: str) -> bool:
    """Is the string a JSON array by its looks, rather than the name of a file?"""
    text = cell.strip()
    return text.startswith("[") and text.endswith("]")


def starts_like_a_file(data: bytes) -> bool:
    """Do the bytes start as an npy or a Parquet file?"""
    return data.startswith((_NPY, _PARQUET))


@np.errstate(over="ignore", invalid="ignore")  # what is infinite then is missing and noted; a NaN may be of the signalling kind
def read_cell(cell: Cell, limits: Limits) -> Found | Missing:
    """None, "", an absolute `Path`, bytes, a JSON array, a list, an array, or a mapping of names to lists."""
    if isinstance(cell, str) and cell.strip():
        if len(cell) > limits.bytes:
            return Missing("over the byte limit")
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return Missing("not a JSON array")
        if not isinstance(cell, list):
            return Missing("not a JSON array")
    if isinstance(cell, list | tuple | np.ndarray):
        return listed(cell, limits)
    if isinstance(cell, Mapping):
        return read_struct(cell, limits)
    data = read_bytes(cell.strip() if isinstance(cell, str) else cell, limits)
    if isinstance(data, Missing):
        return Missing("neither a file nor a list") if data.reason == "neither a path nor bytes" else data
    if data.startswith(_NPY):
        return _read_npy(data, limits)
    if data.startswith(_PARQUET):
        return read_parquet(data, limits)
    last = ending(cell) if isinstance(cell, str | Path) else ""
    if last in (".csv", ".tsv"):
        return read_csv(data, "\t" if last == ".tsv" else ",", limits)
    return Missing("damaged" if last in ENDINGS else "not a known format")


def _read_npy(data: bytes, limits: Limits) -> Found | Missing:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:  # 3.0 is for records with names in other alphabets
            return Missing("not numbers")
    except _BROKEN:
        return Missing("damaged")
    if any(isinstance(side, bool) for side in shape):  # whole numbers to numpy's check, but not to its reshape
        return Missing("damaged")
    if dtype.kind not in "biuf":
        return Missing("not numbers")
    if problem := wrong_shape(shape, limits):
        return Missing(problem)
    count, start = math.prod(shape), stream.tell()
    if any(side < 0 for side in shape) or len(data) - start < count * dtype.itemsize:
        return Missing("truncated")
    values = np.frombuffer(data, dtype, count, start)
    return made(values.reshape(shape, order="F" if fortran else "C"), limits)
