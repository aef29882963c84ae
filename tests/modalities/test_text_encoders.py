"""Text: the two encoders of its own."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import nn

from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.modalities.text import Passage, words
from consilience.modalities.text import descriptor as module
from consilience.modalities.text.descriptor import Descriptor, character_terms, word_terms
from consilience.modalities.text.scratch import Scratch, subwords
from consilience.nn import masked_mean
from consilience.types import Input, State

INPUT = Input("note", "text", ("note",))
PLACES = ["garden", "kitchen", "forest", "river", "meadow", "street", "harbour", "valley"]
DEEDS = ["sleeps", "runs", "eats", "waits", "hides", "sings", "swims"]
ANIMALS = ["cat", "dog", "cow", "pig", "hen", "fox", "owl", "bee", "ant", "bat", "elk", "eel"]
HINDI = "\u0939\u093f\u0928\u094d\u0926\u0940"  # a word with vowel signs


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def stories(count: int, seed: int = 0) -> list[str]:
    pick = rng(seed).choice
    return [f"The {pick(ANIMALS)} {pick(DEEDS)} in the {pick(PLACES)}, {index}!" for index in range(count)]


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


@pytest.mark.parametrize(("rare", "enough", "characters"), [(1, 0.98, False), (1, 1.01, True), (3, 0.98, True)])
def test_terms_and_weights_are_those_of_scikit_learn(
    rare: int, enough: float, characters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COVERED", enough)
    by_word = TfidfVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True, min_df=rare)
    by_character = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=rare)
    groups = [by_word, by_character] if characters else [by_word]
    expected = hstack([group.fit_transform(MIXED) for group in groups]).toarray() / np.sqrt(len(groups))
    encoder = fitted(MIXED, rare=rare)
    state = encoder.state()
    found = [list(group.get_feature_names_out()) for group in groups]
    assert [state.json["words"], state.json["characters"]] == (found if characters else [*found, []])
    np.testing.assert_allclose(state.arrays["idf"], np.concatenate([group.idf_ for group in groups]), rtol=1e-6)
    np.testing.assert_allclose(dense(encoder, MIXED), expected, atol=1e-6)


HALF = 0.5**0.5
COVERAGE = [(25, 24, [], [1, 0])]  # "a" is 49 of 50 words: just enough
COVERAGE += [(24, 24, [" a "], [HALF, 0, HALF])]  # 48 of 49 is not; each group has the same length


@pytest.mark.parametrize(("first", "second", "characters", "weights"), COVERAGE)
def test_characters_join_where_kept_words_cover_too_little(
    first: int, second: int, characters: list[str], weights: list[float]
) -> None:
    encoder = fitted(["a " * first, "a " * second + "b"])  # "b" stands in one text, so that it is left out
    assert encoder.state().json == {"words": ["a", "a a"], "characters": characters}
    np.testing.assert_allclose(dense(encoder, ["a"])[0], weights, rtol=1e-6)


def test_texts_without_words_have_characters() -> None:
    assert fitted(["?!", "?!"]).state().json == {"words": [], "characters": [" ?!", " ?! ", "?! "]}


def test_words_that_the_limit_leaves_out_are_not_covered() -> None:
    assert fitted(["a b", "a b"], terms=3).state().json["characters"] == []
    assert fitted(["a b", "a b"], terms=1).state().json == {"words": ["a"], "characters": [" a "]}


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
    found = encoder.state().arrays["components"]
    assert encoder.width == 4
    assert np.linalg.svd(exact @ found)[1].min() > 0.9  # cosines of the angles between the two spaces
    np.testing.assert_allclose(found.T @ found, np.eye(4), atol=1e-5)  # so the directions keep their strengths


def test_width_follows_the_number_of_texts_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = stories(600)  # each with a number of its own: they span 600 directions
    assert (module._FEW, fitted(texts, rare=1).width) == (5000, 512)
    monkeypatch.setattr(module, "_FEW", 600)
    assert fitted(texts, rare=1).width == 512
    monkeypatch.setattr(module, "_FEW", 599)
    assert fitted(texts, rare=1).width == 256
    assert fitted(texts, rare=1, width=300).width == 300


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
    assert subwords("cat", 1000).tolist() == [1 + crc32(piece.encode()) % 1000 for piece in pieces]
    assert subwords("x", 1000).tolist() == [1 + crc32(b"<x>") % 1000]
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
