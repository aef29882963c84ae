"""Bytes on disk by 16-byte keys, for every run and process that shares the folder: how encode once outlives a process.

Two kinds of shelf are kept. One for each encoder (by its fingerprint: preparation, learned state, weights) holds the tokens
that it returned, by the content of the sample that it was given; so a changed weight or preparation never finds an old token,
and equal samples share one. One for each modality holds what came of a cell, by the bytes of the cell: why it is missing, or
the content of its sample (`recalled`); so a cell whose tokens are there is not even decoded.

    FOLDER/<name>/<writer>.records   bytes, one record after the other
    FOLDER/<name>/<writer>.index     a fixed row for each record: key, place, length, check sums

Every writer has files of its own, only ever appended to, so that writers need no lock. A row of the index is written after its
record: a process that is killed in between leaves bytes that nobody knows of. Rows and records carry check sums (CRC-32); what
is torn or damaged is as if it were not there, and is made again. What `put` has taken is there after `kill -9`.

The folder is bounded: `trim` removes the files that were used longest ago.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from consilience.files import told

VARIABLE = "CONSILIENCE_CACHE"
"""The environment variable that names the folder; without it nothing is kept between processes."""

LIMIT = 20 << 30
"""Bytes of the folder, about."""

SEGMENT = 256 << 20
"""Bytes after which a writer begins a new file: what is removed is removed by the file."""

_ROW = np.dtype([("key", "V16"), ("start", "<u8"), ("count", "<u4"), ("check", "<u4"), ("row", "<u4")])
_COVERED = _ROW.itemsize - 4
_ORPHAN = 3600.0  # seconds after which numbers without an index are nobody's


def folder() -> Path | None:
    """Where tokens are kept between processes, if they are."""
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser().absolute() if named else None


def content(sample: Any) -> bytes:
    """16 bytes that stand for everything in a sample but its notes, which no encoder sees."""
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, sample)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    """Each value with its type and length before it, so that nothing reads as something else."""
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif is_dataclass(value):
        shown = [each.name for each in fields(value) if each.name != "notes"]
        digest.update(f"{type(value).__module__}:{type(value).__qualname__} {len(shown)} ".encode())
        for name in shown:
            _feed(digest, getattr(value, name))
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)} ".encode())
        for key in sorted(value):
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, list | tuple | set | frozenset):
        items = list(value) if isinstance(value, list | tuple) else sorted(value)
        digest.update(f"sequence {len(items)} ".encode())
        for item in items:
            _feed(digest, item)
    else:
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        digest.update(f"{type(value).__name__} {len(data)} ".encode() + data)


@dataclass(frozen=True)
class _Record:
    """Where a record lies: `count` bytes from byte `start` of a writer's file."""

    path: Path
    start: int
    count: int
    check: int


