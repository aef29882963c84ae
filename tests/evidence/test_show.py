"""The page about one row: what is on it, that nothing in a cell can break it, and that it is the same every time."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import torch
from torch import Tensor

import consilience
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.evidence import show as module
from consilience.evidence.show import show
from consilience.media import square
from consilience.modalities.text import Text
from consilience.types import Sample, Tokens

ROWS = 41
SCRIPT = "<script>alert('x')</script> & \"quotes\""
VOID = {"br", "img", "meta", "path", "polyline", "rect"}


class Page(HTMLParser):
    """The tags of a page, with their attributes and the headings above them. Fails where tags are not in pairs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []  # the tag, and its text
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.texts:
            self.texts[-1] = (self.texts[-1][0], self.texts[-1][1] + data)

    def of(self, *tags: str) -> list[str]:
        return [" ".join(text.split()) for tag, text in self.texts if tag in tags]

    def pictures(self) -> list[np.ndarray]:
        sources = [attrs["src"] or "" for tag, attrs in self.tags if tag == "img" and "picture" in (attrs.get("class") or "")]
        return [np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))) for source in sources]


def section(html: str, name: str) -> str:
    """The part of the page about one input."""
    return next(part for part in html.split("<section ")[1:] if f'dir="auto">{name}</h2>' in part)


def rows_of(html: str) -> dict[str, str]:
    """The rows of tables of bars: name -> number."""
    return dict(re.findall(r'<th scope="row" dir="auto">([^<]*)</th><td class="number">([^<]*)</td>', html))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    rng = np.random.default_rng(0)
    for row in range(ROWS):
        PIL.Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    (folder / "3.png").write_bytes(b"no picture")
    return folder


def make_table(**cells: list[Any]) -> pa.Table:
    """dose is the row; row 2 has nothing, 3 a broken picture, 4 no file; ward is north, south, and once elsewhere."""
    wards = ["elsewhere" if row == 5 else ("north", "south")[row % 2] for row in range(ROWS)]
    columns: dict[str, list[Any]] = {
        "id": [f"p{row}" for row in range(ROWS)],
        "photo": ["lost.png" if row == 4 else f"{row}.png" for row in range(ROWS)],
        "note": [f"the quick fox saw {row} lazy dogs, zebra{row} too{' today' * (row % 2 == 0)}" for row in range(ROWS)],
        "dose": [str(row) for row in range(ROWS)],
        "height": [None if row % 4 == 3 else f"{1.5 + row / 100}" for row in range(ROWS)],
        "ward": wards,
        "since": [f"2024-01-{1 + row % 28:02}" for row in range(ROWS)],
        "answer": [("yes", "no")[row % 2] for row in range(ROWS)],
    }
    columns["note"][6] = SCRIPT
    for name in ("photo", "note", "dose", "height", "ward", "since"):
        columns[name][2] = None
    return pa.table({name: pa.array(values, pa.string()) for name, values in (columns | cells).items()})


@pytest.fixture(scope="module")
def page(pictures: Path) -> str:
    """Row 40, which has everything."""
    return show(make_table(), 40, "answer", media_root=pictures)


# What is on it


def test_a_page_names_the_row_the_inputs_and_what_the_encoders_were_fitted_on(page: str) -> None:
    found = Page(page)
    assert found.of("h1") == ["Row 40 of the table"]
    assert found.of("h2") == ["photo", "note", "tabular", "Columns that no encoder sees"]
    assert found.of("title")[0] == "Row 40 of the table: what each encoder receives"
    assert "3 of 3 inputs present." in page
    assert "were fitted on\nall of them." in page
    others = section(page.replace('id="others"', 'dir="auto"'), "Columns that no encoder sees")
    assert re.search(r"answer</th><td class=\"role\">target</td><td dir=\"auto\">yes</td>", others)
    assert re.search(r"id</th><td class=\"role\">id</td><td dir=\"auto\">p40</td>", others)


def test_pictures_are_the_pixels_that_the_encoders_receive(page: str, pictures: Path) -> None:
    pixels = np.asarray(PIL.Image.open(pictures / "40.png"))
    shown = Page(section(page, "photo").rpartition("</section>")[0].partition(">")[2]).pictures()
    assert [picture.shape for picture in shown] == [(128, 128, 3), (4, 4, 3), (64, 64, 3)]
    assert np.array_equal(shown[0], square(pixels, 128).permute(1, 2, 0).numpy())
    assert np.array_equal(shown[2], square(pixels, 64).permute(1, 2, 0).numpy())
    patch = square(pixels, 128)[:, :32, 96:].double().mean((1, 2)).round()  # the upper right one of 4 x 4
    assert shown[1][0, 3].tolist() == patch.tolist()
    assert "64 x 64 pixels, uint8 [3, 64, 64]" in page
    assert "Out: 64 tokens of 128 numbers" in page


