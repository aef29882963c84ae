"""How pretrained encoders are tuned with the network that reads them.

frozen          their tokens are stored once, and only what reads them learns
head-then-tune  as frozen first, then all together at small rates: a head that starts from nothing would pull good weights about
                (LP-FT, Kumar et al. 2022). What comes of it is kept only where validation rows show a gain beyond noise
lora            low-rank adapters and what reads them (Hu et al. 2022); the weights stay as they arrived
full            all together from the start

Rates fall from the last layer to the first by a factor each (Howard and Ruder 2018, "discriminative fine-tuning").
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from consilience.component import Config
from consilience.encoders.base import Encoder
from consilience.encoders.several import SeveralEncoder
from consilience.encoders.tuned import Tuned
from consilience.model import Network
from consilience.train.loop import Train


class Tune(Config):
    """How pretrained encoders are tuned."""

    method: Literal["frozen", "head-then-tune", "lora", "full"] = Field("frozen", description="What learns, and when.")
    rate: float = Field(5e-5, gt=0, description="Peak learning rate of an encoder's last layer.")
    decay: float = Field(0.8, gt=0, le=1, description="Factor on the rate for each layer below.")
    rank: int = Field(8, ge=1, le=1024, description="Rank of the adapters of lora.")
    train: Train = Field(
        Train.model_validate({"epochs": 3, "batch": 32, "patience": 2, "rate": 5e-4}),
        description="How the network is trained while encoders are tuned.",
    )


def tuned(encoders: dict[str, Encoder], config: Tune) -> dict[str, Encoder]:
    """Encoders of which those that arrived trained may learn; their weights are taken from nowhere yet."""
    return {name: encoder.tuned(config.method, config.rank) for name, encoder in encoders.items()}


def begin(encoders: dict[str, Encoder]) -> None:
    """Give encoders that learn a copy of the weights that they arrived with."""
    for encoder in encoders.values():
        inner = encoder.inner if isinstance(encoder, SeveralEncoder) else encoder
        if isinstance(inner, Tuned):
            inner.begin()


def rates(network: Network, config: Tune) -> dict[str, float]:
    """Peak rates of the parameters that arrived trained, by name."""
    return {
        f"encoders.{index}.{name}": config.rate * config.decay**depth
        for index, encoder in enumerate(network.encoders)
        for name, depth in encoder.depths().items()  # type: ignore[operator]
    }


def carry_over(before: Network, after: Network) -> None:
    """Give a network what another has learned beside its encoders."""
    learned = {name: value for name, value in before.state_dict().items() if not name.startswith("encoders.")}
    found = after.load_state_dict(learned, strict=False)
    assert not found.unexpected_keys, "the networks differ beside their encoders"
    # Encoders that were trained from nothing go on from where they are; the others have other parameters now.
    for name, encoder in zip(after.names, after.encoders, strict=True):
        old = before.encoders[before.names.index(name)]
        if type(old) is type(encoder) and len(list(old.parameters())):
            encoder.load_state_dict(old.state_dict())
