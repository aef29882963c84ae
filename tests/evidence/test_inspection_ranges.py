"""Ranges of columns: order statistics by hand, what modalities say of their samples, and cells that try to break them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import soundfile

import consilience
from consilience.evidence import inspection_ranges as module
from consilience.evidence.inspection_ranges import COMMON, SHOWN, VALUES, Range, even, shown


def ranges(columns: Mapping[str, Any], root: Path | None = None, **settings: Any) -> dict[str, Range]:
    found = consilience.inspect(pa.table(dict(columns)), media_root=root, settings=[settings])
    return {column.name: column.range for column in found.columns}


def marks(least: Any, lower: Any, median: Any, upper: Any, greatest: Any) -> dict[str, Any]:
    return {"least": least, "lower quartile": lower, "median": median, "upper quartile": upper, "greatest": greatest}


def test_numbers_are_values_of_the_table() -> None:
    found = ranges({"x": ["10", "2", "", "7.5", "100", "3", "?"] * 10})["x"]
    # Of 50 sorted values, ten each of 2, 3, 7.5, 10, 100, those at places 0, 12, 24, 37 and 49.
    assert found == Range("numbers", 50, marks(2.0, 3.0, 7.5, 10.0, 100.0))


def test_dates_are_written_as_dates() -> None:
    days = ["2020/3/1", "2019-12-31 23:30:00", "2021-01-05", "2020-03-01", None] * 8
    found = ranges({"x": days, "y": [str(row % 3) for row in range(40)]})["x"]
    assert found == Range("dates", 32, marks("2019-12-31 23:30:00", "2020-03-01", "2020-03-01", "2020-03-01", "2021-01-05"))


def test_values_are_counted_as_the_modality_writes_them() -> None:
    found = ranges({"x": ["red", " red", "blue", None] * 10, "y": ["True", "true", "FALSE", "True"] * 10})
    assert found["x"] == Range("values", 30, {}, 2, (("red", 20), ("blue", 10)))
    assert found["y"] == Range("values", 40, {}, 2, (("true", 30), ("false", 10)))


def test_of_many_values_the_most_frequent_are_shown() -> None:
    words = [f"w{label}" for label in range(12) for _ in range(30 - label)]
    found = ranges({"x": words})["x"]
    assert (found.different, found.cells) == (12, len(words))
    assert found.common == tuple((f"w{label}", 30 - label) for label in range(COMMON))


def test_a_column_that_is_no_input_is_told_from_its_cells() -> None:
    count = VALUES + 5
    columns = {
        "keep": [str(row % 5) for row in range(count)],
        "few": [str(row % 20) for row in range(count)],
        "more": [str(row % 21) for row in range(count)],
        "mixed": [*(str(row) for row in range(count - 1)), "n/a"],
        "bytes": [b"\0" * (row % 3) for row in range(count)],
        "lists": [[row % 2] for row in range(count)],
    }
    found = ranges(columns, exclude=["few", "more", "mixed", "bytes", "lists"])
    assert (found["few"].form, found["few"].different) == ("values", 20)
    assert found["more"] == Range("numbers", count, marks(0.0, 5.0, 10.0, 15.0, 20.0))
    assert found["mixed"] == Range("values", count, {})
    assert found["bytes"].common == (("0 bytes", 335), ("1 bytes", 335), ("2 bytes", 335))
    assert found["lists"].common == (("[0]", 503), ("[1]", 502))


def test_media_and_text_say_themselves_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for row in range(10):
        pixels = rng.integers(0, 255, (4 + row, 8, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        soundfile.write(tmp_path / f"{row}.wav", rng.normal(0, 0.1, 800 * (row + 1)), 8000)
        np.save(tmp_path / f"{row}.npy", rng.normal(0, 1, (30 - row, 2)))
    columns = {kind: [f"{row}.{kind}" for row in range(10)] for kind in ("png", "wav", "npy")}
    columns["text"] = ["one two three", *(f"some words that differ and end in {'la ' * row}" for row in range(1, 10))]
    columns["photos"] = [f'["{row}.png", "1.png"]' if row else '["0.png"]' for row in range(10)]
    found = ranges(columns, tmp_path)
    assert found["png"].marks == {"least": "8 x 4 pixels", "median": "8 x 8 pixels", "greatest": "8 x 13 pixels"}
    assert found["wav"].marks == {"least": "0.1 s at 8 kHz", "median": "0.5 s at 8 kHz", "greatest": "1 s at 8 kHz"}
    assert found["npy"].marks == {
        "least": "21 steps of 2 channels",
        "median": "25 steps of 2 channels",
        "greatest": "30 steps of 2 channels",
    }
    assert found["text"].marks["least"] == "3 words, 13 characters"
    assert found["text"].marks["greatest"] == "16 words, 60 characters"
    assert found["photos"].marks["least"] == "1 item: 8 x 4 pixels"
    assert found["photos"].marks["greatest"] == "2 items, the first 8 x 13 pixels"
    assert {name: span.cells for name, span in found.items()} == dict.fromkeys(found, 10)


def test_the_rate_of_a_series_and_single_things_are_said_right(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,x\n0,1\n0.5,2\n1,3\n")
    found = ranges({"s": ["a.csv"] * 3 + [None], "t": ["[1.0]", "[2.0]", "[3.5]", None]}, tmp_path)
    assert found["s"].marks == {"all": "3 steps, 2 a second"}
    assert found["t"].marks == {"all": "1 step"}


def test_of_many_texts_the_sizes_of_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZED", 20)
    found = ranges({"x": [f"a text of number {row} that is free" for row in range(100)]})["x"]
    assert found == Range("sizes", 20, found.marks)


def test_a_column_of_nothing_has_no_range() -> None:
    found = ranges({"x": [None] * 5, "y": ["1", "2", "2", "2", "1"]})
    assert found["x"] == Range("values", 0, {}, 0)


def test_even_draws_one_row_of_each_stretch() -> None:
    assert even(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert even(0, 5).tolist() == []
    drawn = even(23, 10)
    ends = [0, 2, 4, 6, 9, 11, 13, 16, 18, 20, 23]
    assert all(start <= row < stop for row, start, stop in zip(drawn.tolist(), ends, ends[1:], strict=False))
    assert np.array_equal(drawn, even(23, 10))
    # Rows of two kinds by turns: both are drawn about as often.
    assert 400 < (even(2000, 1000) % 2).sum() < 600


def test_cells_are_shown_on_one_line() -> None:
    assert shown(" a\n b\tc ") == "a b c"
    assert shown("x" * SHOWN) == "x" * SHOWN
    assert shown("x" * (SHOWN + 1)) == "x" * (SHOWN - 3) + "..."
    assert shown("\x1b[31mred") == "\N{SYMBOL FOR ESCAPE}[31mred"
    assert shown(b"\0" * 1000) == "1000 bytes"
    assert shown(3.5) == "3.5"