def test_words_are_those_that_the_encoder_cuts(page: str) -> None:
    text = section(page, "note")
    words = re.findall(r'<li dir="auto">(\S+) <small>(\d+)</small></li>', text)
    assert [word for word, _ in words] == ["the", "quick", "fox", "saw", "40", "lazy", "dogs", "zebra40", "too", "today"]
    # <the>: itself, and of 5 characters 3 runs of 3 and 2 of 4 (the run of 5 is the word): 6. <40>: itself and 2 of 3.
    assert dict(words)["the"] == "6" and dict(words)["40"] == "3"
    assert "Out: 10 tokens of 128 numbers" in text


def test_terms_have_weights_and_what_is_not_known_is_said(page: str) -> None:
    text = section(page, "note")
    known = {name: float(value) for name, value in rows_of(text).items()}
    # Known are terms of two texts or more; among the words and pairs of words these are those of the fixed words.
    assert known["the quick"] == known["lazy dogs"]
    ranked = list(rows_of(text.partition("runs of characters")[0]))
    assert len(ranked) == 13 and set(ranked[:2]) == {"today", "too today"}, "8 words, 5 pairs; the rarer the heavier"
    assert "saw 40" not in known and "zebra40" not in known
    assert "left out: words that are no term" in text
    assert '<li dir="auto">zebra40</li>' in text
    assert "\N{OPEN BOX}qui" in known, "runs of characters show their borders"


def test_numbers_are_scaled_as_by_hand(page: str) -> None:
    table = section(page, "tabular")
    shown = rows_of(table)
    # dose: 0..40 without 2, so the median of the 40 values is 20.5 and the quartiles, in steps of 39/4, 10.75 and 30.25
    scaled = (40 - 20.5) / (30.25 - 10.75)
    assert shown["dose"] == f"{scaled / math.sqrt(1 + scaled**2 / 9):.4g}" == "0.9487"
    assert shown["since: sine in the week"] == f"{math.sin(2 * math.pi * 5 / 7):.4g}"  # 2024-01-13 was a Saturday
    assert '<li dir="auto">ward = north</li>' in table
    assert 'dir="auto">ward</th><td dir="auto">1: north</td>' in table, "code 0 is for what is unknown"
    assert 'dir="auto">ward</th><td dir="auto">code 0: north</td>' in table, "raw codes start with the most frequent"
    assert 'dir="auto">dose</th><td dir="auto">40</td>' in table


def test_gaps_and_unknown_categories_are_named(pictures: Path) -> None:
    found = section(show(make_table(), 3, "answer", media_root=pictures), "tabular")
    assert '<li dir="auto">height: missing</li>' in found
    assert "height (missing)" in rows_of(found)
    assert "height" not in rows_of(found), "what has no token has no number either"
    assert 'dir="auto">height</th><td dir="auto">NaN: missing</td>' in found
    assert re.search(
        r"no token: missing <small>1 entry</small></h4>\s*<ul class=\"words\">\s*<li dir=\"auto\">height</li>", found
    )
    found = section(show(make_table(), 5, "answer", media_root=pictures), "tabular")
    assert '<li dir="auto">ward: other</li>' in found
    assert 'dir="auto">ward</th><td dir="auto">0: unknown</td>' in found


def test_a_missing_input_has_its_reason_and_no_encoder(pictures: Path) -> None:
    html = show(make_table(), 3, "answer", media_root=pictures)
    assert "2 of 3 inputs present." in html
    assert "missing: not an image" in section(html, "photo")
    assert "<article>" not in section(html, "photo") and "<article>" in section(html, "note")
    html = show(make_table(), 4, "answer", media_root=pictures)
    assert f"looked up at {pictures / 'lost.png'}" in section(html, "photo")


def test_an_empty_row_is_said_to_be_empty(pictures: Path) -> None:
    html = show(make_table(), 2, "answer", media_root=pictures)
    assert "0 of 3 inputs present." in html
    assert "what the training rows say on average" in html
    assert html.count("missing: empty") == 3
    assert "<article>" not in html
    Page(html)