class Shelf:
    """The records of one name; safe to use from several threads and processes."""

    def __init__(self, root: Path, name: str, limit: int = LIMIT) -> None:
        self.root, self.place, self.limit = root, root / name, limit
        self.damaged = 0
        """How many records were found damaged, and left alone."""
        self._own: dict[bytes, _Record] = {}
        self._lost: set[bytes] = set()  # of the others', what is damaged or gone
        self._maps: dict[Path, np.memmap[Any, Any]] = {}
        self._writer: Path | None = None
        self._process = 0  # that the writer's file belongs to: a forked one has another
        self._lock = threading.RLock()
        found = [_Index.read(path) for path in sorted(self.place.glob("*.index"))] if self.place.is_dir() else []
        self._others = _Others(found)

    def __len__(self) -> int:
        return len(self._own) + len(self._others)

    def get(self, key: bytes) -> bytes | None:
        """What was put under that key; None where there is nothing that is sound."""
        with self._lock:
            record = self._own.get(key) or (None if key in self._lost else self._others.find(key))
            if record is None:
                return None
            data = self._read(record)
            if data is None or zlib.crc32(data) != record.check:
                self.damaged += 1
                self._lost.add(key)
                self._own.pop(key, None)
                return None
            return data

    def put(self, keys: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Keep a record under each key; the first stays. Raises ConsilienceError where the disk is full."""
        with self._lock, told(self.place):
            new = {key: each for key, each in zip(keys, records, strict=True) if not self._has(key)}
            if not new:
                return
            path = self._file()
            body = list(new.values())
            start = _append(path, b"".join(body))
            rows = np.zeros(len(new), _ROW)
            starts = start + np.cumsum([0, *map(len, body[:-1])])
            for row, key, data, at in zip(rows, new, body, starts.tolist(), strict=True):
                record = _Record(path, at, len(data), zlib.crc32(data))
                row["key"], row["start"], row["count"], row["check"] = key, at, record.count, record.check
                row["row"] = zlib.crc32(row.tobytes()[:_COVERED])
                self._own[key] = record
            _append(path.with_suffix(".index"), rows.tobytes())

    def _has(self, key: bytes) -> bool:
        return key in self._own or (key not in self._lost and self._others.find(key) is not None)

    def _file(self) -> Path:
        """The file to append to; a new one where there is none yet or it is long enough."""
        if self._writer is None or self._process != os.getpid() or _size(self._writer) not in range(SEGMENT):
            trim(self.root, self.limit)
            self.place.mkdir(parents=True, exist_ok=True)
            self._writer = self.place / f"{time.time_ns():x}-{uuid4().hex[:8]}.records"
            self._writer.touch()
            self._process = os.getpid()
        return self._writer

    def _read(self, record: _Record) -> bytes | None:
        """The bytes of a record; None where the file is gone or shorter."""
        if record.count == 0:
            return b""
        stop = record.start + record.count
        held = self._maps.get(record.path)
        if held is None or len(held) < stop:
            try:
                if record.path not in self._maps:
                    os.utime(record.path)  # used now: what was not is removed first
                held = self._maps[record.path] = np.memmap(record.path, np.uint8, "r")
            except (OSError, ValueError):  # gone, or empty
                return None
        return held[record.start : stop].tobytes() if len(held) >= stop else None


def _append(path: Path, data: bytes) -> int:
    """Write at the end of a file, by one call where the system takes it whole; where it began."""
    with path.open("ab", buffering=0) as file:
        start, left = file.seek(0, os.SEEK_END), memoryview(data)
        while left:
            left = left[file.write(left) :]
    return start


@dataclass(frozen=True)
class _Index:
    """The rows of a writer's index that are whole, and that its file is long enough for."""

    path: Path
    rows: np.ndarray

    @classmethod
    def read(cls, index: Path) -> _Index:
        path = index.with_suffix(".records")
        try:
            data, size = index.read_bytes(), path.stat().st_size
        except OSError:  # removed in this moment
            return cls(path, np.zeros(0, _ROW))
        rows = np.frombuffer(data[: len(data) // _ROW.itemsize * _ROW.itemsize], _ROW)
        whole = np.fromiter((zlib.crc32(row.tobytes()[:_COVERED]) for row in rows), np.uint32, len(rows)) == rows["row"]
        return cls(path, rows[whole & (rows["start"] + rows["count"] <= size)])


class _Others:
    """What others have put, sorted by key: 40 bytes a record, because there may be millions."""

    def __init__(self, found: Sequence[_Index]) -> None:
        self.paths = [each.path for each in found]
        rows = np.concatenate([np.zeros(0, _ROW), *(each.rows for each in found)])
        halves = np.frombuffer(rows["key"].tobytes(), "<u8").reshape(-1, 2)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        self.first, self.second = halves[order, 0], halves[order, 1]
        self.start, self.count, self.check = (rows[name][order] for name in ("start", "count", "check"))
        self.path = np.repeat(np.arange(len(found), dtype=np.uint32), [len(each.rows) for each in found])[order]

    def __len__(self) -> int:
        return len(self.first)

    def find(self, key: bytes) -> _Record | None:
        first, second = np.frombuffer(key, "<u8")
        low, high = (int(np.searchsorted(self.first, first, side)) for side in ("left", "right"))
        place = low + int(np.searchsorted(self.second[low:high], second, "right")) - 1  # the newest: put anew after damage
        if place < low or self.second[place] != second:
            return None
        which = self.paths[int(self.path[place])]
        return _Record(which, int(self.start[place]), int(self.count[place]), int(self.check[place]))


@dataclass(frozen=True)
class Held:
    """What lies in a folder."""

    shelves: int
    records: int
    bytes: int


def held(root: Path) -> Held:
    """How much there is."""
    files = list(root.glob("*/*.records"))
    rows = sum(_size(index) // _ROW.itemsize for index in root.glob("*/*.index"))
    return Held(len({path.parent for path in files}), rows, sum(map(_size, [*files, *root.glob("*/*.index")])))


def trim(root: Path, limit: int) -> int:
    """Remove the files that were used longest ago until `limit` bytes are left; how many bytes were removed."""
    files = []
    for path in root.glob("*/*.records"):
        with suppress(OSError):  # removed by another process
            about = path.stat()
            if about.st_mtime < time.time() - _ORPHAN and not path.with_suffix(".index").exists():
                path.unlink()
            else:
                files.append((about.st_mtime, about.st_size + _size(path.with_suffix(".index")), path))
    over, removed = sum(size for _, size, _ in files) - limit, 0
    for _, size, path in sorted(files):
        if removed >= over:
            break
        with suppress(OSError):  # Windows removes no file that is mapped
            path.with_suffix(".index").unlink(missing_ok=True)  # first: what is not known is not read
            path.unlink()
            removed += size
    for place in root.glob("*/"):
        with suppress(OSError):  # it is not empty; a new one may be somebody's who is about to write
            if limit == 0 or place.stat().st_mtime < time.time() - _ORPHAN:
                place.rmdir()
    return removed


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
