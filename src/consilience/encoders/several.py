"""An encoder of one item made to take lists of them: every item is encoded alone, and the tokens stand side by side.

The items of all rows are one batch for the encoder inside, so a row of three photos costs three photos. In training they go
through in one pass. For prediction shapes are fixed, and a row's bits must not depend on its neighbours: the items are cut
into passes of as many as the batch has rows, the last filled up with repetitions. Each pass then has the shape in which the
encoder meets inputs that are no lists; their number says how many items there are in all, and changes no bits. (To pad
every list to `ITEMS` instead would cost two to eight times as much, most of it for items that are not there.)

Items bear no mark of their place in the list: photos and notes have no order that holds for all rows, and an encoder of
one item cannot be asked for one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from consilience.encoders.base import Encoder, Received
from consilience.types import ITEMS, Sample, Several, State, Tokens


class SeveralEncoder(Encoder):
    """Tokens [B, K * N, D] of lists of at most K items: N tokens of each by the encoder inside, in the order of the list."""

    def __init__(self, inner: Encoder) -> None:
        assert inner.complete, "an encoder that leaves gaps is for trees, which take no lists"
        super().__init__(config=inner.config, input=inner.input)
        self.inner = inner
        self.modality = inner.modality  # type: ignore[misc]

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.inner.width

    @property
    def length(self) -> int:  # type: ignore[override]
        return ITEMS * self.inner.length

    @property
    def frozen(self) -> bool:  # type: ignore[override]
        return self.inner.frozen

    @property
    def dtype(self) -> torch.dtype:  # type: ignore[override]
        return self.inner.dtype

    @property
    def heavy(self) -> bool:  # type: ignore[override]
        return self.inner.heavy

    @property
    def span(self) -> int:  # type: ignore[override]
        return self.inner.span

    @property
    def learns(self) -> bool:  # type: ignore[override]
        return self.inner.learns

    def tuned(self, method: str, rank: int) -> SeveralEncoder:
        inner = self.inner.tuned(method, rank)
        return self if inner is self.inner else SeveralEncoder(inner)

    def depths(self) -> Mapping[str, int]:
        return {f"inner.{name}": depth for name, depth in self.inner.depths().items()}

    def open(self) -> None:
        self.inner.open()

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Learn from the items of all rows alike: a row of many items counts as many."""
        self.inner.fit([item for sample in samples for item in _items(sample)], rng)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """The tensors of each item, as "<place in the list>.<name>"."""
        return _together([self.inner.prepare(item) for item in _items(sample)])

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """What the encoder inside takes in of each item."""
        shown = [self.inner.received(item) for item in _items(sample)]
        return {f"item {place}: {name}": value for place, part in enumerate(shown, 1) for name, value in part.items()}

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        """there [B, K] bool, which items there are; places [S] int64, where each stands among the B * K; and the passes of
        the encoder inside, as "<number>.<name>". `length` None: one pass of S rows, K the most items of a row; else passes
        of B rows, K = `ITEMS`.
        """
        assert length in (None, self.length), f"prediction pads to {self.length} tokens, not {length}"
        lists = [apart(item) for item in items]
        flat = [item for found in lists for item in found]
        size, most, inside = len(flat), max(map(len, lists)), None
        if length is not None:
            size, most, inside = len(lists), ITEMS, self.inner.length
            flat += [flat[-1]] * (-len(flat) % size)
        there = torch.arange(most) < torch.tensor([len(found) for found in lists]).unsqueeze(1)
        passes = [self.inner.collate(flat[start : start + size], inside) for start in range(0, len(flat), size)]
        return {"there": there, "places": there.flatten().nonzero().squeeze(1), **_together(passes)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, K * N, D]; False for items that are not there."""
        there, places = batch["there"], batch["places"]
        found = [self.inner(one) for one in apart({name: batch[name] for name in batch if name not in ("there", "places")})]
        values, mask = (_place([getattr(one, name) for one in found], there, places) for name in ("values", "mask"))
        seconds = [one.seconds for one in found if one.seconds is not None]
        return Tokens(values, mask, _place(seconds, there, places) if seconds else None)

    def state(self) -> State:
        return self.inner.state()

    def restore(self, state: State) -> None:
        self.inner.restore(state)

    def blueprint(self) -> str:
        return json.dumps(["several", self.version, ITEMS, self.inner.blueprint()])


def _items(sample: Sample) -> tuple[Sample, ...]:
    assert isinstance(sample, Several), f"an input of lists has Several, not {type(sample).__name__}"
    return sample.items


def _together(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One mapping of several: a batch must be tensors by name."""
    return {f"{number}.{name}": tensor for number, part in enumerate(parts) for name, tensor in part.items()}


def apart(whole: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """What `_together` was given."""
    parts: list[dict[str, Tensor]] = []
    for key, tensor in whole.items():
        number, _, name = key.partition(".")
        if int(number) == len(parts):
            parts.append({})
        parts[int(number)][name] = tensor
    return parts


def _place(found: Sequence[Tensor], there: Tensor, places: Tensor) -> Tensor:
    """Rows of all passes [>= S, N, ...] -> [B, K * N, ...], zeros and False where no item is."""
    rows = torch.cat(list(found))[: len(places)]  # what stands behind is repetition
    placed = rows.new_zeros(there.numel(), *rows.shape[1:])
    placed[places] = rows
    return placed.view(len(there), there.shape[1] * rows.shape[1], *rows.shape[2:])