def test_notes_say_what_was_cut(pictures: Path) -> None:
    html = show(make_table(), 0, "answer", settings=[{"limits": {"characters": 20}}], media_root=pictures)
    assert "<li>text cut at 20 characters</li>" in html


def test_words_beyond_the_length_are_listed_as_left_out(pictures: Path) -> None:
    notes = make_table()["note"].to_pylist()
    notes[0] = " ".join(f"w{place}" for place in range(130))
    text = section(show(make_table(note=notes), 0, "answer", encoder="scratch", media_root=pictures), "note")
    left = text.partition("left out: words after the first 128")[2]
    assert re.findall(r'<li dir="auto">(\w+)</li>', left) == ["w128", "w129"]
    assert '<li dir="auto">w127 <small>' in text.partition("left out")[0]


def test_only_the_encoders_of_one_name(pictures: Path) -> None:
    html = show(make_table(), 40, "answer", encoder="raw", media_root=pictures)
    assert Page(html).of("h3").count("raw") == 1
    assert "scratch" not in Page(html).of("h3")
    assert section(html, "note").count("It has no encoder of that name.") == 1
    assert "For trees: gaps stay gaps" in section(html, "tabular")


def test_lists_are_shown_item_by_item(pictures: Path) -> None:
    photos = [f'["{row}.png", "{row + 1}.png"]' for row in range(10, 10 + ROWS - 20)] + [None] * 20
    html = show(make_table(photo=photos), 1, "answer", encoder="scratch", media_root=pictures)
    photo = section(html, "photo")
    assert "image, a list" in photo
    shown = Page(photo.rpartition("</section>")[0].partition(">")[2]).pictures()
    for name, picture in zip(("11.png", "12.png"), shown, strict=True):
        assert np.array_equal(picture, square(np.asarray(PIL.Image.open(pictures / name)), 64).permute(1, 2, 0).numpy())
    assert "Out: 128 tokens of 128 numbers" in photo
    gone = show(make_table(photo=['["lost.png", "gone.png"]', *photos[1:]]), 0, "answer", media_root=pictures)
    assert [f"looked up at {pictures / name}" in gone for name in ("lost.png", "gone.png")] == [True, True]


class MadeUp(Encoder):
    """What a sound or a sensor would give."""

    modality: ClassVar[str] = "text"
    frozen, width, length = True, 2, 3

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return {
            "spectrogram": torch.arange(40 * 98).reshape(40, 98) / 100 - 20,
            "signal": torch.linspace(-1, 1, 2000),
            "channels": torch.arange(300.0).reshape(100, 3),
            "ids": torch.tensor([7, 5, 3]),
        }

    def forward(self, batch: Mapping[str, Tensor]) -> Tokens:
        values = torch.tensor([[[1.5, -2.5], [3.5, 4.5], [9.0, 9.0]]]).repeat(len(batch["ids"]), 1, 1)
        return Tokens(values, torch.tensor([[True, True, False]]).repeat(len(values), 1))


class Gaps(MadeUp):
    """Leaves gaps."""

    complete = False


def test_encoders_for_trees_are_not_asked_about_lists(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "encoders", lambda self: {"made_up": f"{__name__}:MadeUp", "gaps": f"{__name__}:Gaps"})
    lists = [f'["the quick fox saw {row} lazy dogs", "and zebra{row} saw it"]' for row in range(ROWS)]
    for notes, names in ((make_table()["note"].to_pylist(), ["made_up", "gaps"]), (lists, ["made_up"])):
        note = section(show(make_table(note=notes), 0, "answer", media_root=pictures), "note")
        assert re.findall(r"<h3>(made_up|gaps)</h3>", note) == names


def test_an_encoder_that_nobody_knows_is_shown_by_its_tensors(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "encoders", lambda self: {"made_up": f"{__name__}:MadeUp"})
    note = section(show(make_table(), 0, "answer", encoder="made_up", media_root=pictures), "note")
    assert "What a sound or a sensor would give." in note
    assert "<small>float32 [40, 98], -20 to 19.19, mean -0.405, row 0 at the top</small>" in note
    assert 'alt="spectrogram: a heat map of 40 rows and 98 columns, -20 to 19.19"' in note
    assert 'aria-label="signal: a line between -1 and 1"' in note
    assert note.count('aria-label="channels: a line') == 3
    assert re.findall(r'<li dir="auto">(\d)</li>', note) == ["7", "5", "3"]
    assert "Out: 2 tokens of 2 numbers" in note
    assert "float32 [2, 2], -2.5 to 4.5, mean 1.75" in note, "the token that is not there is not shown"


