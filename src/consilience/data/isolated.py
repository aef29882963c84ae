"""Media read in processes of their own, which a bad file may hang, crash or fill without harm to ours.

Decoders are written in C, and a file from a stranger may be made to break them. With `limits.isolate` every cell that holds
or names a file is read in a reader: a process without the right to write files, with a bound on its memory, that is killed
when it takes longer than so many seconds. What it leaves is `Missing` with that reason, and the next cell has a new reader.

Nothing is pickled on the way, because what a broken reader sends is a stranger's too: messages are JSON with numbers and bytes
behind it, and only the classes that are known here are made of them. A reader takes half a second to start, and a cell half a
millisecond more than here.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from consilience.errors import ConsilienceError, Problem
from consilience.media import is_url
from consilience.types import Cell, Claim, Column, Input, Limits, Missing, Sample

MEMORY = 4 << 30
"""Bytes of address space that a reader may have."""

SLOW, ENDED, FULL = "took too long to read", "broke its reader", "over the memory limit"

_START = 60.0  # seconds until a reader must be there
_HEAD = struct.Struct("<QQ")  # bytes of JSON, and bytes behind it
_LARGEST = 1 << 32
_DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}")  # numpy reads more than this as Python


def holds_file(cell: Cell) -> bool:
    """Is there something to decode: bytes, a file, a URL, or a list with one? Other cells are read by code of our own."""
    if isinstance(cell, list | tuple):
        return any(map(holds_file, cell))
    return isinstance(cell, bytes | Path) or is_url(cell)


def may_hold_file(cell: Cell) -> bool:
    """May a modality, asked whether the column is its own, open something? A string may be the name of a file."""
    return isinstance(cell, str) or holds_file(cell) or (isinstance(cell, list | tuple) and any(map(may_hold_file, cell)))


def read(input: Input, cells: Mapping[str, Cell], limits: Limits) -> Sample | Missing:
    """What the input's modality reads of the cells, in a reader. Raises what it raises that is a ConsilienceError."""
    assert limits.isolate is not None
    found = _ask({"input": input, "cells": dict(cells), "limits": limits}, limits.isolate)
    return found if isinstance(found, Sample | Missing) else Missing(ENDED)


def detect(modality: str, many: bool, column: Column) -> Claim | None:
    """What a modality of media says of a column, in a reader; None where the column breaks it."""
    assert column.limits.isolate is not None
    found = _ask({"modality": modality, "many": many, "column": column}, column.limits.isolate * max(1, len(column.cells)))
    return found if isinstance(found, Claim) else None


def _ask(request: Mapping[str, Any], seconds: float) -> Any:
    try:
        reader = _IDLE.get_nowait()
    except queue.Empty:
        reader = _Reader()
    found = reader.ask(request, seconds)
    if reader.there:
        _IDLE.put(reader)
    if isinstance(found, list) and found and isinstance(found[0], Problem):
        raise ConsilienceError(*found)
    return found


