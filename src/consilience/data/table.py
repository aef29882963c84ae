"""Tables in: the one reader. Rows keep their order; no cell is guessed, filled or dropped.

A CSV arrives as strings only. What looks like a number is decided by the schema, with a reason, where it can be seen;
a reader that infers types turns a postcode into a number and "NA" into nothing without a word.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where pyright cannot see them.

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from consilience.errors import Problem, fail, nearest, raise_all
from consilience.types import Cell, Column

SAMPLED = 200
"""How many cells of a column a modality looks at."""

READERS = {".csv": "csv", ".csv.gz": "csv", ".csv.bz2": "csv", ".csv.zst": "csv", ".parquet": "parquet", ".pq": "parquet"}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}

BLOCK = 1 << 26
"""Bytes of a CSV that are parsed at a time: no row may be longer."""


@dataclass(frozen=True, eq=False)
class Table:
    """The user's data. `roots` says for each stretch of rows below which folder its media paths are looked up."""

    data: pa.Table
    source: str
    roots: tuple[tuple[int, Path], ...] = ((0, Path()),)

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.data.column_names)

    def cells(self, name: str, rows: np.ndarray | None = None) -> list[Cell]:
        """The cells of a column, as they stand in the table."""
        column = self.data.column(name)
        return (column if rows is None else column.take(pa.array(rows))).to_pylist()

    def root(self, row: int) -> Path:
        """The folder below which media paths of a row are looked up."""
        return next(root for start, root in reversed(self.roots) if row >= start)

    def column(self, name: str) -> Column:
        """What a modality sees when it decides whether a column is its own."""
        cells = self.data.column(name)
        empty = pc.is_null(cells, nan_is_null=True)
        if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
            empty = pc.or_(empty, pc.equal(pc.utf8_trim_whitespace(pc.fill_null(cells, "")), ""))
        filled = cells.filter(pc.invert(empty))
        try:
            distinct = pc.count_distinct(filled).as_py()
        except pa.ArrowNotImplementedError:  # lists and structs have no equality in Arrow
            distinct = len({_content(cell.as_py()) for cell in filled})
        places = np.unique(np.linspace(0, max(len(filled) - 1, 0), SAMPLED).astype(np.int64))[: len(filled)]
        sampled = filled.take(pa.array(places)).to_pylist()
        return Column(name, sampled, len(self), len(self) - len(filled), distinct, self.root(0))

    def digest(self) -> str:
        """SHA-256 of names, types and cells: the same table, however it is stored in chunks."""
        digest = hashlib.sha256(repr([(field.name, str(field.type)) for field in self.data.schema]).encode())
        for name in self.names:
            for batch in np.array_split(np.arange(len(self)), max(1, len(self) // 65536)):
                if len(batch):
                    digest.update(repr(self.data.column(name).slice(batch[0], len(batch)).to_pylist()).encode())
        return digest.hexdigest()

    def below(self, other: Table) -> Table:
        """This table with the rows of `other` below it, cast to this table's types; what only `other` has is left out.

        Raises ConsilienceError where a column is missing, or its cells do not fit the type.
        """
        problems = [
            Problem(f"{other.source} has no column {name!r}", f"the columns of {self.source}", nearest(name, other.names))
            for name in self.names
            if name not in other.names
        ]
        raise_all(problems)
        rest = other.data.select(list(self.names))
        try:
            rest = rest.cast(self.data.schema)
        except (ValueError, pa.ArrowNotImplementedError) as error:  # ArrowInvalid is a ValueError
            raise fail(f"{other.source} has other column types than {self.source}: {error}", "equal types") from None
        shifted = tuple((start + len(self), root) for start, root in other.roots)
        return replace(self, data=pa.concat_tables([self.data, rest]), roots=(*self.roots, *shifted))


def _content(cell: Cell) -> bytes:
    """Names what stands in a list or struct. Bytes, which may be pictures, as they are: to write them out takes long."""
    found = hashlib.sha256()
    for item in cell if isinstance(cell, list) else [cell]:
        part = item if isinstance(item, bytes) else repr(item).encode()
        found.update(f"{type(item).__name__}{len(part)} ".encode())
        found.update(part)
    return found.digest()


def is_empty(cell: Cell) -> bool:
    """A cell in which nothing stands."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and np.isnan(cell))


def read_table(source: Any, media_root: Path | str | None = None) -> Table:
    """Read a CSV (also compressed) or Parquet file, or take an Arrow table.

    Media paths are relative to `media_root`; default: the folder of the file. Raises ConsilienceError for what cannot be
    read as a table, with what to do about it.
    """
    if isinstance(source, Table):
        return source
    root = Path(media_root) if media_root is not None else None
    if root is not None and not root.is_dir():
        raise fail(f"the media root {root} is no folder", "the folder that media paths are relative to", "check --media-root")
    if isinstance(source, pa.Table):
        return _checked(Table(source, "the table", ((0, (root or Path()).absolute()),)))
    path = Path(source)
    form = next((form for suffix, form in READERS.items() if path.name.lower().endswith(suffix)), None)
    if form is None:
        raise fail(f"{path} is no table that can be read", "a file that ends in " + ", ".join(READERS), "convert the table")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise fail(f"the table {path} {what}", "a file", _similar(path))
    try:
        data = _read_csv(path) if form == "csv" else pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        advice = "save it as UTF-8" if "utf" in str(error).lower() else "mend the file, or write it again"
        raise fail(f"{path} cannot be read: {' '.join(str(error).split())}", f"a {form} file", advice) from None
    return _checked(Table(data, str(path), ((0, (root or path.parent).absolute()),)))


def _read_csv(path: Path) -> pa.Table:
    with pa.input_stream(str(path), compression=COMPRESSIONS.get(path.suffix.lower())) as stream:
        content = stream.read()
    if not content.removeprefix(codecs.BOM_UTF8).strip():
        raise fail(f"{path} is empty", "a line of column names and at least one row")
    if b"\0" in content:
        raise fail(f"{path} holds NUL bytes", "text in UTF-8", "save it as UTF-8 (it may be UTF-16)")
    if not content.endswith((b"\n", b"\r")):
        content += b"\n"  # without it, Arrow takes a line of names alone for nothing
    reading, parsing = pacsv.ReadOptions(block_size=BLOCK), pacsv.ParseOptions(newlines_in_values=True)
    with pacsv.open_csv(pa.BufferReader(content), reading, parsing) as reader:
        names = reader.schema.names
    strings = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=True,
    )
    table = pacsv.read_csv(pa.BufferReader(content), reading, parsing, strings)
    last = table.column(-1)[-1].as_py() if len(table) else None
    if last and not {"\n", "\r"}.isdisjoint(last) and not content.rstrip().endswith(b'"'):
        start = " ".join(last[:60].split())
        raise fail(f"{path} has a quote that is not closed, before {start!r}", "quotes in pairs", "close it, or write it twice")
    return table


def _checked(table: Table) -> Table:
    problems: list[Problem] = []
    twice = sorted({name for name in table.names if table.names.count(name) > 1})
    if twice:
        problems.append(
            Problem(f"{table.source} has columns of one name: {', '.join(twice)}", "different names", "rename them")
        )
    if any(not name.strip() for name in table.names):
        problems.append(
            Problem(f"{table.source} has a column without a name", "a name for every column", "mend the first line")
        )
    if not len(table):
        problems.append(Problem(f"{table.source} has no rows", "at least one row"))
    raise_all(problems)
    data = table.data
    for index, field in enumerate(data.schema):
        plain = _plain_type(field.type)
        if plain != field.type:
            data = data.set_column(index, field.name, data.column(index).cast(plain, safe=False))
    return replace(table, data=data)


def _plain_type(type: pa.DataType) -> pa.DataType:
    """The type in which a column's cells can be taken, counted and shown."""
    if pa.types.is_dictionary(type):  # pandas categories: the words, not their codes
        return _plain_type(type.value_type)
    if type == pa.string_view():  # as polars hands over; Arrow cannot filter views
        return pa.large_string()
    if type == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_timestamp(type) and type.unit == "ns":  # Python's datetime ends at microseconds
        return pa.timestamp("us", type.tz)
    return type


def _similar(path: Path) -> str:
    names: Sequence[str] = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(path.name, names) if names else f"the folder {path.parent} does not exist or is empty"
