"""What came of a cell of media, remembered by its bytes, so that it is not decoded again: why it is missing, or the content of
its sample and what was noted.

The key says everything that decides it: the bytes of the file (and its ending, which tells a format), the modality, the kind of
the column, the limits, and the versions of this package and of the decoders. What is fetched from a URL may change and is not
remembered; nor is what depends on the machine of the moment, such as a reader that took too long.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from consilience.data.isolated import ENDED, FULL, SLOW
from consilience.data.shelf import content
from consilience.media import ending, is_url, read_bytes
from consilience.types import Cell, Input, Limits, Missing, Sample

_PASSING = frozenset({SLOW, ENDED, FULL, "cannot be read", "no permission"})
"""Reasons that may be gone when the same bytes are read again."""

_DECODERS = ("consilience", "pillow", "soundfile", "av", "numpy", "pyarrow")


@dataclass(frozen=True)
class Outcome:
    """`reason` why a cell is missing, or "" and the `content` of its sample, with its notes."""

    reason: str
    content: bytes
    notes: tuple[str, ...]


def key(input: Input, cells: Mapping[str, Cell], limits: Limits) -> bytes | None:
    """16 bytes that stand for all that decides what is read of the cells, located; None where that is not remembered."""
    digest = hashlib.blake2b(
        f"{input.modality} {input.kinds} {input.many} {_limits(limits)} {_versions()}".encode(), digest_size=16
    )
    for cell in cells.values():
        if not _feed(digest, cell, limits):
            return None
    return digest.digest()


def _feed(digest: Any, cell: Cell, limits: Limits) -> bool:
    if isinstance(cell, list | tuple):
        digest.update(f"list {len(cell)} ".encode())
        return all(_feed(digest, item, limits) for item in cell)
    if is_url(cell):
        return False
    data = read_bytes(cell, limits) if isinstance(cell, Path) else cell
    if isinstance(data, Missing) or not isinstance(data, bytes | str):
        return False  # quickly read again
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    digest.update(f"{type(cell).__name__} {ending(cell) if isinstance(cell, Path) else ''} {len(data)} ".encode() + data)
    return True


def remembered(sample: Sample | Missing) -> bytes | None:
    """As it is kept; None for what may be otherwise next time."""
    if isinstance(sample, Missing):
        return None if sample.reason in _PASSING else json.dumps([sample.reason, "", []]).encode()
    return json.dumps(["", content(sample).hex(), list(sample.notes)]).encode()


def outcome(data: bytes) -> Outcome:
    """What `remembered` gave."""
    reason, named, notes = json.loads(data)
    return Outcome(reason, bytes.fromhex(named), tuple(notes))


def _limits(limits: Limits) -> str:
    """Those that decide what is read; not where files may lie, nor for how long."""
    said = asdict(limits)
    return repr([(name, said[name]) for name in sorted(said) if name not in ("root", "outside", "isolate", "urls")])


@cache
def _versions() -> str:
    found = []
    for name in _DECODERS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
