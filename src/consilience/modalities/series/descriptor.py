"""Training-free features of a series: what each channel is like, how channels go together, and MiniRocket's shares.

One token a series. Three blocks: `features.of_channel` of each channel in units of its scale (levels, spread, shape,
autocorrelation, octaves, change), with the correlations of up to `_PAIRED` channels; and `rocket.transform`. Every number
is standardised on the training rows and cut at `_CLIP` deviations; a constant one says nothing and is zero. A linear model
then divides a token by one number, so what counts is how long the blocks are beside each other: they are made equally
long, whatever their width. Thousand shares would else drown fifty statistics.

Measured on `stress_wearable` (four wrist sensors -> stress), ridge regression, mean AUC of ten folds by person within the
training and validation rows, at the best penalty; beside it eight statistics a channel (mean, deviation, extremes,
quartiles, slope) in logistic regression:

                  statistics   shares   both   eight statistics
    acceleration     0.675      0.666   0.683       0.585
    pulse            0.634      0.671   0.666       0.563
    conductance      0.690      0.701   0.709       0.659
    temperature      0.598      0.571   0.584       0.553
    side by side                        0.764       0.677

The penalties are the best of six on these very folds (of four for the eight statistics), so small differences mean little:
for pulse and temperature one block alone is as good as both. Blocks 0.7 and 1.4 times as long differ by less than 0.01, and
shares that are only centred, with one deviation for all, change the AUC by -0.014, +0.005 and -0.010 (the first three).

A gap in a series is bridged for MiniRocket only, where its steps do not count; see `features.py` for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from consilience import component
from consilience.encoders.base import Encoder, Received
from consilience.errors import Problem, raise_all
from consilience.modalities.series import Series, features, rocket
from consilience.modalities.series.channels import Scales, scales_from, scales_of
from consilience.types import Input, Sample, State, Tokens

_FITTED_ON = 5000  # series: a mean is then known to 1.4% of its deviation
_CLIP = 5.0
_PAIRED = 16  # channels of which pairs are correlated


class Descriptor(Encoder):
    """Statistics, spectrum and MiniRocket. Tokens [B, 1, D], mask all True; D is known after `fit`."""

    modality = "series"
    frozen = True
    length = 1

    def __init__(self, *, config: component.Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        # Not persistent: they are state, not parameters, and `state` carries them.
        self.register_buffer("mean", torch.empty(0), persistent=False)
        self.register_buffer("factor", torch.empty(0), persistent=False)
        self.register_buffer("weight", torch.empty(0), persistent=False)
        self.mean: Tensor
        self.factor: Tensor
        self.weight: Tensor

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Scales of the channels, channels and biases of the kernels, mean and deviation of each number."""
        chosen = np.sort(rng.permutation(len(samples))[:_FITTED_ON])
        values = [_values(samples[place]) for place in chosen]
        scales = scales_of(values, rng)
        kernels = rocket.fit([scales(item) for item in values], len(scales.centre), rng)
        self._take(scales, kernels)
        if not values:
            self._set(np.zeros(self.width), np.zeros(self.width))
            return
        made = np.stack([self._features(item) for item in values])
        deviation = made.std(0, dtype=np.float64)
        # A share of the steps can be constant but for one series; deviations below rounding are none.
        factor = np.where(deviation > 1e-6, 1.0 / np.maximum(deviation, 1e-6), 0.0)
        self._set(made.mean(0, dtype=np.float64), factor)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """values: float32 [D], not yet standardised."""
        return {"values": torch.from_numpy(self._features(_values(sample)))}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """The features of `prepare` in their groups."""
        channels = len(self.scales.centre)
        each = channels * features.CHANNEL
        values = self.prepare(sample)["values"]
        statistics, pairs, shares = values.split([each, _statistics(channels) - each, rocket.FEATURES])
        shown: dict[str, Received] = {"statistics of each channel": statistics.reshape(channels, features.CHANNEL)}
        if len(pairs):
            shown["correlation of each pair of channels"] = pairs
        shown["shares of the steps above a bias: dilations and kernels by biases"] = shares.reshape(-1, rocket.BIASES)
        return shown

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, D] -> [B, 1, D]."""
        assert len(self.mean), "fit or restore the encoder first"
        scaled = ((batch["values"] - self.mean) * self.factor).clamp(-_CLIP, _CLIP) * self.weight
        values = scaled.unsqueeze(1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def state(self) -> State:
        arrays = {"mean": self.mean.cpu().numpy(), "factor": self.factor.cpu().numpy()}
        arrays |= {"mixes": self.kernels.mixes, "biases": self.kernels.biases}
        return State(arrays=arrays | self.scales.arrays())

    def restore(self, state: State) -> None:
        scales = scales_from(state, "descriptor")
        count = len(scales.centre)
        width = _statistics(count) + rocket.FEATURES
        shapes = {"mixes": (*rocket.SHAPE[:2], count), "biases": rocket.SHAPE, "mean": (width,), "factor": (width,)}
        problems = []
        for name, shape in shapes.items():
            array = state.arrays.get(name)
            if array is None or array.dtype != np.float32 or array.shape != shape:
                found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                problems.append(Problem(f"series descriptor: {name} is {found}", f"float32 {list(shape)}"))
            elif not np.isfinite(array).all() or (name in ("mixes", "factor") and (array < 0).any()):
                problems.append(Problem(f"series descriptor: {name} holds impossible values", "finite, factors >= 0"))
        raise_all(problems)
        self._take(scales, rocket.Rocket(state.arrays["mixes"], state.arrays["biases"]))
        self._set(state.arrays["mean"], state.arrays["factor"])

    def _take(self, scales: Scales, kernels: rocket.Rocket) -> None:
        self.scales, self.kernels = scales, kernels
        statistics = _statistics(len(scales.centre))
        self.width = statistics + rocket.FEATURES
        weight = np.ones(self.width, np.float32)
        weight[:statistics] *= np.sqrt(self.width / 2 / statistics)  # blocks of one length, the token's that of its width
        weight[statistics:] *= np.sqrt(self.width / 2 / rocket.FEATURES)
        self.weight = torch.tensor(weight, device=self.weight.device)

    def _set(self, mean: np.ndarray, factor: np.ndarray) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float32, device=self.mean.device)
        self.factor = torch.tensor(factor, dtype=torch.float32, device=self.factor.device)

    def _features(self, values: np.ndarray) -> np.ndarray:
        """[T, C] -> float32 [D]."""
        scaled = self.scales(values)
        each = [features.of_channel(scaled[:, channel]) for channel in range(scaled.shape[1])]
        pairs = features.together(scaled[:, :_PAIRED])
        return np.concatenate([*each, pairs, rocket.transform(scaled, self.kernels)]).astype(np.float32)


def _values(sample: Sample) -> np.ndarray:
    assert isinstance(sample, Series)
    return sample.values


def _statistics(channels: int) -> int:
    """Numbers of the block beside MiniRocket."""
    paired = min(channels, _PAIRED)
    return channels * features.CHANNEL + paired * (paired - 1) // 2
