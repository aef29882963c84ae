"""Checkpoints: what a training has got so far, kept in a folder, so that it goes on after its process or machine was lost.

A checkpoint is a State under a name. It is written beside its place, synced to the disk and renamed, and the one before stays
until the next is there. Each begins with the BLAKE2 digest of what follows; one that is torn or damaged is passed over, and
the one before it is taken. Nothing in the folder is executed when it is read.

One training at a time: a lock of the operating system (the package filelock), which a killed process cannot leave behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from consilience.errors import fail
from consilience.files import read_json, told, write_json
from consilience.types import State

EVERY = 60.0
"""Seconds between the checkpoints of what takes long."""

ENDED = 143
"""The exit code of a process that SIGTERM ended, after its checkpoint."""

ABOUT = "training.json"

_DIGEST = 32  # bytes
_JSON = "json"  # the array that holds the JSON of a state, as UTF-8


@dataclass
class Clock:
    """When the next checkpoint of something long is due: after `every` seconds, or at once where the process must end."""

    every: float = EVERY
    last: float = field(default_factory=lambda: time.monotonic())
    ending: Event = field(default_factory=Event)

    def due(self, every: float | None = None) -> bool:
        return self.ending.is_set() or time.monotonic() - self.last >= (self.every if every is None else every)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints below one name; `below` gives those of a part."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    request: Mapping[str, Any] = field(default_factory=dict)  # what was asked for, for whoever goes on with it
    prefix: str = ""

    def below(self, name: str) -> Checkpoints:
        return replace(self, prefix=f"{self.prefix}{quote(name, safe='')}+")

    def put(self, name: str, state: State) -> None:
        """Keep a state, and leave the process where it must end.

        Raises ConsilienceError where the disk is full: what was kept before is still there.
        """
        number = max(self._numbers(name), default=0) + 1
        path = self._path(name, number)
        beside = path.with_name(f".{path.name}.part")
        try:
            with beside.open("wb") as file:
                file.write(_packed(state))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(self.folder)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise fail(
                f"a checkpoint cannot be written to {self.folder}: {error.strerror}",
                "room for what is trained so far, twice",
                "free some, then go on with --resume: what was kept before is still there",
            ) from None
        for old in self._numbers(name)[:-2]:
            self._path(name, old).unlink(missing_ok=True)
        self.clock.last = time.monotonic()
        if self.clock.ending.is_set():
            raise SystemExit(ENDED)

    def get(self, name: str) -> State | None:
        """The newest state of that name that is whole; None where there is none."""
        for number in reversed(self._numbers(name)):
            try:
                return _unpacked(self._path(name, number).read_bytes())
            except (OSError, ValueError, KeyError, SafetensorError):
                continue  # torn or damaged: the one before it
        return None

    def drop(self, name: str) -> None:
        """What is no longer needed."""
        for number in self._numbers(name):
            self._path(name, number).unlink(missing_ok=True)

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{self.prefix}{quote(name, safe='')}.{number}.checkpoint"

    def _numbers(self, name: str) -> list[int]:
        head = f"{self.prefix}{quote(name, safe='')}."
        found = [path.name.removeprefix(head).removesuffix(".checkpoint") for path in self.folder.glob("*.checkpoint")]
        return sorted(int(text) for text in found if text.isdigit())


def _packed(state: State) -> bytes:
    head = json.dumps(state.json).encode()
    arrays = {f"={name}": np.ascontiguousarray(array) for name, array in state.arrays.items()}
    data = save({_JSON: np.frombuffer(head, np.uint8), **arrays})
    return hashlib.blake2b(data, digest_size=_DIGEST).digest() + data


def _unpacked(data: bytes) -> State:
    """Raises ValueError where it is not what was written."""
    body = data[_DIGEST:]
    if len(data) < _DIGEST or hashlib.blake2b(body, digest_size=_DIGEST).digest() != data[:_DIGEST]:
        raise ValueError("damaged")
    arrays = load(body)
    head = arrays.pop(_JSON).tobytes()
    return State(json.loads(head), {name.removeprefix("="): array for name, array in arrays.items()})


def _sync(folder: Path) -> None:
    """The name itself on the disk; Windows has no such call for folders."""
    if os.name == "posix":
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


@contextmanager
def training(checkpoints: Checkpoints, about: Mapping[str, Any]) -> Iterator[None]:
    """The folder of a training that is described by `about`, locked against any other.

    Raises ConsilienceError where another process trains here, and where what is kept is of another training.
    """
    from filelock import FileLock, Timeout

    folder = checkpoints.folder
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        with told(folder):
            lock.acquire(timeout=0)
    except Timeout:
        raise fail(f"another process trains in {folder}", "one at a time", "wait for it, or choose another --out") from None
    try:
        with told(folder):
            _check(folder / ABOUT, {**about, "request": checkpoints.request})
        yield
    finally:
        lock.release()


def _check(path: Path, about: Mapping[str, Any]) -> None:
    if not path.exists():
        beside = path.with_name(f".{path.name}.part")
        write_json(beside, about)
        beside.replace(path)
        return
    kept = read_json(path)
    other = sorted(key for key in kept.keys() | about.keys() if kept.get(key) != about.get(key))
    if other:
        raise fail(
            f"{path.parent} holds an unfinished training with other {' and '.join(other)}",
            "the same table, recipe, files and version",
            "go on with what it was begun with, or remove the folder to begin anew",
        )


def finished(folder: Path) -> None:
    """Remove what is no longer needed, the description last: until then it can be gone on from."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == ABOUT):
        path.unlink()
    shutil.rmtree(folder)
