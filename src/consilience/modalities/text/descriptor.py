"""Latent semantic features: TF-IDF of words and characters, then a truncated SVD. One token per text, frozen.

Terms are words and pairs of words. Where the words that are kept do not cover the training texts - few texts, many
inflections, a language without word borders - runs of 3 to 5 characters inside white-space borders join them; on many
long texts they add nothing but most of the cost (measured: 1.4 s against 8.8 s on 19,000 reviews, same accuracy).
Weight of term t in a text: (1 + ln count) * idf, with idf = ln((1 + texts) / (1 + texts with t)) + 1 (Salton and Buckley
1988, in scikit-learn's smoothed form). Each group is scaled to one length, so that the many character terms do not drown
the words. The SVD (Deerwester et al. 1990; randomised, Halko et al. 2011) turns the weights into `width` directions,
which keep their strengths: to give each the same variance cost 2 points of accuracy on `math_vision`.

`prepare` does the counting, `forward` the projection: a weighted sum of the rows of `components`, which a row of the
batch computes alone, so that its bits do not depend on the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from scipy.sparse import csr_matrix
from sklearn.utils.extmath import randomized_svd
from torch import Tensor

from consilience.encoders.base import Encoder, Received
from consilience.errors import Problem, raise_all
from consilience.modalities.text import Passage, words
from consilience.types import Input, Sample, State, Tokens

_SHORTEST, _LONGEST = 3, 5  # characters of a character term
_MOST_TEXTS = 50_000  # `fit` draws this many: more change the directions little, and all of them may not fit in memory
_ROUNDS: Any = 2  # power iterations of the SVD (scikit-learn says str); 4 and 7 were slower, no better on two data sets
_COVERED = 0.98  # share of word occurrences from which on words are enough
_FEW, _WIDE, _NARROW = 5000, 512, 256  # up to so many texts, directions for them, directions for more
_CACHED = 40  # longer runs of characters are seldom seen twice, and would make the cache large


def word_terms(text: str) -> list[str]:
    """Every word and every pair of neighbouring words, in lower case."""
    found = words(text)
    return found + [f"{first} {second}" for first, second in pairwise(found)]


def character_terms(text: str) -> Iterable[str]:
    """The runs of 3 to 5 characters of every white-space separated piece, which is padded with a space at both ends."""
    pieces = text.lower().split()
    return chain.from_iterable(_cached_runs(piece) if len(piece) <= _CACHED else _runs(piece) for piece in pieces)


def _runs(piece: str) -> tuple[str, ...]:
    padded = f" {piece} "
    sizes = range(_SHORTEST, min(_LONGEST, len(padded)) + 1)
    return tuple(padded[start : start + size] for size in sizes for start in range(len(padded) - size + 1))


_cached_runs = lru_cache(maxsize=50_000)(_runs)


class Descriptor(Encoder):
    """One token [width]: the text's place in the space that the training texts span. Zeros without a known term."""

    modality: ClassVar[str] = "text"
    components: Tensor

    class Config(Encoder.Config):
        width: int | None = Field(
            None, ge=1, le=4096, description="Directions of the SVD; default: 512, or 256 for more than 5000 texts."
        )
        terms: int = Field(20_000, ge=1, le=1_000_000, description="Most terms kept of each group: those in most texts.")
        rare: int = Field(2, ge=1, description="A term in fewer training texts than this is left out.")

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.frozen = True
        self.length = 1
        self._most_directions, self._most_terms, self._rare = config.width, config.terms, config.rare
        self._learned([], [], np.zeros(0, np.float32), np.zeros((0, 1), np.float32))

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Choose the terms, count in how many texts they stand, and find the directions."""
        if len(samples) > _MOST_TEXTS:
            samples = [samples[index] for index in np.sort(rng.choice(len(samples), _MOST_TEXTS, replace=False))]
        texts = [_text(sample) for sample in samples]
        by_word = self._choose(texts, word_terms)
        by_character = self._choose(texts, character_terms) if _coverage(texts, by_word) < _COVERED else {}
        counts = np.array([*by_word.values(), *by_character.values()], dtype=np.float64)
        idf = (np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32)
        self._learned(list(by_word), list(by_character), idf, np.zeros((len(idf), 1), np.float32))
        width = self._most_directions or (_WIDE if len(texts) <= _FEW else _NARROW)
        components = _directions([self._weights(text) for text in texts], len(idf), width, rng)
        self._learned(list(by_word), list(by_character), idf, components)

    def _choose(self, texts: Sequence[str], terms: Callable[[str], Iterable[str]]) -> dict[str, int]:
        """Term -> number of texts with it: those in most texts, in the order of the alphabet."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(set(terms(text)))
        kept = [(term, count) for term, count in counts.items() if count >= self._rare]
        kept.sort(key=lambda pair: (-pair[1], pair[0]))
        return dict(sorted(kept[: self._most_terms]))

    def _learned(self, by_word: list[str], by_character: list[str], idf: np.ndarray, components: np.ndarray) -> None:
        self._words, self._characters = by_word, by_character
        self._word_ids = {term: index for index, term in enumerate(by_word)}
        self._character_ids = {term: index for index, term in enumerate(by_character, start=len(by_word))}
        self._idf, self.width = idf, components.shape[1]
        # Row 0 is for padding. Not persistent: `state` has it.
        padded = np.concatenate([np.zeros((1, self.width), np.float32), components])
        self.register_buffer("components", torch.from_numpy(padded), persistent=False)

    def _weights(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids of the known terms, ascending int64 [n], and their weights float64 [n]."""
        groups = (word_terms, self._word_ids), (character_terms, self._character_ids)
        ids, weights = zip(*(self._group(terms(text) if known else (), known) for terms, known in groups), strict=True)
        return np.concatenate(ids), np.concatenate(weights)

    def _group(self, terms: Iterable[str], known: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        found = np.array([index for index in map(known.get, terms) if index is not None], dtype=np.int64)
        ids, counts = np.unique(found, return_counts=True)
        weights = (1 + np.log(counts)) * self._idf[ids].astype(np.float64)
        groups = 2 if self._characters else 1  # each of length 1/sqrt(groups) makes a text of length 1
        return ids, weights / np.sqrt(groups * np.square(weights).sum()) if len(ids) else weights

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """ids int64 [n] (0 is kept free for padding) and weights float32 [n] of the text's known terms."""
        ids, weights = self._weights(_text(sample))
        return {"ids": torch.from_numpy(ids + 1), "weights": torch.from_numpy(weights.astype(np.float32))}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """The known terms of each group with their weights, the heaviest first, and the words that are not known."""
        prepared = self.prepare(sample)
        terms = [*self._words, *self._characters]
        pairs = list(zip((prepared["ids"] - 1).tolist(), prepared["weights"].tolist(), strict=True))
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        border = len(self._words)
        shown: dict[str, Received] = {
            "words and pairs of words, by weight": [(terms[index], weight) for index, weight in pairs if index < border]
        }
        if self._characters:
            shown["runs of characters, by weight"] = [(terms[index], weight) for index, weight in pairs if index >= border]
        unknown = [word for word in dict.fromkeys(words(_text(sample))) if word not in self._word_ids]
        if unknown:
            shown["left out: words that are no term"] = unknown
        return shown

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """ids [B, n], weights [B, n], padded with 0 to the text with most terms. There is one token at any `length`."""
        most = max(1, *(len(item["ids"]) for item in items))
        return {
            key: torch.stack([F.pad(item[key], (0, most - len(item[key]))) for item in items]) for key in ("ids", "weights")
        }

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, 1, D], all present."""
        values = F.embedding_bag(batch["ids"], self.components, per_sample_weights=batch["weights"], mode="sum")
        return Tokens(_scale(values).unsqueeze(1), torch.ones(len(values), 1, dtype=torch.bool, device=values.device))

    def state(self) -> State:
        arrays = {"idf": self._idf, "components": self.components[1:].cpu().numpy()}
        return State({"words": self._words, "characters": self._characters}, arrays)

    def restore(self, state: State) -> None:
        """Raises ConsilienceError with all that is wrong: terms that are no strings or twice there, sizes, NaN."""
        raise_all(_problems(state))
        idf, components = (np.asarray(state.arrays[name], dtype=np.float32) for name in ("idf", "components"))
        self._learned(list(state.json["words"]), list(state.json["characters"]), idf, components)


def _scale(values: Tensor) -> Tensor:
    """The one place that decides how long a token is: [B, D] -> [B, D] of length sqrt(D).

    What the directions hardly see (below 1 %) stays short, so that rounding noise is not blown up; zeros stay zeros.
    """
    length = values.square().sum(1, keepdim=True).sqrt().clamp(min=0.01)
    return values * (values.shape[1] ** 0.5 / length)


def _directions(
    weights: Sequence[tuple[np.ndarray, np.ndarray]], terms: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """The first right singular vectors of the texts-by-terms matrix, float32 [terms, D]; D = 1 of zeros without any."""
    most = min(width, len(weights), terms)
    if most == 0:
        return np.zeros((terms, 1), np.float32)
    starts = np.cumsum([0, *(len(ids) for ids, _ in weights)])
    ids, values = (np.concatenate(parts) for parts in zip(*weights, strict=True))
    matrix = csr_matrix((values.astype(np.float32), ids, starts), shape=(len(weights), terms))
    _, strengths, vectors = randomized_svd(matrix, most, n_iter=_ROUNDS, random_state=int(rng.integers(2**31)))
    # Directions without strength are rounding noise, which texts that repeat each other would leave.
    real = max(1, int((strengths > 1e-5 * strengths[0]).sum()))
    return np.ascontiguousarray(vectors[:real].T, dtype=np.float32)


def _coverage(texts: Sequence[str], by_word: Mapping[str, int]) -> float:
    """The share of all word occurrences whose word was kept."""
    found = Counter(chain.from_iterable(map(words, texts)))
    return sum(count for word, count in found.items() if word in by_word) / max(1, found.total())


def _text(sample: Sample) -> str:
    assert isinstance(sample, Passage), f"the text descriptor takes a Passage, not {type(sample).__name__}"
    return sample.text


def _problems(state: State) -> Iterable[Problem]:
    """What is wrong with a state, for `raise_all`."""
    terms = 0
    for group in ("words", "characters"):
        found: Any = state.json.get(group)
        if not isinstance(found, list) or not all(isinstance(term, str) for term in found):
            yield Problem(f"the text descriptor's {group} are not a list of strings", "a state that this library wrote")
        elif len(set(found)) < len(found):
            yield Problem(f"the text descriptor's {group} hold a term twice", "a state that this library wrote")
        else:
            terms += len(found)
    for name, axes in (("idf", 1), ("components", 2)):
        array = state.arrays.get(name)
        if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != axes or 0 in array.shape[1:]:
            yield Problem(f"the text descriptor's {name} is not a float32 array with {axes} axes", "a state of this library")
        elif not np.isfinite(array).all():
            yield Problem(f"the text descriptor's {name} holds NaN or infinite numbers", "finite numbers")
        elif len(array) != terms:
            yield Problem(f"the text descriptor's {name} has {len(array)} rows for {terms} terms", "one row per term")
