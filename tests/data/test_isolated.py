"""A reader may hang, crash or fill: what it leaves is a reason, and the next cell is read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import soundfile

from consilience import pipeline
from consilience.data import isolated
from consilience.data.schema import modality
from consilience.errors import ConsilienceError, Problem
from consilience.types import Claim, Column, Input, Limits, Missing, Sample, Several

SIXTY = Limits(isolate=60.0)
PHOTO = Input("photo", "image", ("photo",))

BREAKING = """
import os, time
import consilience.media as media

decode = media.decode_picture

def broken(data, limits, longest):
    match data:
        case b"crash":
            os.kill(os.getpid(), 11)
        case b"hang":
            time.sleep(1000)
        case b"fill":
            bytearray(1 << 40)
        case b"fault":
            raise AttributeError("a fault of ours")
        case b"talk":
            os.write(1, b"what a decoder prints")
        case b"write":
            open(os.environ["BESIDE"], "w").write("x" * 100)
    return decode(data, limits, longest)

media.decode_picture = broken
"""


@pytest.fixture
def breaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Readers that break at certain bytes, and only in this test."""
    (tmp_path / "sitecustomize.py").write_text(BREAKING)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("BESIDE", str(tmp_path / "beside"))
    monkeypatch.setattr(isolated, "_IDLE", type(isolated._IDLE)())
    before = set(isolated._READERS)
    yield
    for reader in isolated._READERS - before:
        reader.end()


def png(level: int = 0) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), (level, 1, 2)).save(file, "PNG")
    return file.getvalue()


def read(cell: Any, seconds: float = 60.0) -> Sample | Missing:
    modality("image")  # whoever asks has it
    return isolated.read(PHOTO, {"photo": cell}, Limits(isolate=seconds))


@pytest.mark.parametrize(
    ("cell", "reason"),
    [(b"crash", isolated.ENDED), (b"fill", isolated.FULL), (b"fault", isolated.ENDED), (b"?", "not an image")],
)
def test_what_breaks_a_reader_is_a_reason_and_the_next_cell_is_read(breaking: None, cell: bytes, reason: str) -> None:
    assert read(cell) == Missing(reason)
    assert not isinstance(read(png()), Missing)


def test_what_hangs_is_ended_in_time(breaking: None) -> None:
    assert not isinstance(read(png()), Missing)  # the reader is there
    started = time.monotonic()
    assert read(b"hang", 0.3) == Missing(isolated.SLOW)
    assert 0.3 <= time.monotonic() - started < 5
    assert not isinstance(read(png()), Missing)


def test_what_a_decoder_prints_is_no_answer(breaking: None) -> None:
    assert read(b"talk") == Missing("not an image")


@pytest.mark.skipif(os.name == "nt", reason="bounds of processes are those of POSIX")
def test_a_reader_writes_no_files(breaking: None, tmp_path: Path) -> None:
    read(b"write")
    assert (tmp_path / "beside").stat().st_size == 0


def test_a_reader_ends_with_whoever_asked(tmp_path: Path) -> None:
    code = (
        "import os; from consilience.data import isolated as i; from consilience.types import Input, Limits;"
        "i.read(Input('p', 'image', ('p',)), {'p': b'x'}, Limits(isolate=60.0));"
        "print(next(iter(i._READERS)).process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for _ in range(100):
        if not _alive(int(said)):
            return
        time.sleep(0.1)
    pytest.fail("the reader is still there")


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_readers_read_what_we_read(tmp_path: Path) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, np.sin(np.arange(800) / 9), 8000, format="WAV")
    array = io.BytesIO()
    np.save(array, np.array([[1.0, np.nan], [2.0, 3.0]]))
    (tmp_path / "a.png").write_bytes(png(9))
    cells: list[tuple[str, Any]] = [
        ("image", png()),
        ("image", tmp_path / "a.png"),
        ("image", tmp_path / "gone.png"),
        ("image", png()[:60]),
        ("audio", sound.getvalue()),
        ("audio", b"noise"),
        ("series", array.getvalue()),
    ]
    for kind, cell in cells:
        item = Input("it", kind, ("it",))
        ours, theirs = modality(kind).read(item, {"it": cell}, SIXTY), isolated.read(item, {"it": cell}, SIXTY)
        assert same(ours, theirs), (kind, ours, theirs)
    both = Input("it", "image", ("it",), many=True)
    found = isolated.read(both, {"it": [png(3), None, b"?", png(4)]}, SIXTY)
    assert isinstance(found, Several)
    assert [int(item.pixels[0, 0, 0]) for item in found.items] == [3, 4]  # type: ignore[attr-defined]
    assert found.notes == ("items that could not be read: empty", "items that could not be read: not an image")


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.__dataclass_fields__]
    return all(
        np.array_equal(a, b, equal_nan=True) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b for a, b in pairs
    )


