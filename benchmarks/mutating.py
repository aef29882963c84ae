"""How a file is changed: a few random edits of its bytes, or of what it is made of, with sizes and check sums mended.

Bytes alone rarely come past what a format checks first: a check sum, a length, a digest. So most mutants are taken
apart (JSON, YAML, headers of npy and safetensors, chunks of PNG and RIFF, what gzip packed), changed within, put together.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import yaml

EDGES = (0, 1, -1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 2, 1e308, -1e308, 10**30, 2**31, 2**63, 0.5, 4096, 1_000_000)
VALUES += ("", "x", "nan", "1e999", "../x", "\0", "\ud800", "é" * 50)
VALUES += ([], {}, [[]], [1], [0, -1], ["x"], [None], {"": 0}, {"kind": "fused"}, {"kind": 1})
WORDS = ("", "0", "-1", "nan", "inf", "-inf", "1e999", "1e-999", "9" * 40, "0x1F", "true", "null", "NA", "a", '"', "\n", ",")
WORDS += ("2024-02-30", "9999-12-31 23:59:59", "0001-01-01", "1677-01-01T00:00:00Z", "{", "[", "&x", "*x", "!!python/none", "é")
FLOATS = (np.nan, np.inf, -np.inf, 1e308, -1e308, 3e38, 1e-320, -0.0, 2.0**53, 1e10, -1.0)
PNG, NPY = b"\x89PNG\r\n\x1a\n", b"\x93NUMPY"

_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+")

Form = Callable[[bytes, bytes, np.random.Generator], bytes | None]
"""The bytes, those of another file, and draws -> a mutant; None where the bytes are of another form."""


def changed(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """`data` after 1 to 4 edits; `other` is another file of the kind, to take blocks from."""
    for form in FORMS if rng.random() < 0.7 else ():
        if rng.random() < 0.75 and (found := form(data, other, rng)) is not None:
            return found
    found = _edited_bytes(data, other, rng)
    return _mended(found) if found.startswith(PNG) and rng.random() < 0.7 else found


def _edited_bytes(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    found = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        _edit(found, other, rng)
    return bytes(found)


def _json(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    if data[:1] not in (b"{", b"["):
        return None
    lines = data.split(b"\n")
    place = int(rng.integers(len(lines)))
    try:
        tree = json.loads(data)
    except ValueError:
        try:
            tree = json.loads(lines[place])  # an object a line
        except ValueError:
            return None
        lines[place] = _dumped(_edited_often(tree, rng))
        return b"\n".join(lines)
    return _dumped(_edited_often(tree, rng))


def _yaml(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    if not data[:1].isalpha() or b":" not in data.split(b"\n", 1)[0]:
        return None
    try:
        tree = yaml.safe_load(data)
    except yaml.YAMLError:
        return None
    return yaml.safe_dump(_edited_often(tree, rng)).encode() if isinstance(tree, dict) else None


def _npy(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    """The header says something else, as Python; its length is mended."""
    if not data.startswith(NPY):
        return None
    code = "<H" if data[6] == 1 else "<I"
    start = 8 + struct.calcsize(code)
    (length,) = struct.unpack_from(code, data, 8)
    head = ast.literal_eval(data[start : start + length].decode("latin1"))
    head["shape"] = list(head["shape"])  # a tuple is no part of a tree of JSON
    tree = _edited_often(head, rng)
    if isinstance(tree, dict) and isinstance(tree.get("shape"), list):
        tree["shape"] = tuple(tree["shape"])
    text = repr(tree).encode("utf-8", "surrogatepass")[:0xFFF0] + b"\n"
    return data[:8] + struct.pack(code, len(text)) + text + data[start + length :]


def _safetensors(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    """Another header, or other numbers behind one that holds."""
    if len(data) < 10 or data[8:9] != b"{" or not 2 <= (length := int.from_bytes(data[:8], "little")) <= len(data) - 8:
        return None
    head, body = data[8 : 8 + length], bytearray(data[8 + length :])
    try:
        tree = json.loads(head)
    except ValueError:
        return None
    if rng.random() < 0.5 or not body:
        head = _dumped(_edited_often(tree, rng))
    else:
        for _ in range(rng.integers(1, 5)):
            _overwrite(body, rng)
    return len(head).to_bytes(8, "little") + head + bytes(body)


def _gzip(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    if data[:2] != b"\x1f\x8b":
        return None
    inner = gzip.decompress(other) if other[:2] == b"\x1f\x8b" else other
    return gzip.compress(changed(gzip.decompress(data), inner, rng), 1, mtime=0)


def _png(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    """Chunks with right lengths and check sums; the pixels of one are unpacked first."""
    if not data.startswith(PNG):
        return None
    chunks, place = [], len(PNG)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    made = _edited_chunks(chunks, other, rng)
    return PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in made
    )


def _riff(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    """WAV and WEBP: chunks with right sizes, and that of the whole."""
    if not data.startswith(b"RIFF"):
        return None
    chunks, place = [], 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        chunks.append((data[place : place + 4], data[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    made = _edited_chunks(chunks, other, rng)
    body = data[8:12] + b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in made)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _edited_chunks(chunks: list[tuple[bytes, bytes]], other: bytes, rng: np.random.Generator) -> list[tuple[bytes, bytes]]:
    """One chunk changed, copied to another place, or gone."""
    made, place, what = list(chunks), int(rng.integers(len(chunks))), rng.random()
    name, body = made[place]
    if what < 0.1:
        made.pop(place)
    elif what < 0.2:
        made.insert(int(rng.integers(len(made) + 1)), made[place])
    elif name == b"IDAT" and what < 0.6:
        made[place] = (name, zlib.compress(_edited_bytes(zlib.decompress(body), other, rng)))
    else:
        found = bytearray(body)
        if rng.random() < 0.7:
            _overwrite(found, rng)
        else:
            _edit(found, other, rng)
        made[place] = (name, bytes(found))
    return made


def _text(data: bytes, other: bytes, rng: np.random.Generator) -> bytes | None:
    """Words of a text that are others: cells of a CSV, numbers of a header."""
    words = [] if b"\0" in data or not data.isascii() else list(_TOKEN.finditer(data))
    if not words:
        return None
    for _ in range(rng.integers(1, 4)):
        word = words[rng.integers(len(words))]
        instead = WORDS[rng.integers(len(WORDS))].encode() if rng.random() < 0.7 else words[rng.integers(len(words))][0]
        data = data[: word.start()] + instead + data[word.end() :]
    return data


FORMS: tuple[Form, ...] = (_gzip, _npy, _png, _riff, _safetensors, _json, _yaml, _text)
"""The first that the bytes are of is mostly taken; JSON and YAML are texts too."""


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    """An integer or a float at an edge of its range, where one may stand; the length stays."""
    size = int(2 ** rng.integers(0, 4))
    if len(data) < size:
        return
    place = int(rng.integers(len(data) // size)) * size
    if size >= 4 and rng.random() < 0.5:
        with np.errstate(over="ignore"):
            made = np.array(FLOATS[rng.integers(len(FLOATS))], f"<f{size}").tobytes()
    else:
        order = ("little", "big")[rng.integers(2)]
        made = (EDGES[rng.integers(len(EDGES))] % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]
    data[place : place + size] = made


def _dumped(tree: Any) -> bytes:
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _edited_often(tree: Any, rng: np.random.Generator) -> Any:
    for _ in range(rng.integers(1, 4)):
        tree = edited(tree, rng)
    return tree


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
