"""A pretrained language model over the text: any encoder of `transformers`, all-MiniLM-L6-v2 by default.

Texts are cut at `length` pieces of words. They are encoded in batches of one length, a multiple of eight: a text meets the
same shape whatever else is in the table, and next to no padding is computed. The rows of a batch make its tokens a multiple
of 96, the number of which matrix products treat all alike (`CHUNK`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from consilience.encoders import hub, shipped
from consilience.encoders.base import CHUNK
from consilience.encoders.pretrained import Pretrained as Base
from consilience.encoders.pretrained import neighbours, pooled
from consilience.encoders.weights import Weights
from consilience.errors import fail
from consilience.modalities.text import Passage
from consilience.types import Sample, Tokens

_STEP = 8
_LONG = 128  # longer texts are padded to multiples of eight times as much
_FEW = 3 * CHUNK  # tokens of a batch, at least


class Pretrained(Base):
    """Tokens [B, N, D], N at most `tokens`, of the text's pieces."""

    class Config(Base.Config):
        length: int = Field(256, ge=8, le=8192, description="Longer texts are cut at so many pieces of words.")

    modality = "text"
    span = 1920

    def shipped(self, name: str) -> Weights:
        return hub.opened("text", str(shipped.place(name)), None)

    def prepares(self, about: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer

        prepared, config = about["prepared"], about["config"]
        self.most = min(self.options.length, int(prepared["most"]), _positions(config))  # type: ignore[attr-defined]
        try:
            self.tokenizer = Tokenizer.from_str(prepared["tokenizer"])
        except Exception as error:  # the library raises nothing more special
            raise fail(
                f"the tokenizer of {self.input.name} is damaged: {error}", "the one that was saved", "train again"
            ) from None
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.most)
        self.pad = int(prepared["pad"])
        self.check_layer(int(config.get("num_hidden_layers") or config.get("num_layers") or 0))
        self.width = int(config.get("hidden_size") or config["d_model"])
        self.length = 1 if self.options.pool != "tokens" else min(self.options.tokens, self.most)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """ids [n] int64, n at most `length`."""
        assert isinstance(sample, Passage)
        self.open()
        return {"ids": torch.tensor(self.tokenizer.encode(sample.text).ids, dtype=torch.int64)}

    def received(self, sample: Sample) -> Mapping[str, Sequence[str]]:
        """The pieces of words."""
        assert isinstance(sample, Passage)
        self.open()
        return {"pieces": self.tokenizer.encode(sample.text).tokens}

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """ids [B, L] int64 and mask [B, L] bool; L is that of the longest item, or with a `length` the most there may be."""
        return self._padded(items, self.most if length is not None else max(len(item["ids"]) for item in items))

    def chunks(self, items: Sequence[dict[str, Tensor]]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        groups: dict[int, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(_step(len(item["ids"])), []).append(place)
        for length, places in sorted(groups.items()):
            rows = _rows(length)
            for start in range(0, len(places), rows):
                part = places[start : start + rows]
                yield part, self._padded([items[place] for place in part + part[-1:] * (rows - len(part))], length)

    def run(self, module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
        ids, mask = batch["ids"], batch["mask"]
        found = module(input_ids=ids, attention_mask=mask.to(torch.int64), output_hidden_states=self.options.layer > 0)
        values = found.last_hidden_state if not self.options.layer else found.hidden_states[-1 - self.options.layer]
        tokens = Tokens(values, mask)
        return neighbours(tokens, self.length) if self.options.pool == "tokens" else pooled(tokens, self.options.pool)

    def _padded(self, items: Sequence[dict[str, Tensor]], length: int) -> dict[str, Tensor]:
        ids = torch.full((len(items), length), self.pad, dtype=torch.int64)
        mask = torch.zeros(len(items), length, dtype=torch.bool)
        for row, item in enumerate(items):
            count = len(item["ids"])
            ids[row, :count], mask[row, :count] = item["ids"], True
        return {"ids": ids, "mask": mask}


def _step(count: int) -> int:
    """The length that a text of so many pieces is padded to."""
    step = _STEP if count <= _LONG else 8 * _STEP
    return -(-max(count, 1) // step) * step


def _rows(length: int) -> int:
    """The rows of a batch of that length: so that its tokens are a multiple of CHUNK, and not few."""
    least = CHUNK // math.gcd(length, CHUNK)
    return least * -(-_FEW // (least * length))


def _positions(config: Mapping[str, Any]) -> int:
    """The longest sequence that a model has positions for; RoBERTa's begin behind its padding."""
    most = int(config.get("max_position_embeddings") or 1 << 20)
    behind = config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "clap_text_model", "mpnet", "longformer")
    return most - int(config.get("pad_token_id") or 0) - 1 if behind else most
