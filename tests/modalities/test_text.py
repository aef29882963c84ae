"""Text: reading and repairing, claims, parts, damage, and the two encoders of its own."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from decimal import Decimal
from difflib import SequenceMatcher
from zlib import crc32

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from consilience import component
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.text import Passage, Text, words
from consilience.modalities.text import descriptor as module
from consilience.modalities.text.descriptor import Descriptor, character_terms, word_terms
from consilience.modalities.text.scratch import Scratch, subwords
from consilience.nn import masked_mean
from consilience.types import Claim, Column, Input, Limits, Missing, State

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


def fitted(texts: list[str], seed: int = 0, **options: int) -> Descriptor:
    encoder = Descriptor(config=Descriptor.Config(**options), input=INPUT)
    encoder.fit([Passage(text=text) for text in texts], rng(seed))
    return encoder


def batch_of(encoder: Encoder, texts: list[str], length: int | None = None) -> dict[str, torch.Tensor]:
    return encoder.collate([encoder.prepare(Passage(text=text)) for text in texts], length)


def tokens(encoder: Encoder, texts: list[str], length: int | None = None) -> torch.Tensor:
    with torch.no_grad():
        values = encoder.eval()(batch_of(encoder, texts, length)).values
    assert values.shape[1] <= encoder.length
    assert values.shape[2] == encoder.width
    return values


def dense(encoder: Descriptor, texts: list[str]) -> np.ndarray:
    """The prepared weights as a texts-by-terms matrix."""
    matrix = np.zeros((len(texts), len(encoder.state().arrays["idf"])))
    for row, text in zip(matrix, texts, strict=True):
        item = encoder.prepare(Passage(text=text))
        row[item["ids"].numpy() - 1] = item["weights"].numpy()
    return matrix


MIXED = [*stories(40), "\u00c9t\u00e9 a b", "a", "x+y = 3 +", f"{HINDI} \u6211\u5f88\u597d", "?!"]


@pytest.mark.parametrize("rare", [1, 3])
def test_terms_and_weights_are_those_of_scikit_learn(rare: int) -> None:
    by_word = TfidfVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True, min_df=rare)
    by_character = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=rare)
    expected = (hstack([by_word.fit_transform(MIXED), by_character.fit_transform(MIXED)]) / np.sqrt(2)).toarray()
    encoder = fitted(MIXED, rare=rare)
    state = encoder.state()
    found = [list(group.get_feature_names_out()) for group in (by_word, by_character)]
    assert [state.json["words"], state.json["characters"]] == found
    np.testing.assert_allclose(state.arrays["idf"], [*by_word.idf_, *by_character.idf_], rtol=1e-6)
    np.testing.assert_allclose(dense(encoder, MIXED), expected, atol=1e-6)


def test_terms_by_hand_and_the_most_frequent_stay() -> None:
    assert word_terms("The cat, the") == ["the", "cat", "the", "the cat", "cat the"]
    assert list(character_terms("Ab c")) == [" ab", "ab ", " ab ", " c "]
    counts = Counter(character_terms("q" * 100))  # 102 characters with the border
    assert counts == {" qq": 1, "qqq": 98, "qq ": 1, " qqq": 1, "qqqq": 97, "qqq ": 1, " qqqq": 1, "qqqqq": 96, "qqqq ": 1}
    state = fitted(["b a c e f g", "b a c e f g", "b"], terms=3).state()
    assert state.json["words"] == ["a", "a c", "b"]  # b in 3 texts; of the others, all in 2, the first by the alphabet
    np.testing.assert_allclose(state.arrays["idf"][:3], np.log([4 / 3, 4 / 3, 1]) + 1, rtol=1e-6)


def test_all_directions_keep_all_angles() -> None:
    encoder = fitted(MIXED[:20], rare=1)
    weights, values = dense(encoder, MIXED[:20]), tokens(encoder, MIXED[:20]).squeeze(1)
    assert encoder.width == 20
    np.testing.assert_allclose(values @ values.T / 20, weights @ weights.T, atol=2e-5)


def test_few_directions_are_the_first_singular_vectors() -> None:
    encoder = fitted(stories(300), width=4)
    exact = np.linalg.svd(dense(encoder, stories(300)), full_matrices=False)[2][:4]
    overlap = np.linalg.svd(exact @ encoder.state().arrays["components"])[1]
    assert encoder.width == 4
    assert overlap.min() > 0.9  # cosines of the angles between the two spaces


FEW = [([], 1), (["all", "different"], 1), (["the same text"] * 30, 1), (["one", "two"] * 5, 2)]


@pytest.mark.parametrize(("texts", "width"), FEW)
def test_width_shrinks_to_what_the_texts_span(texts: list[str], width: int) -> None:
    encoder = fitted(texts)
    assert encoder.width == width
    assert tokens(encoder, ["one", ""]).shape == (2, 1, width)


def test_a_text_without_known_terms_is_present_and_zero() -> None:
    encoder = fitted(stories(30))
    found = encoder(batch_of(encoder, ["\u0416\u0416", "", stories(1)[0]]))
    assert found.mask.tolist() == [[True]] * 3
    assert not found.values[:2].any()
    assert float(found.values[2].norm()) == pytest.approx(encoder.width**0.5, rel=1e-5)
    scaled = module._scale(torch.tensor([[3e-4, 4e-4], [0.3, 0.4]]))
    torch.testing.assert_close(scaled, torch.tensor([[0.03, 0.04], [0.6, 0.8]]) * 2**0.5)


def test_a_row_does_not_depend_on_the_others() -> None:
    texts = [*stories(60), " ".join(stories(40, seed=1)), ""]
    encoder = fitted(texts)
    together = tokens(encoder, texts)
    for size in (1, 2, 3, 7, 16, 33):
        for start in range(0, len(texts), size):
            assert torch.equal(tokens(encoder, texts[start : start + size], length=1), together[start : start + size])


def test_equal_generators_give_equal_bits_and_the_state_carries_all(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = stories(50)
    first, fresh = fitted(texts), Descriptor(config=Descriptor.Config(), input=INPUT)
    before = fresh.fingerprint()
    fresh.restore(first.state())
    assert before != fresh.fingerprint() == first.fingerprint() == fitted(texts).fingerprint()
    assert torch.equal(tokens(fresh, texts), tokens(first, texts))
    assert (first.frozen, stem().frozen, dict(first.state_dict())) == (True, False, {})
    monkeypatch.setattr(module, "_MOST_TEXTS", 30)
    assert fitted(texts).fingerprint() == fitted(texts).fingerprint() != fitted(texts, seed=1).fingerprint()
    assert fitted(texts).width <= 30


TERMS = [([1, 2], "words are not a list"), (["a", "a"], "words hold a term twice"), (["a"], "idf has 2 rows for 1 terms")]
IDF = [(np.ones(2), "idf is not a float32 array with 1 axes"), (np.float32([1, np.nan]), "idf holds NaN or infinite")]
AXES = [(np.float32([[1], [2], [3]]), "components has 3 rows for 2 terms"), (np.zeros((2, 0), np.float32), "with 2 axes")]
BROKEN = [(name, *case) for name, cases in (("words", TERMS), ("idf", IDF), ("components", AXES)) for case in cases]


@pytest.mark.parametrize(("name", "value", "message"), BROKEN)
def test_a_state_that_is_not_valid_is_refused(name: str, value: object, message: str) -> None:
    encoder = Descriptor(config=Descriptor.Config(), input=INPUT)
    json, arrays = {"words": ["a", "b"], "characters": []}, {"idf": np.float32([1, 2]), "components": np.float32([[1], [2]])}
    encoder.restore(State(json, arrays))
    (json if name in json else arrays)[name] = value
    with pytest.raises(ConsilienceError, match=message):
        encoder.restore(State(json, arrays))
    with pytest.raises(
        ConsilienceError, match=r"words are not(.|\n)*characters are not(.|\n)*idf is not(.|\n)*components is not"
    ):
        encoder.restore(State())


def stem(**options: float) -> Scratch:
    torch.manual_seed(0)
    defaults = {"width": 16, "depth": 1, "heads": 2, "length": 12, "buckets": 500}
    return Scratch(config=Scratch.Config(**{**defaults, **options}), input=INPUT)


def test_subwords_by_hand() -> None:
    pieces = ["<cat>", "<ca", "cat", "at>", "<cat", "cat>"]
    assert subwords("cat", 1000) == tuple(1 + crc32(piece.encode()) % 1000 for piece in pieces)
    assert subwords("x", 1000) == (1 + crc32(b"<x>") % 1000,)
    assert subwords("cat", 20_000)[0] == 16_666  # the hash is the same in every process and on every machine
    assert len(subwords("q" * 100_000, 1000)) == 1 + 40 + 39 + 38  # runs of the first 42 characters


def test_prepare_and_collate_by_hand() -> None:
    encoder = stem(length=3)
    item, short = (encoder.prepare(Passage(text=text)) for text in ("A cat, a dog", "a"))
    assert item["counts"].tolist() == [1, 6, 1]  # the fourth word is beyond the length
    assert item["ids"].tolist() == [*subwords("a", 500), *subwords("cat", 500), *subwords("a", 500)]
    assert encoder.prepare(Passage(text="?!"))["ids"].tolist() == list(subwords("", 500))
    batch = encoder.collate([short, item])
    assert batch["counts"].tolist() == [[1, 0, 0], [1, 6, 1]]
    assert batch["ids"].shape == (2, 8)
    assert encoder.collate([short], length=2)["counts"].tolist() == [[1, 0]]
    for length in (2, 4):
        with pytest.raises(AssertionError):
            encoder.collate([item], length=length)


def test_a_word_is_the_mean_of_its_subwords() -> None:
    encoder, seen = stem(), []
    encoder.body.register_forward_pre_hook(lambda _, given: seen.append(given))
    tokens(encoder, ["the", "a cat cat"])
    values, mask = seen[0]
    for place, word in enumerate(["a", "cat", "cat"]):
        mean = encoder.table.detach()[[index - 1 for index in subwords(word, 500)]].mean(0)
        torch.testing.assert_close(values[1, place], mean)
    assert mask.tolist() == [[True, False, False], [True, True, True]]


def test_a_stem_row_depends_on_itself_and_hardly_on_padding() -> None:
    encoder = stem()
    texts = ["the cat sleeps", "a dog", "?", *stories(5)]
    alone = [tokens(encoder, [text]) for text in texts]
    padded, longer = tokens(encoder, texts), tokens(encoder, texts, length=12)
    for index, value in enumerate(alone):
        count = value.shape[1]
        for found in (padded, longer):
            torch.testing.assert_close(found[index, :count], value[0], atol=1e-5, rtol=0)
        others = [texts[index] if place == index else "other words here" for place in range(len(texts))]
        assert torch.equal(tokens(encoder, others, length=12)[index, :count], longer[index, :count])


def test_the_stem_and_a_linear_head_learn_short_texts_by_heart() -> None:
    encoder, head = stem(dropout=0.0), nn.Linear(16, 2)
    batch = batch_of(encoder, stories(32))
    target = torch.from_numpy(rng().integers(2, size=32))
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(40):
        found = encoder(batch)
        loss = F.cross_entropy(head(masked_mean(found.values, found.mask)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05
    assert bool(encoder.table.grad[batch["ids"][batch["ids"] > 0] - 1].any(1).all())


def test_options_are_checked_and_the_fingerprint_follows_them_and_the_parameters() -> None:
    encoder = stem()
    options = {"width": 18, "depth": 2, "heads": 4, "dropout": 0.5, "length": 13, "buckets": 501}
    assert set(options) == set(Scratch.Config.model_fields)
    before = encoder.fingerprint()
    assert before == stem().fingerprint()
    assert len({before, *(stem(**{name: value}).fingerprint() for name, value in options.items())}) == 7
    with torch.no_grad():
        encoder.table[0, 0] += 1
    assert encoder.fingerprint() != before
    for wrong in ({"width": 10, "heads": 4}, {"width": 0}, {"dropout": 1.0}, {"buckets": 0}, {"words": 3}):
        with pytest.raises(ValidationError):
            Scratch.Config(**wrong)