# What cannot break it


def test_everything_is_escaped(pictures: Path) -> None:
    name = "<b>note</b>"
    source = make_table()
    source = source.rename_columns([name if column == "note" else column for column in source.column_names])
    html = show(source, 6, "answer", media_root=pictures)
    assert "<script" not in html and "<b>" not in html
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &#34;quotes&#34;" in html
    assert "&lt;b&gt;note&lt;/b&gt;" in html
    Page(html)


@pytest.mark.parametrize("row", [2, 3, 6, 40])
def test_the_page_stands_alone_and_is_in_order(row: int, pictures: Path) -> None:
    html = show(make_table(), row, "answer", media_root=pictures)
    found = Page(html)
    assert html.startswith("<!doctype html>")
    names = [tag for tag, _ in found.tags]
    assert {"script", "link", "iframe", "object"}.isdisjoint(names)
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', ""), "nothing is fetched"
    assert dict(found.tags)["html"] == {"lang": "en"}
    levels = [int(tag[1]) for tag in names if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attrs.get("alt") for tag, attrs in found.tags if tag == "img")
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} >= {attrs["href"] for tag, attrs in found.tags if tag == "a"}


def test_control_characters_and_long_cells_can_be_seen(pictures: Path) -> None:
    notes = make_table()["note"].to_pylist()
    notes[0], notes[1] = " a\x07b\x00 ", "long " * 100
    html = show(make_table(note=notes), 0, "answer", media_root=pictures)
    assert "\N{OPEN BOX}a\N{SYMBOL FOR BELL}b\N{SYMBOL FOR NULL}\N{OPEN BOX}" in html
    assert "\x07" not in html and "\x00" not in html
    html = show(make_table(note=notes), 1, "answer", encoder="scratch", media_root=pictures)
    assert re.search(r'<td dir="auto">(long ){79}long\N{OPEN BOX} \.\.\. \(500 characters\)</td>', html)


def test_cells_that_are_no_strings(pictures: Path) -> None:
    raw = [(pictures / f"{row if row != 3 else 1}.png").read_bytes() for row in range(ROWS)]
    source = make_table().set_column(1, "photo", pa.array(raw, pa.binary()))
    source = source.set_column(3, "dose", pa.array([float(row) for row in range(ROWS)]))
    html = show(source, 40, "answer", encoder="raw", media_root=pictures)
    assert f"{len(raw[40])} bytes: 89 50 4e 47" in html
    assert re.search(r"dose</th><td class=\"role\">number</td><td dir=\"auto\">40.0</td>", html)


# The same every time


def test_the_same_table_gives_the_same_page_and_nothing_else_changes(page: str, pictures: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert consilience.show(make_table(), 40, target="answer", media_root=pictures) == page
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1


def test_many_rows_are_drawn_evenly(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FITTED_ON", 4)
    html = show(make_table(), 40, "answer", encoder="descriptor", media_root=pictures)
    assert "were fitted on\n4 of them, drawn evenly." in html
    # Rows 0, 13, 27 and 40: the quartiles of 0, 13, 27, 40 are 9.75 and 30.25, the median 20.
    scaled = 20 / 20.5
    assert rows_of(section(html, "tabular"))["dose"] == f"{scaled / math.sqrt(1 + scaled**2 / 9):.4g}"


# What cannot work


@pytest.mark.parametrize("row", [-1, ROWS, 10**9])
def test_a_row_that_is_not_there(row: int) -> None:
    with pytest.raises(ConsilienceError, match=rf"row {row} of the table\n  expected: 0 to 40"):
        show(make_table(), row, "answer")


def test_an_encoder_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ConsilienceError, match=r"no input has an encoder 'scrach'\n.*image, tabular, text\n.*'scratch'"):
        show(make_table(), 0, "answer", encoder="scrach")
    with pytest.raises(ConsilienceError, match="no input has an encoder 'raw'"):
        show(make_table().select(["photo", "note", "answer"]), 0, "answer", encoder="raw")


def test_a_wrong_target_or_setting_is_an_error_of_its_own() -> None:
    with pytest.raises(ConsilienceError, match="did you mean 'answer'"):
        show(make_table(), 0, "anser")
    with pytest.raises(ConsilienceError, match="exclude names the column 'nots'"):
        show(make_table(), 0, settings=[{"exclude": ["nots"]}])