class _Reader:
    """One process. Once it is not `there` any more it is not asked again."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "consilience.data.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for us to answer: what is trained so far is still read for
        )
        _READERS.add(self)
        self.there = True
        hello = self.ask(None, _START)
        assert hello == "ready", "a reader could not be started"

    def ask(self, request: Any, seconds: float) -> Any:
        """The answer; `Missing` where there is none in time, or none at all, and then the process is gone."""
        assert self.process.stdin is not None and self.process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            if request is not None:
                _send(self.process.stdin, request)
            found = _received(self.process.stdout)
        except (OSError, EOFError, ValueError, TypeError, KeyError):  # it is gone, or sends what is no message
            found, self.there = Missing(ENDED), False
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():
            found, self.there = Missing(SLOW), False
        if not self.there:
            self.end()
        return found

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.there = False
        self.process.kill()
        with suppress(BrokenPipeError):  # half a request may still be on its way
            self.process.communicate()
        _READERS.discard(self)


_IDLE: queue.LifoQueue[_Reader] = queue.LifoQueue()
_READERS: set[_Reader] = set()


@atexit.register
def _end() -> None:
    for reader in tuple(_READERS):
        reader.end()


def _send(pipe: IO[bytes], value: Any) -> None:
    blocks: list[bytes] = []
    head = json.dumps(_packed(value, blocks)).encode()
    pipe.write(_HEAD.pack(len(head), sum(map(len, blocks))) + head)
    for block in blocks:
        pipe.write(block)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Any:
    """Raises EOFError where the other side is gone, and ValueError, TypeError or KeyError for what is no message."""
    head, body = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    if head > _LARGEST or body > _LARGEST:
        raise ValueError("too large")
    return _unpacked(json.loads(_exactly(pipe, head)), memoryview(_exactly(pipe, body)), _classes())


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data


def _packed(value: Any, blocks: list[bytes]) -> Any:
    """As JSON; bytes and arrays are put into `blocks` and stand here by their place among them."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | np.ndarray):
        start = sum(map(len, blocks))
        blocks.append(value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes())
        kind = {} if isinstance(value, bytes) else {"dtype": value.dtype.str, "shape": list(value.shape)}
        return {"is": "bytes", "start": start, "length": len(blocks[-1]), **kind}
    if isinstance(value, Path):
        return {"is": "path", "path": str(value)}
    if isinstance(value, list | tuple):
        return {"is": type(value).__name__, "items": [_packed(item, blocks) for item in value]}
    if isinstance(value, Mapping):
        return {"is": "dict", "items": [[key, _packed(item, blocks)] for key, item in value.items()]}
    if is_dataclass(value):
        known = {each.name: _packed(getattr(value, each.name), blocks) for each in fields(value)}
        return {"is": _name(type(value)), "fields": known}
    return str(value)  # a cell that no modality of media reads, whatever it is


def _unpacked(value: Any, body: memoryview, classes: Mapping[str, type]) -> Any:
    if not isinstance(value, dict):
        return value
    match value["is"]:
        case "bytes":
            data = body[value["start"] : value["start"] + value["length"]]
            if "dtype" not in value:
                return bytes(data)
            if not _DTYPE.fullmatch(value["dtype"]):
                raise ValueError("no numbers")
            return np.frombuffer(data, value["dtype"]).reshape(value["shape"]).copy()
        case "path":
            return Path(value["path"])
        case "list":
            return [_unpacked(item, body, classes) for item in value["items"]]
        case "tuple":
            return tuple(_unpacked(item, body, classes) for item in value["items"])
        case "dict":
            return {key: _unpacked(item, body, classes) for key, item in value["items"]}
        case name:
            return classes[name](**{key: _unpacked(item, body, classes) for key, item in value["fields"].items()})


def _classes() -> dict[str, type]:
    """What a message may be made of: our own few classes, and every kind of sample there is."""
    return {_name(cls): cls for cls in (Missing, Problem, Claim, Column, Input, Limits, *_below(Sample))}


def _below(cls: type) -> Iterator[type]:
    for each in cls.__subclasses__():
        yield each
        yield from _below(each)


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _bounded() -> None:
    """Take from this process what a reader needs not."""
    try:
        import resource
    except ImportError:  # not on Windows: there a reader is killed when it is slow, and may be as large as it likes
        return
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


def _alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def main() -> None:
    """Be a reader: answer requests until there are no more."""
    from consilience.data.schema import modality, several

    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a decoder prints is no answer
    _bounded()
    _send(answers, "ready")
    while True:
        try:
            request = _received(requests)
        except EOFError:
            return
        item = request.get("input")
        name, many = (item.modality, item.many) if item is not None else (request["modality"], request["many"])
        kind = several(name) if many else modality(name)
        limits = request["limits"] if item is not None else request["column"].limits
        _alarm(math.ceil(limits.isolate) + 1)  # whoever asked may be gone, and then nobody else ends it
        try:
            found = kind.read(item, request["cells"], limits) if item is not None else kind.detect(request["column"])
        except ConsilienceError as error:
            found = list(error.problems)
        except MemoryError:
            found = Missing(FULL)
        _alarm(0)
        _send(answers, found)


if __name__ == "__main__":
    main()
