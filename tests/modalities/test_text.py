"""Text: reading and repairing, claims, parts, and damage."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from difflib import SequenceMatcher

import numpy as np
import pytest

from consilience import component
from consilience.modalities.text import Passage, Text, words
from consilience.modalities.text.descriptor import Descriptor
from consilience.modalities.text.scratch import Scratch
from consilience.types import Claim, Column, Input, Limits, Missing

INPUT = Input("note", "text", ("note",))
TEXT = Text()
PLACES = ["garden", "kitchen", "forest", "river", "meadow", "street", "harbour", "valley"]
DEEDS = ["sleeps", "runs", "eats", "waits", "hides", "sings", "swims"]
ANIMALS = ["cat", "dog", "cow", "pig", "hen", "fox", "owl", "bee", "ant", "bat", "elk", "eel"]
HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940"  # a word with vowel signs


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def stories(count: int, seed: int = 0) -> list[str]:
    pick = rng(seed).choice
    return [f"The {pick(ANIMALS)} {pick(DEEDS)} in the {pick(PLACES)}, {index}!" for index in range(count)]


def read(cell: object, characters: int = 100_000) -> Passage | Missing:
    return TEXT.read(INPUT, {"note": cell}, Limits(characters=characters))


def test_the_registry_finds_it() -> None:
    assert component.find("modalities", "text") is Text
    assert [component.load(TEXT.encoders()[name]) for name in ("descriptor", "scratch")] == [Descriptor, Scratch]


CELLS = ["A day.", " two\nlines \n", 7, 2.5, np.float64(2.5), np.int64(7), True, Decimal("1.50"), date(2024, 2, 29), "e\u0301t"]
WRITTEN = ["A day.", "two\nlines", "7", "2.5", "2.5", "7", "True", "1.50", "2024-02-29", "\u00e9t"]


@pytest.mark.parametrize(("cell", "text"), list(zip(CELLS, WRITTEN, strict=True)))
def test_reads_without_a_note(cell: object, text: str) -> None:
    assert read(cell) == Passage(text=text)


@pytest.mark.parametrize("cell", [None, "", " \t\n", float("nan"), np.float32("nan"), "\u00a0\u3000", "\x00 \x07"])
def test_empty_cells_are_missing(cell: object) -> None:
    assert read(cell) == Missing("empty")


def test_other_cells_are_missing_with_a_reason() -> None:
    reasons = [read(cell) for cell in (["a", "b"], {"a": 1}, b"bytes", np.zeros(2), 10**5000)]
    assert reasons[:4] == [Missing(f"not text but {name}") for name in ("list", "dict", "bytes", "ndarray")]
    assert [reasons[4], TEXT.read(INPUT, {}, Limits())] == [Missing("number too long"), Missing("empty")]


CUT, SURROGATES, CONTROLS = "text cut at 10 characters", "surrogates repaired", "control characters removed"
REPAIRS = [("go\x00od", "good", (CONTROLS,)), ("a\x0cb", "a b", (CONTROLS,)), ("a\r\n\tb", "a\r\n\tb", ())]
REPAIRS += [(cell, text, (SURROGATES,)) for cell, text in (("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "\U0001f600"))]
REPAIRS += [("a" * 12, "a" * 10, (CUT,)), ("\u0958" * 6, "\u0915\u093c" * 5, (CUT,))]  # U+0958 is two characters in NFC
REPAIRS += [("\x00\ud800" * 6, "\ufffd" * 5, (CUT, SURROGATES, CONTROLS))]


@pytest.mark.parametrize(("cell", "text", "notes"), REPAIRS)
def test_repairs_are_noted(cell: str, text: str, notes: tuple[str, ...]) -> None:
    assert read(cell, characters=10) == Passage(text=text, notes=notes)
    assert read(text, characters=10) == Passage(text=text)


def test_words_of_several_scripts() -> None:
    assert words(f"Don't PANIC, x=3!? {HINDI}, {HINDI}") == ["don", "t", "panic", "x", "3", HINDI, HINDI]
    assert words("\u6211\u7231iPhone") == ["\u6211", "\u7231", "iphone"]


def column(cells: list[object], rows: int = 0, distinct: int = 0, empty: int = 0) -> Column:
    return Column("c", cells, rows or len(cells), empty, distinct or len({str(cell) for cell in cells}))


SURNAMES = ["".join(rng(index).choice(list("abdeiklmnorstu"), 6)).title() for index in range(200)]
NAMES = [f"{first} {last}" for first, last in zip(SURNAMES[:100], SURNAMES[100:], strict=True)]
CHINESE = [f"\u6211\u559c\u6b22{chr(0x4E00 + index)}\u7684\u82b1" for index in range(200)]
LABELS = [["red", "green", "blue"] * 60, ["a rather long answer", "another long answer"] * 60, ["True", "False"] * 60]
DATES = ["12 March 2020", "Mon, 5 Jan 2021", "June 30, 1999 at 5 pm", "2024-02-03T10:10:00Z"]
OTHERS = [[], [1, 2, 3], [b"bytes"] * 30, [*stories(100), *range(100)]]
CODES = ["{i}", "{i}.50 kg", "patient {i}", "A{i}X{i}", "customer-{w}-{i}", "{i}, {i}, {i}"]
PATHS = ["images/{w}.jpg", "my {w} photo.jpeg", "https://{w}.org/{w}?x", "C:\\{w}\\{w}", "{w}@mail.com"]
WRITTEN_OUT = [[text.format(i=index, w=word) for index, word in enumerate(SURNAMES)] for text in [*CODES, *PATHS]]


@pytest.mark.parametrize("cells", [stories(200), stories(6), CHINESE, [*stories(190), *[3] * 10]])
def test_claims_free_text(cells: list[object]) -> None:
    for claim in (TEXT.detect(column(cells)), TEXT.detect(column(cells, rows=1_000_000, distinct=5_000))):
        assert claim and claim.confidence == 0.9


def test_claims_short_texts_less_and_says_why() -> None:
    figures = "2 words in the middle cell, 100 different cells (50% of those filled)"
    assert TEXT.detect(column(NAMES, rows=400, empty=200)) == Claim(0.5, f"short text: {figures}")
    assert TEXT.detect(column(SURNAMES)) == Claim(0.5, "short text: 1 word in the middle cell, all cells differ")
    assert TEXT.detect(column(SURNAMES, rows=20_000, distinct=3_000)) is None


@pytest.mark.parametrize("cells", [*LABELS, DATES, *OTHERS, *WRITTEN_OUT])
def test_leaves_labels_dates_codes_paths_and_other_cells_alone(cells: list[object]) -> None:
    assert TEXT.detect(column(cells)) is None


def test_parts_are_words_with_their_punctuation() -> None:
    sample = Passage(text="Very good,\nreally \u5f88\u597d")
    labels = ["Very", "good,", "really", "\u5f88", "\u597d"]
    assert [(part.index, part.label) for part in TEXT.parts(sample)] == list(enumerate(labels))
    assert TEXT.size(sample) == 5
    assert Passage(text="x" * 1000).nbytes - Passage(text="").nbytes == 1000


ROWS = "a  b\nc"
MIX = "\u7528iPhone\u548ciPad"  # two Han characters, each before a Latin word
KEPT = [(ROWS, {0, 1, 2}, ROWS), (ROWS, {0, 2}, "a  c"), (ROWS, {1, 2}, "b\nc"), (ROWS, {0, 7}, "a"), (ROWS, set(), "")]
KEPT += [(MIX, {0, 1, 3}, "\u7528iPhone iPad"), (MIX, {0, 2, 3}, "\u7528\u548ciPad"), (MIX, {1, 2}, "iPhone\u548c")]


@pytest.mark.parametrize(("text", "kept", "expected"), KEPT)
def test_keep_removes_words(text: str, kept: set[int], expected: str) -> None:
    assert TEXT.keep(Passage(text=text, notes=("n",)), kept) == Passage(text=expected, notes=("n",))


def test_draw_escapes_and_tints() -> None:
    drawn = TEXT.draw(Passage(text='<b> "so" & good\nbad'), {0: 0.5, 3: -2.0, 4: 0.0})
    assert re.sub("<[^>]*>", "", drawn) == "&lt;b&gt; &quot;so&quot; &amp; good\nbad"
    marks = re.findall('<mark style="color:inherit;background:([^"]*)" title="([^"]*)">([^<]*)</mark>', drawn)
    assert marks == [("rgb(31 119 214 / 0.50)", "+0.50", "&lt;b&gt;"), ("rgb(230 120 20 / 1.00)", "-2.00", "good")]


def test_augment_drops_a_tenth_of_the_words() -> None:
    sample = Passage(text=" ".join(f"w{index}" for index in range(2000)))
    left = TEXT.augment(sample, rng()).text.split()
    assert 0.88 < len(left) / 2000 < 0.92
    assert left == sorted(left, key=lambda word: int(word[1:]))
    assert TEXT.augment(sample, rng(3)) == TEXT.augment(sample, rng(3))
    draw = rng()
    assert {TEXT.augment(Passage(text="one two"), draw).text for _ in range(500)} == {"one two", "one", "two"}
    assert TEXT.augment(Passage(text=""), rng()).text == ""


@pytest.mark.parametrize("name", sorted(Text.corruptions))
def test_damage_grows_with_severity(name: str) -> None:
    sample = Passage(text=" ".join(stories(8)), notes=("n",))
    damage = Text.corruptions[name]
    assert damage(sample, 0.0, rng()) == sample
    found = [damage(sample, severity, rng()) for severity in (0.1, 0.3, 0.6, 1.0)]
    likeness = [SequenceMatcher(None, sample.text, other.text, autojunk=False).ratio() for other in found]
    assert 1 > likeness[0] > likeness[1] > likeness[2] > likeness[3]
    assert all(other.notes == ("n",) for other in found)
    for text in ("a", "x y", "\u597d", ""):
        harsh = [damage(Passage(text=text), 1.0, rng(seed)).text for seed in range(60)]
        assert all(other.strip() == other and bool(other) == bool(text) for other in harsh)


def test_damage_by_hand() -> None:
    sample = Passage(text="The cat sleeps in the garden")
    assert Text.corruptions["words"](sample, 1.0, rng()).text in sample.text.split()
    assert len(Text.corruptions["words"](sample, 0.4, rng()).text.split()) == 4
    assert Text.corruptions["cut"](sample, 1.0, rng()).text == "T"
    assert Text.corruptions["cut"](sample, 0.5, rng()).text == "The cat sleeps"  # 14 of 28 characters stay
    sample = Passage(text="abcdefghijklmnopqrstuvwxyz ABCDEF 12345 \u0431\u0432\u0433 + - ?" * 40)
    typed = Text.corruptions["typos"](sample, 1.0, rng()).text
    assert re.sub(r"[^\W\d]", "", typed) == re.sub(r"[^\W\d]", "", sample.text)  # letters only
