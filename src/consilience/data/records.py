"""JSON -> Arrow: an array of objects, or an object a line. Types are those of the file; a column of several is read as text.

Records are read twice: once for the names and types of their keys, once for the cells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from consilience.data.keeping import ROWS, Read, column_of, kept, mixed, written
from consilience.errors import fail

Open = Callable[[], TextIO]
"""Opens the file from its start, as text."""


LONGEST = 1 << 26
"""Characters of an object, at most."""

_BLANK = re.compile(r"[ \t\r\n]*")


def read_lines(path: Path, open: Open) -> Read:
    """An object a line; blank lines are left out."""

    def records() -> Iterator[Any]:
        with open() as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise fail(f"{path}, line {number}, is no JSON: {error}", "an object", "mend it") from None

    return _from_records(path, records)


def read_array(path: Path, open: Open) -> Read:
    """An array of objects, taken apart one by one, so that it need not fit into memory."""

    def records() -> Iterator[Any]:
        with open() as text:
            yield from _Array(path, text).items()

    return _from_records(path, records)


class _Array:
    """Walks over the text of an array; `waiting[place:]` was read and not used yet."""

    def __init__(self, path: Path, text: TextIO) -> None:
        self.path = path
        self.text = text
        self.waiting = ""
        self.place = 0

    def items(self) -> Iterator[Any]:
        """Each item. Raises ConsilienceError where the text is no array."""
        if self.sign() != "[":
            raise fail(f"{self.path} is no array", "an array of objects, or .jsonl with one a line", "write it so")
        self.place += 1
        number, sign = 0, self.sign()
        while sign != "]":
            number += 1
            found = self.item(number)
            yield found
            sign = self.sign()
            if sign == ",":
                self.place += 1
            elif sign != "]":
                what = "the array ends" if sign == "" else "a comma is missing"
                raise fail(f"{self.path}: {what} after object {number}", "an array of objects", "mend it, or write it again")
        self.place += 1
        if self.sign():
            raise fail(f"{self.path} goes on after the end of its array", "one array of objects", "write it again")

    def item(self, number: int) -> Any:
        """The item that begins here; more is read until it is whole."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self.waiting, _BLANK.match(self.waiting, self.place).end())  # type: ignore[union-attr]
            except (ValueError, RecursionError) as error:
                if len(self.waiting) - self.place < LONGEST and self.more():
                    continue
                raise fail(f"{self.path}: object {number} is no JSON: {error}", "an object", "mend it") from None
            if end < len(self.waiting) or not self.more():  # a number may go on
                self.place = end
                return found

    def sign(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            self.place = _BLANK.match(self.waiting, self.place).end()  # type: ignore[union-attr]
            if self.place < len(self.waiting):
                return self.waiting[self.place]
            if not self.more():
                return ""

    def more(self) -> bool:
        """Read on, as much again as is waiting, so that a long item is not tried too often."""
        found = self.text.read(max(1 << 20, len(self.waiting) - self.place))
        if found:
            self.waiting, self.place = self.waiting[self.place :] + found, 0
        return bool(found)


_DECODER = json.JSONDecoder()


def _from_records(path: Path, records: Callable[[], Iterator[Any]]) -> Read:
    """Objects -> table. They are read twice: once for the names and types of their keys, once for the cells."""
    types: dict[str, pa.DataType | None] = {}
    for batch in _batched(path, records()):
        for name in dict.fromkeys(key for record in batch for key in record):
            column, text = column_of([record.get(name) for record in batch])
            types[name] = None if text else _common(types.get(name, pa.null()), column.type)
    while True:
        schema = pa.schema([pa.field(name, pa.string() if kind is None else _filled(kind)) for name, kind in types.items()])
        texts = [name for name, kind in types.items() if kind is None]
        try:
            return kept(schema, _cells(_batched(path, records()), schema, texts)), mixed(texts)
        except _Unfit as unfit:  # a whole number that no float is, among floats: only the cells tell, not their types
            types[unfit.column] = None


class _Unfit(Exception):  # noqa: N818 - no error: the column is read as text instead
    """Cells of a column do not fit the type that was found for it."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def _cells(batches: Iterator[list[dict[str, Any]]], schema: pa.Schema, texts: list[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        columns = []
        for field in schema:
            cells = [record.get(field.name) for record in batch]
            try:
                columns.append(pa.array([written(cell) for cell in cells] if field.name in texts else cells, field.type))
            except pa.ArrowInvalid:
                if field.name in texts:
                    raise
                raise _Unfit(field.name) from None
        yield pa.record_batch(columns, schema=schema)


def _batched(path: Path, records: Iterator[Any]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise fail(f"{path}: record {number} is {type(record).__name__}", "an object with a key a column", "write it so")
        batch.append(record)
        if len(batch) == ROWS // 8:
            yield batch
            batch = []
    if batch:
        yield batch


def _common(one: pa.DataType | None, two: pa.DataType) -> pa.DataType | None:
    """The type that holds the cells of both; None where only text does."""
    if one is None:
        return None
    try:
        fields = [pa.schema([pa.field("x", kind)]) for kind in (one, two)]
        return pa.unify_schemas(fields, promote_options="permissive").field("x").type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None


def _filled(type: pa.DataType) -> pa.DataType:
    """A column without any cell is one of empty text."""
    return pa.string() if pa.types.is_null(type) else type
