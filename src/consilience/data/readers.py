"""Files of tables -> Arrow, by the ending of their name; streamed, batch by batch.

Nothing is guessed silently. A CSV arrives as strings only: what looks like a number is decided by the schema, with a
reason, where it can be seen; a reader that infers types turns a postcode into a number and "NA" into nothing without a
word. JSON keeps the types that it has.
"""

from __future__ import annotations

import codecs
import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from consilience.data.keeping import ROWS, Read, kept, plain_type
from consilience.data.records import read_array, read_lines
from consilience.errors import fail

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}

BLOCKS = (1 << 20, 1 << 26)
"""Bytes of a CSV that are parsed at a time: the fewer, the less memory; no row may be longer than the last."""

BATCH = 1 << 23
"""Bytes of a batch of Parquet, about."""

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def read_file(path: Path) -> Read | None:
    """The table in a file, by the ending of its name; None where the ending is not known.

    Raises ConsilienceError, or what Arrow raises for a file that is not what its name says.
    """
    packed = next((ending for ending in COMPRESSIONS if path.name.lower().endswith(ending)), "")
    name = path.name.lower().removesuffix(packed)
    form = next((ending for ending in READERS if name.endswith(ending)), None)
    if form is None or (packed and READERS[form] in (_parquet, _arrow)):
        return None
    return READERS[form](path, COMPRESSIONS.get(packed))


def endings() -> list[str]:
    """What the name of a table may end in."""
    return [*READERS, *(f"{form}{packed}" for form, read in READERS.items() if read in _TEXT for packed in COMPRESSIONS)]


class _Text(io.RawIOBase):
    """The bytes of a text file, unpacked, checked for NUL and with a line feed at the end."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self.stream = pa.input_stream(str(path), compression=compression)
        self.path = path
        self.last = b""
        self.held = b""
        self.lock = threading.Lock()  # Arrow reads ahead in a thread of its own, still while this is closed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self.lock:
            return self._read(buffer)

    def _read(self, buffer: Any) -> int:
        found = self.held
        # Not `read`: where it fails, pyarrow 26 loses the bytes that it had made room for.
        while len(found) < len(buffer) and (more := self.stream.read_buffer(len(buffer) - len(found)).to_pybytes()):
            found += more
        if b"\0" in found:
            raise fail(f"{self.path} holds NUL bytes", "text in UTF-8", "save it as UTF-8 (it may be UTF-16)")
        if len(found) < len(buffer) and (found[-1:] or self.last) not in (b"", b"\n", b"\r"):
            found += b"\n"  # without it, Arrow takes a line of names alone for nothing
        self.last = found[-1:] or self.last
        # Arrow drops a line feed that begins a block after a carriage return, even one in quotes: they stay together.
        self.held = b"\r" if len(found) > 1 and self.last == b"\r" else b""
        found = found[: len(found) - len(self.held)]
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        with self.lock, suppress(OSError):  # a damaged file is told of when it is read
            self.stream.close()
        super().close()


def _csv(path: Path, compression: str | None, separator: str = ",") -> Read:
    with _Text(path, compression) as stream:
        head = stream.read(1 << 16) or b""
    if not head.removeprefix(codecs.BOM_UTF8).strip():
        raise fail(f"{path} is empty", "a line of column names and at least one row")
    notes = []
    unquoted = re.sub(rb'"[^"]*"', b'""', head.removeprefix(codecs.BOM_UTF8).lstrip())
    names = unquoted.splitlines()[0].decode("utf-8", "replace")
    if separator == "," and "," not in names:
        separator = next((sign for sign in _SEPARATORS if sign in names), separator)
        if separator != ",":
            notes.append(f"its columns are separated by {_SEPARATORS[separator]}")
    parsing = pacsv.ParseOptions(newlines_in_values=True, delimiter=separator)
    for block in BLOCKS:
        try:
            return _parsed(path, compression, pacsv.ReadOptions(block_size=block, use_threads=False), parsing), tuple(notes)
        except pa.ArrowInvalid as error:
            longer = "Empty CSV file or block" in str(error) and block != BLOCKS[-1]  # the line of names
            if "straddling" not in str(error) and not longer:
                raise
    raise fail(
        f"{path} has a row of more than {BLOCKS[-1] >> 20} MB, or a quote that is not closed",
        "shorter rows, quotes in pairs",
        "close the quote, or write long cells to files and name those in the table",
    )


def _parsed(path: Path, compression: str | None, reading: pacsv.ReadOptions, parsing: pacsv.ParseOptions) -> pa.Table:
    with _Text(path, compression) as stream, pacsv.open_csv(stream, reading, parsing) as reader:
        columns = reader.schema.names
    strings = pacsv.ConvertOptions(
        column_types={name: pa.string() for name in columns},
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=True,
    )
    tail = _Tail(path)
    with _Text(path, compression) as stream, pacsv.open_csv(stream, reading, parsing, strings) as reader:
        table = kept(reader.schema, tail.watch(reader))
    tail.check(path, compression)
    return table


class _Tail:
    """Watches the last row go by: in a file whose last quote is not closed, it has swallowed the rest of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cell: str | None = None

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                self.cell = batch.column(batch.num_columns - 1)[-1].as_py()
            yield batch

    def check(self, path: Path, compression: str | None) -> None:
        """Raise ConsilienceError where the last cell runs over lines and the file does not end with its quote."""
        last = self.cell
        if not last or {"\n", "\r"}.isdisjoint(last):
            return
        end = b""
        with pa.input_stream(str(path), compression=compression) as stream:
            while found := stream.read(1 << 20):
                end = (end + found)[-64:]
        if not end.rstrip().endswith(b'"'):
            start = " ".join(last[:60].split())
            raise fail(
                f"{path} has a quote that is not closed, before {start!r}", "quotes in pairs", "close it, or write it twice"
            )


