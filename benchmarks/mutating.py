"""How a file is changed: a few random edits of its bytes, or of the tree that it is."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np

EDGES = (0, 1, -1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 2, 1e308, -1e308, 10**30, 2**31, 2**63, 0.5, 4096, 1_000_000)
VALUES += ("", "x", "nan", "1e999", "../x", "\0", "\ud800", "é" * 50)
VALUES += ([], {}, [[]], [1], [0, -1], ["x"], [None], {"": 0}, {"kind": "fused"}, {"kind": 1})
PNG = b"\x89PNG\r\n\x1a\n"


def changed(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """`data` after 1 to 4 edits; `other` is another file of the kind, to take blocks from."""
    if data[:1] in b"{[" and rng.random() < 0.7:
        tree = _tree(data)
        if tree is not None:
            for _ in range(rng.integers(1, 4)):
                tree = edited(tree, rng)
            return json.dumps(tree).encode("utf-8", "surrogatepass")
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        _edit(found, other, rng)
    return _mended(bytes(found)) if found.startswith(PNG) and rng.random() < 0.7 else bytes(found)


def _tree(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _edit(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    place, length = (int(rng.integers(len(data) + 1)), int(min(1 << rng.integers(0, 9), len(data))))
    match rng.integers(10):
        case 0 | 1:
            for _ in range(rng.integers(1, 4)):
                if data:
                    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        case 2 | 3:  # an integer at an edge of its range
            size, order = int(2 ** rng.integers(0, 4)), ("little", "big")[rng.integers(2)]
            edge = EDGES[rng.integers(len(EDGES))] % (1 << 8 * size)
            data[place : place + size] = edge.to_bytes(size, order)  # type: ignore[arg-type]
        case 4:
            del data[place : place + length]
        case 5:
            data[place:place] = data[place : place + length]
        case 6:
            data[place:place] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        case 7:
            start = int(rng.integers(len(other) + 1))
            data[place : place + length] = other[start : start + length]
        case 8:
            del data[place:]
        case _:
            data[place : place + length] = bytes([(0, 0xFF, 0x20, 0x41)[rng.integers(4)]]) * length


def _mended(data: bytes) -> bytes:
    """A PNG whose chunks have the right check sums again, so that a decoder looks behind them."""
    found, place = bytearray(data), len(PNG)
    while place + 12 <= len(found):
        (length,) = struct.unpack_from(">I", found, place)
        if place + 12 + length > len(found):
            break
        check = zlib.crc32(found[place + 4 : place + 8 + length])
        found[place + 8 + length : place + 12 + length] = struct.pack(">I", check)
        place += 12 + length
    return bytes(found)


def edited(tree: Any, rng: np.random.Generator) -> Any:
    """A tree of JSON with one edit, at a place drawn evenly over its nodes."""
    places = _places(tree, ())
    path = places[rng.integers(len(places))]
    return _edited(tree, path, rng)


def _places(tree: Any, path: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    found = [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:50]) if isinstance(tree, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def _edited(tree: Any, path: tuple[Any, ...], rng: np.random.Generator) -> Any:
    if not path:
        return _instead(tree, rng)
    key, rest = path[0], path[1:]
    made = dict(tree) if isinstance(tree, dict) else list(tree)
    if not rest and rng.random() < 0.25:
        if isinstance(made, dict):
            value = made.pop(key)
            if rng.random() < 0.5:
                made[str(key) + ("x", "", " ", "\0")[rng.integers(4)] if rng.random() < 0.5 else "kind"] = value
        elif rng.random() < 0.5:
            made.pop(key)
        else:
            made += [made[key]] * int(rng.integers(1, 4))
        return made
    made[key] = _edited(tree[key], rest, rng)
    return made


def _instead(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return (value + 1, value - 1, -value, value * 2, value * 1000, float(value), value + 0.5, str(value))[rng.integers(8)]
    if isinstance(value, str) and rng.random() < 0.3:
        return (value + "x", value[:-1], value.upper(), value * 2, [value], value.replace(".", "/"))[rng.integers(6)]
    return VALUES[rng.integers(len(VALUES))]