def test_errors_of_ours_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("found", "expected", "do")
    monkeypatch.setattr(isolated._Reader, "ask", lambda *_: [problem] if _[1] is not None else "ready")
    monkeypatch.setattr(isolated, "_IDLE", type(isolated._IDLE)())
    with pytest.raises(ConsilienceError) as told:
        read(b"x")
    assert told.value.problems == (problem,)


def test_messages_come_back_as_they_were() -> None:
    column = Column(
        "c", [1, None, "a", b"\0\xff", [1.5, float("inf")], {"k": (1, 2)}], 6, 0, 6, Path("/x"), Limits(root=Path("/"))
    )
    for value in (column, Missing("x"), Claim(0.5, "r", many=True), np.arange(6.0).reshape(2, 3), [Problem("a")], "é\n", True):
        blocks: list[bytes] = []
        packed = isolated._packed(value, blocks)
        found = isolated._unpacked(packed, memoryview(b"".join(blocks)), isolated._classes())
        assert repr(found) == repr(value)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 16,
        b"\1" + b"\0" * 15 + b"{",
        b"\x10" + b"\0" * 15 + b'{"is":"os:kill"}',
        b"\x02" + b"\0" * 15 + b"{}",
    ],
)
def test_what_is_no_message_makes_nothing(answer: bytes) -> None:
    with pytest.raises((EOFError, ValueError, TypeError, KeyError)):
        isolated._received(io.BytesIO(answer))


def test_objects_are_not_taken_back() -> None:
    for kind in ("|O", "O8", "f8,(", "<U2", "datetime64[s]", ""):
        packed = {"is": "bytes", "start": 0, "length": 8, "dtype": kind, "shape": [1]}
        with pytest.raises(ValueError, match="no numbers"):
            isolated._unpacked(packed, memoryview(b"\0" * 8), {})


def test_a_table_is_read_by_readers_cell_by_cell(media: Path) -> None:
    table = pa.table({"photo": ["0.png", "gone.png", "1.png", None] * 5, "note": ["one two", "three", "four five", "six"] * 5})
    found = []
    for seconds in (None, 60.0):
        recipe = pipeline.whole_recipe(None, None, "fast", [{"limits": {"isolate": seconds}}])
        view = pipeline.opened(table, None, media, recipe)[1]
        rows = np.arange(20)
        shown = [getattr(sample, "pixels", sample) for sample in view.samples("photo", rows)]
        found.append((view.schema, list(view.reasons("photo", rows)), shown))
    (schema, reasons, pixels), (other_schema, other_reasons, other_pixels) = found
    assert schema == other_schema
    assert reasons == other_reasons
    assert all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in zip(pixels, other_pixels, strict=True))


def test_many_threads_have_readers_of_their_own() -> None:
    found: list[Sample | Missing] = []
    threads = [threading.Thread(target=lambda level=level: found.append(read(png(level)))) for level in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(item.pixels[0, 0, 0]) for item in found) == list(range(8))  # type: ignore[union-attr]
