"""Tables in: rows keep their order; no cell is guessed, filled or dropped.

A table is Arrow, in memory where the user's was, else mapped from a file: see `readers`. So nothing here may touch all
cells of a column at once: cells are handed out row by row, and what is said of a whole column is found batch by batch.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import, where pyright cannot see them.

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consilience.data.keeping import ROWS, Read, column_of, kept, mixed, plain, plain_type, within_years
from consilience.data.readers import endings, read_file
from consilience.errors import ConsilienceError, Problem, fail, nearest, raise_all
from consilience.types import Cell, Column, Limits

SAMPLED = 200
"""How many cells of a column a modality looks at."""

_USUAL = Limits()


@dataclass(frozen=True, eq=False)
class Table:
    """The user's data. `roots` says for each stretch of rows below which folder its media paths are looked up; `notes`
    say what there is to know of how it was read.
    """

    data: pa.Table
    source: str
    roots: tuple[tuple[int, Path], ...] = ((0, Path()),)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.data.column_names)

    def cells(self, name: str, rows: np.ndarray | None = None) -> list[Cell]:
        """The cells of a column, as they stand in the table."""
        return list(Cells(self.data.column(name), rows))

    def root(self, row: int) -> Path:
        """The folder below which media paths of a row are looked up."""
        return next(root for start, root in reversed(self.roots) if row >= start)

    def column(self, name: str, limits: Limits = _USUAL) -> Column:
        """What a modality sees when it decides whether a column is its own."""
        cells = self.data.column(name)
        filled, distinct = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for start, batch in _batches(cells):
            here = np.flatnonzero(_filled(batch))
            filled.append(start + here)
            distinct.append(np.unique(_contents(batch.take(pa.array(here)))))
        rows = np.concatenate(filled)
        places = np.unique(np.linspace(0, max(len(rows) - 1, 0), SAMPLED).astype(np.int64))[: len(rows)]
        sampled = self.cells(name, rows[places])
        root, different = self.root(0), len(np.unique(np.concatenate(distinct)))
        return Column(name, sampled, len(self), len(self) - len(rows), different, root, limits.below(root))

    def codes(self, name: str) -> np.ndarray:
        """[R] int64: rows whose cells are written alike have one number, in the order of appearance; each empty cell has its
        own, below 0.
        """
        codes = np.empty(len(self), np.int64)
        for start, batch in _batches(self.data.column(name)):
            cells = _python(batch)
            written = np.fromiter((_content(str(cell).strip()) for cell in cells), np.int64, len(cells))
            codes[start : start + len(cells)] = written
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        codes = np.argsort(np.argsort(first))[inverse]  # in the order of appearance: hashes differ from process to process
        for start, batch in _batches(self.data.column(name)):
            empty = start + np.flatnonzero(~_filled(batch))
            codes[empty] = -1 - empty
        return codes

    def filled(self, name: str) -> np.ndarray:
        """[R] bool: something stands in the cell."""
        return np.concatenate([_filled(batch) for _, batch in _batches(self.data.column(name))])

    def digest(self) -> str:
        """SHA-256 of names, types and cells: the same table, however it is stored in chunks."""
        digest = hashlib.sha256(repr([(field.name, str(field.type)) for field in self.data.schema]).encode())
        for name in self.names:
            for _, batch in _batches(self.data.column(name)):
                cells = batch.to_pylist()
                if pa.types.is_binary(batch.type) or pa.types.is_large_binary(batch.type):  # to write pictures out takes long
                    for cell in cells:
                        digest.update(b"none" if cell is None else f"{len(cell)} ".encode() + cell)
                else:
                    digest.update("".join(f"{cell!r}\n" for cell in cells).encode("utf-8", "surrogatepass"))
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
        notes = (*self.notes, *(f"{other.source}: {note}" for note in other.notes))
        return replace(self, data=pa.concat_tables([self.data, rest]), roots=(*self.roots, *shifted), notes=notes)


class Cells(Sequence[Cell]):
    """The cells of a column, fetched from the table batch by batch; `rows` says which, in that order."""

    def __init__(self, column: pa.ChunkedArray, rows: np.ndarray | None = None) -> None:
        self.column = column
        self.rows = np.arange(len(column)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Cells: ...
    def __getitem__(self, index: int | slice) -> Cell | Cells:
        return self.at(index) if isinstance(index, slice) else self._taken(self.rows[[index]])[0]

    def at(self, places: np.ndarray | slice) -> Cells:
        """Those at several places of this sequence."""
        return Cells(self.column, self.rows[places])

    def __iter__(self) -> Iterator[Cell]:
        for start in range(0, len(self), ROWS):
            yield from self._taken(self.rows[start : start + ROWS])

    def _taken(self, rows: np.ndarray) -> list[Cell]:
        """Chunk by chunk: Arrow's own way to take of many chunks looks at each of their cells (10 ms a million)."""
        chunk = np.searchsorted(self.starts, rows, side="right") - 1
        order = np.argsort(chunk, kind="stable")
        cells: list[Cell] = [None] * len(rows)
        for which, places in zip(*_runs(chunk[order], order), strict=True):
            piece = self.column.chunk(int(which))
            local = rows[places] - self.starts[which]
            whole = len(local) == len(piece) and bool((np.diff(local) == 1).all())
            for place, cell in zip(places.tolist(), _python(piece if whole else piece.take(pa.array(local))), strict=True):
                cells[place] = cell
        return cells


