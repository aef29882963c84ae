"""Tokens on disk: what was put is there, and what is torn, flipped, gone or of another encoder is not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consilience import pipeline
from consilience.data import shelf
from consilience.data.shelf import Shelf, content, held, trim
from consilience.errors import ConsilienceError
from consilience.modalities.image import Picture
from consilience.modalities.tabular.record import Record
from consilience.modalities.text import Passage
from consilience.types import Several


def key(number: int) -> bytes:
    return content(Passage(text=str(number)))


def tokens(number: int, count: int = 2) -> bytes:
    return np.full((count, 3), number, np.float32).tobytes()


def numbers(data: bytes | None) -> np.ndarray:
    assert data is not None
    return np.frombuffer(data, np.float32).reshape(-1, 3)


def filled(root: Path, count: int = 5, name: str = "f") -> Shelf:
    made = Shelf(root, name)
    for number in range(count):
        made.put([key(number)], [tokens(number, number)])
    return made


def parts(root: Path) -> tuple[Path, Path]:
    (tokens_,), (index,) = root.glob("*/*.records"), root.glob("*/*.index")
    return tokens_, index


def found(root: Path, count: int = 5) -> list[int]:
    """Which of the records are there, each as it was put."""
    read, there = Shelf(root, "f"), []
    for number in range(count):
        data = read.get(key(number))
        if data is not None:
            one = numbers(data)
            assert one.shape == (number, 3) and (one == number).all()
            there.append(number)
    return there


def test_what_was_put_is_there_for_others_and_for_oneself(tmp_path: Path) -> None:
    made = filled(tmp_path)
    assert [numbers(made.get(key(number))).shape for number in range(5)] == [(number, 3) for number in range(5)]
    assert made.get(key(9)) is None
    assert found(tmp_path) == [0, 1, 2, 3, 4]
    assert held(tmp_path).records == 5
    assert Shelf(tmp_path, "another").get(key(1)) is None
    made.put([key(1)], [tokens(7)])  # it is there already: the first stays
    assert found(tmp_path) == [0, 1, 2, 3, 4]


def test_every_cut_of_the_numbers_loses_what_it_cuts_and_nothing_else(tmp_path: Path) -> None:
    filled(tmp_path)
    path, _ = parts(tmp_path)
    data = path.read_bytes()
    ends = np.cumsum([number * 12 for number in range(5)])
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert found(tmp_path) == [number for number in range(5) if ends[number] <= length]


def test_every_cut_of_the_index_loses_what_it_cuts_and_nothing_else(tmp_path: Path) -> None:
    filled(tmp_path)
    _, index = parts(tmp_path)
    data = index.read_bytes()
    for length in range(len(data)):
        index.write_bytes(data[:length])
        assert found(tmp_path) == list(range(length // (len(data) // 5)))


@pytest.mark.parametrize("which", [0, 1])
def test_a_bit_that_flips_loses_one_record_and_changes_none(which: int, tmp_path: Path) -> None:
    filled(tmp_path)
    path = parts(tmp_path)[which]
    data = path.read_bytes()
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(broken))
        assert len(found(tmp_path)) == 4


def test_what_is_damaged_is_counted_and_can_be_put_again(tmp_path: Path) -> None:
    filled(tmp_path)
    path, _ = parts(tmp_path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    read = Shelf(tmp_path, "f")
    assert read.get(key(3)) is None
    assert read.damaged == 1
    read.put([key(3)], [tokens(3, 3)])
    assert (numbers(read.get(key(3))) == 3).all()
    assert 3 in found(tmp_path)


def test_writers_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path; from consilience.data.shelf import Shelf\n"
        "from tests_key import key\nshelf = Shelf(Path(sys.argv[1]), 'f')\n"
        "for number in range(int(sys.argv[2]), 400, 2):\n"
        "    shelf.put([key(number)], [np.full((number % 5, 3), number, np.float32).tobytes()])\n"
    )
    (tmp_path / "tests_key.py").write_text(
        "from consilience.data.shelf import content\nfrom consilience.modalities.text import Passage\n"
        "def key(number): return content(Passage(text=str(number)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "c", str(first)], env=environment) for first in (0, 1)]
    assert [writer.wait() for writer in writers] == [0, 0]
    read = Shelf(tmp_path / "c", "f")
    assert len(read) == 400
    assert all((numbers(read.get(key(number))) == number).all() for number in range(400))


def test_threads_share_a_shelf(tmp_path: Path) -> None:
    made = Shelf(tmp_path, "f")

    def write(first: int) -> None:
        for number in range(first, 200, 4):
            made.put([key(number)], [tokens(number, number % 4)])
            assert (numbers(made.get(key(number))) == number).all()

    threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = Shelf(tmp_path, "f")
    assert all((numbers(read.get(key(number))) == number).all() for number in range(200))


def test_what_was_used_longest_ago_is_removed_first(tmp_path: Path) -> None:
    for place, name in enumerate(("old", "used", "new")):
        filled(tmp_path, name=name)
        for path in (tmp_path / name).iterdir():
            os.utime(path, (place + 1, place + 1))
    size = held(tmp_path).bytes
    Shelf(tmp_path, "old").get(key(1))  # used now
    assert trim(tmp_path, size) == 0
    assert trim(tmp_path, size - 1) == size // 3
    assert not list(tmp_path.glob("used/*"))
    assert held(tmp_path).shelves == 2
    assert trim(tmp_path, 0) == 2 * size // 3
    assert held(tmp_path) == shelf.Held(0, 0, 0)


def test_a_file_that_is_removed_while_it_is_known_is_as_if_it_had_not_been(tmp_path: Path) -> None:
    filled(tmp_path)
    read = Shelf(tmp_path, "f")
    trim(tmp_path, 0)
    assert read.get(key(2)) is None
    read.put([key(2)], [tokens(2)])
    assert (numbers(read.get(key(2))) == 2).all()


def test_a_writer_begins_a_new_file_when_one_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "SEGMENT", 100)
    made = filled(tmp_path, 30)
    assert len(list(tmp_path.glob("f/*.records"))) > 5
    assert found(tmp_path, 30) == list(range(30))
    made.limit = 600
    made.put([key(30)], [tokens(30, 30)])
    made.put([key(31)], [tokens(31, 31)])
    assert held(tmp_path).bytes < 1500


def test_numbers_without_an_index_are_removed_when_they_are_old(tmp_path: Path) -> None:
    filled(tmp_path)
    path, index = parts(tmp_path)
    index.unlink()
    trim(tmp_path, 10**9)
    assert path.exists()  # a writer may be about to write its index
    os.utime(path, (time.time() - 10_000,) * 2)
    trim(tmp_path, 10**9)
    assert not path.exists()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = filled(tmp_path)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shelf, "_append", full)
        with pytest.raises(ConsilienceError, match="No space left on device"):
            made.put([key(9)], [tokens(9)])
    assert found(tmp_path) == [0, 1, 2, 3, 4]
    made.put([key(5)], [tokens(5, 5)])
    assert found(tmp_path, 6) == [0, 1, 2, 3, 4, 5]


def test_contents_are_equal_only_where_everything_is(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    different = [
        Passage(text="a"),
        Passage(text="b"),
        Picture(pixels=pixels),
        Picture(pixels=pixels.reshape(6, 4, 3)),
        Picture(pixels=pixels + np.uint8(1)),
        Record(values={"a": 1.0, "b": None}),
        Record(values={"a": 1.0, "b": "None"}),
        Record(values={"a": "1.0", "b": None}),
        Record(values={"b": 1.0, "a": None}),
        Record(values={"a": 1.0, "b": None}, dates=frozenset({"a"})),
        Several(items=(Passage(text="a"), Passage(text="b"))),
        Several(items=(Passage(text="ab"),)),
        Several(items=(Passage(text="a"),)),
    ]
    assert len(set(map(content, different))) == len(different)
    assert content(Passage(text="a", notes=("cut",))) == content(Passage(text="a"))
    assert content(Record(values={"a": 1.0, "b": 2.0})) == content(Record(values={"b": 2.0, "a": 1.0}))


@pytest.fixture
def view(media: Path, columns: Callable[..., dict[str, list[str | None]]]) -> Callable[..., Any]:
    def make(**changed: Any) -> Any:
        table = pa.table({**columns(40), **changed})
        return pipeline.opened(table, None, media, pipeline.whole_recipe(None, "answer", "fast", []))[1]

    return make


def test_nothing_is_encoded_twice_in_any_process(
    view: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consilience.predictors.base import make_encoder
    from consilience.predictors.linear import Linear
    from consilience.train.features import fit_encoders

    rows = np.arange(40)

    def tokens_of(made: Any) -> tuple[np.ndarray, int]:
        encoder = make_encoder(Linear.Config(), made.schema["photo"])
        fit_encoders({"photo": encoder}, made, rows[:30], 0)
        before = made.store.encoded
        return made.tokens(encoder, "photo", rows).values.numpy(), made.store.encoded - before

    plain, encoded = tokens_of(view())
    assert encoded > 30
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "cache"))
    first, once = tokens_of(view())
    again, none = tokens_of(view())
    assert np.array_equal(plain, first) and np.array_equal(plain, again)
    assert 0 < once <= encoded and none == 0
    damaged = view().damaged("photo", "noise", 0.5, 0)
    encoder = make_encoder(Linear.Config(), damaged.schema["photo"])
    fit_encoders({"photo": encoder}, view(), rows[:30], 0)
    damaged.tokens(encoder, "photo", rows)
    assert damaged.store.encoded > 30  # another content


def test_equal_cells_are_encoded_once(view: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from consilience.predictors.base import make_encoder
    from consilience.predictors.linear import Linear
    from consilience.train.features import fit_encoders

    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path))
    made = view(photo=["1.png", "2.png"] * 20)
    encoder = make_encoder(Linear.Config(), made.schema["photo"])
    fit_encoders({"photo": encoder}, made, np.arange(30), 0)
    before = made.store.encoded
    found = made.tokens(encoder, "photo", np.arange(40)).values
    assert made.store.encoded - before == 2
    assert (found[0::2] == found[0]).all() and (found[1::2] == found[1]).all()
    assert not (found[0] == found[1]).all()


def test_records_of_columns_are_not_kept(view: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from consilience.predictors.base import make_encoder
    from consilience.predictors.linear import Linear
    from consilience.train.features import fit_encoders

    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path))
    made = view()
    encoder = make_encoder(Linear.Config(), made.schema["tabular"])
    fit_encoders({"tabular": encoder}, made, np.arange(30), 0)
    made.tokens(encoder, "tabular", np.arange(40))
    assert held(tmp_path).records == 0
