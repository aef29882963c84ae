"""What pretrained encoders of all modalities share: frozen weights, which layer is read, and how its tokens are reduced.

A frozen encoder sees each cell once; what it returns is stored. So it is run in batches that hold no padding to speak of, in as
many threads as there are cores, and its tokens are rounded to half precision, which halves the store.
`tuned` gives an encoder with weights of its own, that learn.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from consilience.encoders import hub, shipped
from consilience.encoders.base import Encoder
from consilience.encoders.weights import Weights, restored
from consilience.errors import fail
from consilience.nn import masked_mean
from consilience.types import Input, Sample, State, Tokens

HALF = float(np.finfo(np.float16).max)


class Pretrained(Encoder):
    """Subclasses open weights of one modality, prepare their input and read their output."""

    class Config(Encoder.Config):
        model: str | None = Field(
            None,
            description="A folder in the hub's format, a hub name, or a name of consilience.encoders.shipped; default: that.",
        )
        revision: str | None = Field(None, description="The commit of a hub name, so that it stays what it is.")
        layer: int = Field(0, ge=0, description="Which layer is read: 0 the last, 1 the one before, ...")
        pool: Literal["tokens", "mean", "first"] = Field(
            "tokens", description="tokens: a sequence; mean: their mean; first: the first one, which some models read from."
        )
        tokens: int = Field(16, ge=1, le=1024, description="The most tokens of a sequence; neighbours are averaged.")
        precision: Literal["half", "float32"] = Field("half", description="How stored tokens are rounded.")

        @model_validator(mode="after")
        def _pinned(self) -> Pretrained.Config:
            if self.revision is not None and self.model is None:
                raise ValueError("revision needs a model")
            return self

    learns = False
    heavy = True
    frozen = True
    span = 480

    def __init__(self, *, config: Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.options = config
        self.dtype = torch.float16 if config.precision == "half" else torch.float32
        self._weights: Weights | None = None  # no submodule: it is shared, and not this encoder's to train, move or save
        self._described = False

    @property
    def weights(self) -> Weights:
        """Opened when they are first needed."""
        if self._weights is None:
            self._take()
        assert self._weights is not None
        return self._weights

    def open(self) -> None:
        """Take the weights that the configuration names, where nobody has described others yet."""
        if not self._described:
            self._take()

    def _take(self) -> None:
        model, revision = self.options.model, self.options.revision
        name = shipped.chosen(self.modality, model, revision)
        self.adopt(hub.opened(self.modality, str(model), revision) if name is None else self.shipped(name))

    @abstractmethod
    def shipped(self, name: str) -> Weights:
        """The weights of a shipped encoder of this modality. Raises ConsilienceError where they cannot be had."""

    def empty(self, about: Mapping[str, Any]) -> nn.Module:
        """A module to be filled; this one is for models of `transformers`."""
        return hub.empty(about)

    @abstractmethod
    def prepares(self, about: Mapping[str, Any]) -> None:
        """Set all that `prepare` needs, `width` and `length`, from what the weights say of themselves."""

    @abstractmethod
    def run(self, module: nn.Module, batch: dict[str, Tensor]) -> Tokens:
        """What a module, this encoder's or a tuned one, makes of a batch, reduced to at most `length` tokens."""

    def adopt(self, weights: Weights) -> None:
        """Use these weights."""
        self.describe(weights.about)
        self._weights = weights

    def describe(self, about: Mapping[str, Any]) -> None:
        """Prepare samples for weights that say this of themselves, whoever holds them."""
        self.prepares(about)
        self._described = True

    def check_layer(self, layers: int) -> None:
        """Raise ConsilienceError where the configuration asks for a layer that the model does not have."""
        if self.options.layer > layers:
            raise fail(
                f"encoders.{self.input.name}.layer is {self.options.layer}, and the model has {layers} below its last one",
                f"0 to {layers}",
                "lower it",
            )

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Open the weights; nothing is learned of samples."""
        del samples, rng
        self.open()

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """[B, N, D], float16 or float32 by `precision`. Raises ConsilienceError where half precision cannot hold a value."""
        module = self.weights.module
        where = next(iter(batch.values())).device
        module.to(where)
        with torch.no_grad():
            found = self.run(module, batch)
        values = found.values
        if self.dtype == torch.float16:
            if bool((values.abs() > HALF).any()):
                raise fail(
                    f"the encoder of {self.input.name} returns numbers over {HALF:g}",
                    "numbers that half precision can hold",
                    f"set encoders.{self.input.name}.precision to float32",
                )
            values = values.half()
        return Tokens(values, found.mask, found.seconds)

    def tuned(self, method: str, rank: int) -> Encoder:
        from consilience.encoders.tuned import Tuned  # the other way round it is imported when this is

        return Tuned(self, method, rank)

    def state(self) -> State:
        return self.weights.state()

    def restore(self, state: State) -> None:
        self.adopt(restored(state, self.empty))

    def blueprint(self) -> str:
        return json.dumps([self.named(self.weights.digest), self.input.name, self.input.columns, self.input.kinds])

    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.named(self.weights.digest)).encode()).hexdigest()

    def named(self, digest: str) -> list[Any]:
        """What decides the tokens of weights with that digest: not where they were found, and not the column."""
        cls = type(self)
        said = self.options.model_dump(mode="json", exclude={"model", "revision"})
        return [cls.__module__, cls.__qualname__, cls.version, said, digest, torch.__version__]


def pooled(tokens: Tokens, pool: str) -> Tokens:
    """One token: the mean of those that are there, or the first."""
    values = masked_mean(tokens.values, tokens.mask) if pool == "mean" else tokens.values[:, 0]
    return Tokens(values.unsqueeze(1), tokens.mask.any(1, keepdim=True))


def neighbours(tokens: Tokens, most: int) -> Tokens:
    """At most `most` tokens: where a row has more, runs of neighbours of one length are averaged, and so are their seconds.

    A row's runs depend on its own number of tokens only. [B, L, D] -> [B, min(L, most), D].
    """
    count = tokens.mask.sum(1)  # [B]; what is there stands in front
    length = tokens.mask.shape[1]
    if length <= most:
        return tokens
    run = (count + most - 1).div(most, rounding_mode="floor").clamp(min=1)
    place = torch.arange(length, device=count.device)[None] // run[:, None]  # [B, L]
    share = (place[:, None] == torch.arange(most, device=count.device)[None, :, None]) & tokens.mask[:, None]
    weight = share.to(tokens.values.dtype)
    weight = weight / weight.sum(2, keepdim=True).clamp(min=1.0)  # [B, most, L]
    values = weight @ tokens.values.masked_fill(~tokens.mask.unsqueeze(-1), 0.0)
    seconds = None if tokens.seconds is None else (weight @ tokens.seconds.unsqueeze(-1)).squeeze(-1)
    return Tokens(values, share.any(2), seconds)


def depths(module: nn.Module) -> dict[str, int]:
    """Parameter name -> layers between it and the top: 0 in the last block and behind, their number before the first."""
    lists = {name: part for name, part in module.named_modules() if isinstance(part, nn.ModuleList)}
    if not lists:
        return {name: 0 for name, _ in module.named_parameters()}
    prefix, blocks = max(lists.items(), key=lambda pair: sum(value.numel() for value in pair[1].parameters()))
    found, behind = {}, False
    for name, _ in module.named_parameters():
        if name.startswith(f"{prefix}."):
            found[name] = len(blocks) - 1 - int(name[len(prefix) + 1 :].split(".")[0])
            behind = True
        else:
            found[name] = 0 if behind else len(blocks)
    return found