def _tsv(path: Path, compression: str | None) -> Read:
    return _csv(path, compression, "\t")


def _opened(path: Path, compression: str | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(_Text(path, compression), 1 << 20), encoding="utf-8-sig")


def _json(path: Path, compression: str | None) -> Read:
    return read_array(path, partial(_opened, path, compression))


def _json_lines(path: Path, compression: str | None) -> Read:
    return read_lines(path, partial(_opened, path, compression))


def _parquet(path: Path, compression: str | None) -> Read:
    with pq.ParquetFile(path) as file:
        about = file.metadata
        size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        _check_names(file.schema_arrow)
        rows = int(min(ROWS, max(1, BATCH * about.num_rows // max(size, 1))))
        return kept(file.schema_arrow, map(_sound, file.iter_batches(batch_size=rows))), ()


def _arrow(path: Path, compression: str | None) -> Read:
    """Arrow's file and stream formats; mapped as they lie where they are not compressed."""
    source = pa.memory_map(str(path))
    try:
        reader = pa.ipc.open_file(source)
        batches = map(_sound, map(reader.get_batch, range(reader.num_record_batches)))
    except pa.ArrowInvalid:
        source.seek(0)
        reader = pa.ipc.open_stream(source)
        batches = map(_sound, reader)
    schema = reader.schema
    _check_names(schema)
    held = pa.total_allocated_bytes()
    first = next(iter(batches), None)
    unpacked = pa.total_allocated_bytes() - held
    if first is None:
        return schema.empty_table(), ()
    if unpacked > first.nbytes // 2 or any(plain_type(field.type) != field.type for field in schema):
        return kept(schema, chain((first,), batches)), ()
    return pa.Table.from_batches(chain((first,), batches), schema), ()


def _check_names(fields: Iterable[pa.Field]) -> None:
    """Raises UnicodeDecodeError where the name of a column, or of a part of one, is no text."""
    for field in fields:
        assert isinstance(field.name, str)
        _check_names(field.type.field(place) for place in range(field.type.num_fields))


def _sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch; raises ArrowInvalid where its offsets or its text would lead Arrow out of it, which ends a process."""
    batch.validate(full=True)
    return batch


READERS: dict[str, Callable[[Path, str | None], Read]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".tab": _tsv,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
}

_TEXT = (_csv, _tsv, _json, _json_lines)