def is_empty(cell: Cell) -> bool:
    """A cell in which nothing stands."""
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and cell != cell)


def read_table(source: Any, media_root: Path | str | None = None) -> Table:
    """Read a file (CSV, TSV, JSON, JSON lines, Parquet, Arrow or Feather; text also compressed) or take a table.

    A table is anything that hands itself over as Arrow (pandas, polars, pyarrow, Hugging Face datasets), or a mapping of
    columns. Media paths are relative to `media_root`; default: the folder of the file. Raises ConsilienceError for what
    cannot be read as a table, with what to do about it.
    """
    if isinstance(source, Table):
        return source
    root = Path(media_root) if media_root is not None else None
    if root is not None and not root.is_dir():
        raise fail(f"the media root {root} is no folder", "the folder that media paths are relative to", "check --media-root")
    if not isinstance(source, str | Path):
        try:
            data, notes = _taken(source)
        except UnicodeEncodeError as error:
            raise fail(f"the table holds text that is no Unicode: {error}", "whole characters", "mend the text") from None
        return _checked(Table(data, "the table", ((0, (root or Path()).absolute()),), notes))
    path = Path(source)
    if not path.is_file():
        if path.is_dir():
            raise fail(f"the table {path} is a folder", "a file", nearest("table.csv", [item.name for item in path.iterdir()]))
        raise fail(f"the table {path} does not exist", "a file", _similar(path))
    try:
        read = read_file(path)
    except ConsilienceError:
        raise
    except (ValueError, pa.ArrowException, OSError, RecursionError) as error:  # ArrowInvalid is a ValueError
        advice = "save it as UTF-8" if "utf" in str(error).lower() else "mend the file, or write it again"
        form = path.name.partition(".")[2] or "table"
        raise fail(f"{path} cannot be read: {' '.join(str(error).split())}", f"a {form} file", advice) from None
    if read is None:
        raise fail(f"{path} is no table that can be read", "a file that ends in " + ", ".join(endings()), "convert the table")
    return _checked(Table(read[0], str(path), ((0, (root or path.parent).absolute()),), read[1]))


def _taken(source: Any) -> Read:
    """What a program holds -> Arrow. Objects of several types in one column become text, and the notes say so."""
    if isinstance(source, pa.Table):
        return source, ()
    if hasattr(source, "with_format") and hasattr(source, "iter"):  # a dataset of Hugging Face: Arrow, rows by an index
        tables = source.with_format("arrow").iter(batch_size=1000)
        first = next(tables, None)
        if first is None:
            raise fail("the dataset has no rows", "at least one row")
        batches = (batch for table in (first, *tables) for batch in table.combine_chunks().to_batches())
        return kept(first.schema, batches), ()
    if isinstance(source, Mapping):
        return _columns({str(name): list(cells) for name, cells in source.items()})
    if hasattr(source, "__arrow_c_stream__"):
        try:
            return pa.table(source).drop_columns([name for name in pa.table(source).column_names if _unnamed_index(name)]), ()
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            if not hasattr(source, "columns"):
                raise
            return _columns({str(name): source[name].tolist() for name in source.columns})
    raise fail(
        f"the table is {type(source).__name__}",
        "a path, or a table of pandas, polars, pyarrow or datasets, or a mapping of columns",
        "convert it to one of them",
    )


