"""A pretrained encoder whose weights learn: a copy of them, whole or with low-rank adapters (LoRA, Hu et al. 2022).

Batch normalisation keeps the statistics that it arrived with: batches of a few dozen rows would replace them by worse ones.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from torch import Tensor, nn

from consilience.encoders.base import Encoder, Received
from consilience.encoders.pretrained import Pretrained, depths
from consilience.errors import fail
from consilience.types import Sample, State, Tokens


class Tuned(Encoder):
    """Tokens as the encoder inside returns them, in float32, of a module of its own."""

    heavy = True
    frozen = False
    learns = False

    def __init__(self, inner: Pretrained, method: str, rank: int) -> None:
        super().__init__(config=inner.config, input=inner.input)
        if method == "lora":
            peft()
        self.inner = inner
        self.modality = inner.modality  # type: ignore[misc]
        self.span = inner.span  # type: ignore[misc]
        self.method = method
        self.rank = rank
        self.module: nn.Module | None = None
        self.about: Mapping[str, Any] = {}
        self.digest = ""  # of the weights that it began with

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.inner.width

    @property
    def length(self) -> int:  # type: ignore[override]
        return self.inner.length

    def begin(self) -> Tuned:
        """Take a copy of the pretrained weights to learn from. Draws from torch's generator where adapters are added."""
        weights = self.inner.weights
        self.about, self.digest = weights.about, weights.digest
        self.module = self._ready(copy.deepcopy(weights.module))
        return self

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return self.inner.prepare(sample)

    def received(self, sample: Sample) -> Mapping[str, Received]:
        return self.inner.received(sample)

    def collate(self, items: Sequence[dict[str, Tensor]], length: int | None = None) -> dict[str, Tensor]:
        return self.inner.collate(items, length)

    def chunks(self, items: Sequence[dict[str, Tensor]]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        return self.inner.chunks(items)

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        assert self.module is not None, "begin or restore first"
        return self.inner.run(self.module, batch)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()
        return self

    def depths(self) -> Mapping[str, int]:
        if self.module is None or self.method == "lora":  # adapters begin at nothing, as a head does
            return {}
        return {f"module.{name}": depth for name, depth in depths(self.module).items()}

    def state(self) -> State:
        """What the weights say of themselves; the weights are parameters."""
        return State({"about": self.about, "digest": self.digest})

    def restore(self, state: State) -> None:
        about, digest = state.json.get("about"), state.json.get("digest")
        if not isinstance(about, dict) or not isinstance(digest, str):
            raise fail("tuned weights are not described", "what was saved with them", "train the run again")
        self.about, self.digest = about, digest
        self.inner.describe(about)
        self.module = self._ready(self.inner.empty(about))

    def blueprint(self) -> str:
        return json.dumps(["tuned", self.version, self.method, self.rank, self.inner.named(self.digest), self.input.name])

    def _ready(self, module: nn.Module) -> nn.Module:
        """With all, or with adapters only, to be trained."""
        if self.method != "lora":
            return module.requires_grad_(True)
        return adapted(module.requires_grad_(False), self.rank)


def peft() -> Any:
    """The library of adapters. Raises ConsilienceError where it is not installed."""
    try:
        import peft as found
    except ImportError:
        raise fail("tune.method lora needs peft, which is not installed", do="pip install consilience[hub]") from None
    return found


def adapted(module: nn.Module, rank: int) -> nn.Module:
    """A module whose linear layers and 1 x 1 convolutions have adapters of a rank."""
    named: list[str] = [name for name, part in module.named_modules() if _adaptable(part)]
    if not named:
        raise fail("this model has no linear layer to adapt", "one that can take adapters", "choose tune.method full")
    library = peft()
    config = library.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=named)
    return library.inject_adapter_in_model(config, module)


def _adaptable(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1)
