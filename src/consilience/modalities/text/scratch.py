"""Word tokens from hashed subwords, then a transformer: trained together with the model, no vocabulary to fit.

A word is the mean of the vectors of its subwords: the word itself and its runs of 3 to 5 characters, borders marked
with < and > (Bojanowski et al. 2017, section 3.2), each hashed into one of `buckets` rows by CRC-32, which is the same
everywhere. Unseen words, endings and typos thus share vectors with words that were seen. Of a word of more than 40
characters only the start is taken apart.

A text of more than `length` words is read up to there. A text without a word (only symbols) is one empty word: `<>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Self
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from consilience.encoders.base import Encoder, Received
from consilience.encoders.body import Body
from consilience.modalities.text import Passage, words
from consilience.types import Input, Sample, Tokens

_SHORTEST, _LONGEST = 3, 5  # characters of a subword
_LONG = 40  # what has more characters is seldom a word
_SPREAD = 0.1  # deviation of the vectors at the start


def subwords(word: str, buckets: int) -> np.ndarray:
    """int64: ids in 1..buckets of the word and its runs of characters; 0 is kept free for padding."""
    return _cached_subwords(word, buckets) if len(word) <= _LONG else _subwords(word, buckets)


def _subwords(word: str, buckets: int) -> np.ndarray:
    padded = f"<{word}>"
    sizes = range(_SHORTEST, min(_LONGEST, len(padded) - 1) + 1)
    head = padded[: _LONG + 2]
    pieces = [padded, *(head[start : start + size] for size in sizes for start in range(len(head) - size + 1))]
    return np.array([1 + crc32(piece.encode()) % buckets for piece in pieces])


_cached_subwords = lru_cache(maxsize=50_000)(_subwords)  # long words stay out, so that the cache stays small


class Scratch(Encoder):
    """One token [width] per word, at most `length`."""

    modality: ClassVar[str] = "text"

    class Config(Encoder.Config):
        width: int = Field(128, ge=1, le=4096, description="Numbers per token; a multiple of `heads`.")
        depth: int = Field(2, ge=1, le=48, description="Number of transformer blocks.")
        heads: int = Field(4, ge=1, le=64, description="Attention heads per block.")
        dropout: float = Field(0.1, ge=0, lt=1, description="Share of activations dropped in training.")
        length: int = Field(128, ge=1, le=4096, description="Words read of a text; the rest is left out.")
        buckets: int = Field(20_000, ge=1, le=10_000_000, description="Vectors that the hashed subwords share.")

        @model_validator(mode="after")
        def _divides(self) -> Self:
            if self.width % self.heads:
                raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
            return self

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.frozen = False
        self.width, self.length, self.buckets = config.width, config.length, config.buckets
        self.table = nn.Parameter(torch.randn(config.buckets, config.width) * _SPREAD)
        self.body = Body(config.width, config.depth, config.heads, config.dropout, config.length)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """ids int64 [M], the subwords of all words one after another; counts int64 [N], how many each word has."""
        assert isinstance(sample, Passage), f"the text stem takes a Passage, not {type(sample).__name__}"
        found = [subwords(word, self.buckets) for word in words(sample.text)[: self.length] or [""]]
        return {
            "ids": torch.from_numpy(np.concatenate(found)),
            "counts": torch.from_numpy(np.fromiter(map(len, found), np.int64, len(found))),
        }

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """The words with the number of their subwords, and those beyond `length`."""
        assert isinstance(sample, Passage)
        found, counts = words(sample.text), self.prepare(sample)["counts"].tolist()
        read = list(zip(found or ["<>"], counts, strict=False))
        shown: dict[str, Received] = {"words, each with its number of subwords": read}
        if len(found) > self.length:
            shown[f"left out: words after the first {self.length}"] = found[self.length :]
        return shown

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """ids [B, M] and counts [B, N], padded with 0; N is `length` or that of the text with most words."""
        most = {key: max(len(item[key]) for item in items) for key in ("ids", "counts")}
        if length is not None:
            assert most["counts"] <= length <= self.length, f"{most['counts']} words, length {length} of {self.length}"
            most["counts"] = length
        return {key: torch.stack([F.pad(item[key], (0, most[key] - len(item[key]))) for item in items]) for key in most}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, N, D]; mask True for words."""
        ids, counts = batch["ids"], batch["counts"]
        ends = counts.flatten().cumsum(0)
        # Row-major ids without their padding are the subwords of all words of the batch in order: one bag per word.
        values = F.embedding_bag(ids[ids > 0] - 1, self.table, ends - counts.flatten(), mode="mean")
        mask = counts > 0
        return Tokens(self.body(values.view(*counts.shape, self.width), mask), mask)
