"""Training-free features of a recording: its log-mel spectrogram in eight equal stretches of time, and pairs of its shapes.

One token a recording. First come the decibels of the mean power in each of 32 mel bands in each of eight stretches, about
their median: order in time is kept, which mean and deviation over the whole would lose, power is averaged before its
logarithm is taken, so that noise averages out, and loudness does not count. Then, for texture, the deviation over time of
each band and of its change from frame to frame.

A linear model of these alone hears little through noise: what tells two words apart is which patterns come together. So
the training recordings' 40 strongest patterns are found by an eigendecomposition that sees no target, and the products of
every two of them follow, which is a polynomial kernel of second degree on what is above the noise. Last come duration and
level.

Each group is centred and divided by one number, not each feature by its own: they have one unit, and to
standardise each would blow up those that hardly vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from consilience.encoders.base import Encoder, Received
from consilience.errors import Problem, raise_all
from consilience.modalities.audio.sample import Sound
from consilience.sound import decibels, mel_power
from consilience.types import Input, Sample, State, Tokens

_BANDS = 32
_STRETCHES = 8
_PATTERNS = 40
_CELLS = _BANDS * _STRETCHES
_SHAPE = _CELLS + 2 * _BANDS
_PAIRS = np.triu_indices(_PATTERNS)
_GROUPS = (slice(0, _CELLS), slice(_CELLS, _SHAPE), slice(_SHAPE, _SHAPE + 1), slice(_SHAPE + 1, _SHAPE + 2))
_FITTED_ON = 5000  # recordings: a mean is then known to 1.4% of its deviation
_CLIP = 10.0


class Descriptor(Encoder):
    """Tokens [B, 1, D], mask all True."""

    modality = "audio"
    frozen = True
    length = 1

    def __init__(self, *, config: Encoder.Config, input: Input) -> None:
        super().__init__(config=config, input=input)
        self.width = _SHAPE + len(_PAIRS[0]) + 2
        self.learned: dict[str, np.ndarray] = {}

    def fit(self, samples: Sequence[Sample], rng: np.random.Generator) -> None:
        """Means, scales and patterns, over at most 5000 of the recordings; zeros without any."""
        chosen = np.sort(rng.permutation(len(samples))[:_FITTED_ON])
        values = np.stack([features(samples[index]) for index in chosen]) if len(chosen) else np.zeros((1, _SHAPE + 2))
        mean = values.mean(0, dtype=np.float64)
        scale = np.concatenate([_one_scale(values[:, part] - mean[part]) for part in _GROUPS])
        shapes = (values - mean)[:, :_SHAPE] * scale[:_SHAPE]
        patterns = _patterns(shapes)
        pairs = _pairs(shapes @ patterns)
        middle = pairs.mean(0)
        arrays = {"mean": mean, "scale": scale, "patterns": patterns, "pairs_mean": middle}
        arrays["pairs_scale"] = _one_scale(pairs - middle)[:1]
        self.learned = {name: array.astype(np.float32) for name, array in arrays.items()}

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """values: float32 [D], standardised."""
        assert self.learned, "fit or restore the encoder first"
        known = self.learned
        values = (features(sample) - known["mean"]) * known["scale"]
        pairs = _pairs(values[None, :_SHAPE] @ known["patterns"])[0]
        pairs = (pairs - known["pairs_mean"]) * known["pairs_scale"]
        found = np.concatenate([values[:_SHAPE], pairs, values[_SHAPE:]]).clip(-_CLIP, _CLIP)
        return {"values": torch.from_numpy(found.astype(np.float32))}

    def received(self, sample: Sample) -> Mapping[str, Received]:
        """The features of `prepare` in their groups."""
        cells, texture, pairs, others = self.prepare(sample)["values"].split([_CELLS, 2 * _BANDS, len(_PAIRS[0]), 2])
        return {
            "loudness: stretches of time by bands": cells.reshape(_STRETCHES, _BANDS),
            "deviation of each band, and of its change": texture.reshape(2, _BANDS),
            "products of patterns": pairs,
            "length and level": list(zip(("log of seconds", "level"), others.tolist(), strict=True)),
        }

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        """values [B, D] -> [B, 1, D]."""
        values = batch["values"].unsqueeze(1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def state(self) -> State:
        return State(arrays=dict(self.learned))

    def restore(self, state: State) -> None:
        shapes = {
            "mean": (_SHAPE + 2,),
            "scale": (_SHAPE + 2,),
            "patterns": (_SHAPE, _PATTERNS),
            "pairs_mean": (len(_PAIRS[0]),),
            "pairs_scale": (1,),
        }
        problems = []
        for name, shape in shapes.items():
            array = state.arrays.get(name)
            if array is None or array.dtype != np.float32 or array.shape != shape:
                found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                problems.append(Problem(f"audio descriptor: {name} is {found}", f"float32 {list(shape)}"))
            elif not np.isfinite(array).all():
                problems.append(Problem(f"audio descriptor: {name} holds impossible values", "finite numbers"))
        raise_all(problems)
        self.learned = {name: state.arrays[name] for name in shapes}


def features(sample: Sample) -> np.ndarray:
    """float32 [322]: 256 of bands in stretches, 64 of texture, log seconds and the level in decibels."""
    assert isinstance(sample, Sound)
    power = mel_power(sample.waves, sample.rate, _BANDS)
    frames = decibels(power, sample.rate).numpy()
    cells = decibels(torch.from_numpy(stretches(power.numpy(), _STRETCHES)), sample.rate).numpy()
    change = np.diff(frames, axis=0, append=frames[-1:]).std(0)
    level = 10 * np.log10(max(float(np.square(sample.waves).mean()), 1e-10))
    others = [np.log(len(sample.waves) / sample.rate), level]
    return np.concatenate([cells.ravel(), frames.std(0), change, others]).astype(np.float32)


def stretches(values: np.ndarray, count: int) -> np.ndarray:
    """[T, D] -> [count, D], means over stretches of equal length; a row on a border counts for both by its shares."""
    sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(0, dtype=np.float64)])
    cuts = np.linspace(0, len(values), count + 1)
    whole = np.minimum(cuts.astype(int), len(values) - 1)
    at = sums[whole] + (cuts - whole)[:, None] * values[whole]
    return (np.diff(at, axis=0) * (count / len(values))).astype(np.float32)


def _one_scale(centred: np.ndarray) -> np.ndarray:
    """[R, D] -> [D], all one over the root mean square; zeros where there is nothing but zeros."""
    size = float(np.sqrt(np.square(centred, dtype=np.float64).mean()))
    return np.full(centred.shape[1], 1 / size if size > 1e-9 else 0.0)


def _patterns(shapes: np.ndarray) -> np.ndarray:
    """Directions [D, 40] of most variance, each divided by the root of its deviation: half way to equal strength."""
    strengths, directions = np.linalg.eigh(shapes.T @ shapes / len(shapes))
    strengths, directions = strengths[: -_PATTERNS - 1 : -1], directions[:, : -_PATTERNS - 1 : -1]
    directions = directions * np.sign(directions[np.abs(directions).argmax(0), np.arange(_PATTERNS)])
    return np.where(strengths > 1e-9 * max(strengths[0], 1e-9), directions / np.clip(strengths, 1e-12, None) ** 0.25, 0.0)


def _pairs(strengths: np.ndarray) -> np.ndarray:
    """[R, 40] -> [R, 820], the products of every two and the squares."""
    return strengths[:, _PAIRS[0]] * strengths[:, _PAIRS[1]]