def _columns(columns: Mapping[str, list[Any]]) -> Read:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        raise fail(f"the columns have different lengths: {lengths}", "as many cells in each", "bring them to one length")
    made = {name: column_of([None if _is_nan(cell) else cell for cell in cells]) for name, cells in columns.items()}
    table = pa.table({name: column for name, (column, _) in made.items()})
    return table, mixed(name for name, (_, text) in made.items() if text)


def _is_nan(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def _unnamed_index(name: str) -> bool:
    """What pandas calls an index that has no name, such as the row numbers that a filter left."""
    return name.startswith("__index_level_")


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
    data, notes = table.data, table.notes
    for index, field in enumerate(data.schema):
        if (wanted := plain_type(field.type)) != field.type:
            chunks = [plain(chunk) for chunk in data.column(index).chunks]
            data = data.set_column(index, field.name, pa.chunked_array(chunks, wanted))
        shown = within_years(data.column(index))
        if lost := shown.null_count - data.column(index).null_count:
            notes += (f"column {field.name!r}: {lost} times outside of the years 1 to 9999 are missing",)
            data = data.set_column(index, field.name, shown)
    return replace(table, data=data, notes=notes)


def _batches(column: pa.ChunkedArray) -> Iterator[tuple[int, pa.Array]]:
    """(first row, cells) of each stretch of at most ROWS rows."""
    start = 0
    for chunk in column.chunks:
        for offset in range(0, len(chunk), ROWS):
            yield start + offset, chunk.slice(offset, ROWS)
        start += len(chunk)


def _filled(cells: pa.Array) -> np.ndarray:
    """[len(cells)] bool: something stands in the cell."""
    empty = pc.is_null(cells, nan_is_null=True)
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        empty = pc.or_kleene(empty, pc.equal(pc.utf8_trim_whitespace(cells), ""))
    return ~empty.to_numpy(zero_copy_only=False)


def _python(cells: pa.Array) -> list[Cell]:
    """Arrow -> Python; the {bytes, path} of Hugging Face's datasets is the bytes, or the path where there are none."""
    found = cells.to_pylist()
    if _is_media(cells.type):
        return [_media(cell) for cell in found]
    if pa.types.is_list(cells.type) and _is_media(cells.type.value_type):
        return [cell if cell is None else [_media(item) for item in cell] for cell in found]
    return found


def _is_media(type: pa.DataType) -> bool:
    return pa.types.is_struct(type) and {field.name for field in type.fields} == {"bytes", "path"}


def _media(cell: Mapping[str, Any] | None) -> Cell:
    if cell is None:
        return None
    return cell["bytes"] if cell["bytes"] is not None else cell["path"]


def _contents(cells: pa.Array) -> np.ndarray:
    """[len(cells)] int64, different for different cells."""
    if pa.types.is_floating(cells.type) or pa.types.is_int64(cells.type):
        values = cells.to_numpy(zero_copy_only=False)
        return values.astype(np.float64 if pa.types.is_floating(cells.type) else np.int64).view(np.int64)
    values = _python(cells)
    tell = hash if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type) else _content
    return np.fromiter(map(tell, values), np.int64, len(values))


def _content(cell: Cell) -> int:
    """A number that tells cells apart within this process: 64 bits, so that a million differ but for luck of 1 in 10^7."""
    if isinstance(cell, str | bytes):
        return hash(cell)
    found = hashlib.blake2b(digest_size=8)
    for item in cell if isinstance(cell, list) else [cell]:
        part = item if isinstance(item, bytes) else repr(item).encode("utf-8", "surrogatepass")
        found.update(f"{type(item).__name__}{len(part)} ".encode())
        found.update(part)
    return int.from_bytes(found.digest(), "little", signed=True)


def _runs(values: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sorted values -> each different one, and the entries of `order` that it stands at."""
    different, first = np.unique(values, return_index=True)
    return different, np.split(order, first[1:])


def _similar(path: Path) -> str:
    names: Sequence[str] = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(path.name, names) if names else f"the folder {path.parent} does not exist or is empty"
