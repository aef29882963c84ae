"""One row of numbers per example, for linear and tree models: frozen encoders, pooled tokens, one scale.

Each input is centred and divided by one number, the root mean square length of its present training rows, so that a wide
input does not drown a narrow one. One number and not one per feature: to standardise the dimensions of a truncated SVD or
of gradient histograms is to blow up their noise (3 points of accuracy on `math_vision`, measured in cross-validation).
A missing input adds nothing to a linear sum but, where it was missing in training, a learned offset: it is left out, not
imputed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from consilience.data.store import digest
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.errors import fail
from consilience.types import Missing, State

MOST = 200_000
"""Rows that a fit takes into memory, at most: what more of them would teach a linear model, trees or a vocabulary is less
than what they would cost. Networks, which see batches, train on all rows.
"""


MOST_VALID = 50_000
"""Validation rows that such a fit takes into memory, to choose a strength or when to stop."""


def drawn(rows: np.ndarray, seed: int, most: int | None = None) -> np.ndarray:
    """`rows`, or `most` (default `MOST`) of them drawn at random, in their order; the same for everyone with this seed."""
    most = MOST if most is None else most
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, len(rows)]).choice(rows, most, replace=False))


def fit_encoders(encoders: Mapping[str, Encoder], view: View, rows: np.ndarray, seed: int) -> None:
    """Let encoders learn their vocabularies and scales from the present samples of `rows`.

    Equal encoders fitted on equal rows are fitted once and share what they learned, and with it their stored tokens: the
    generator comes from the seed and the encoder, not from whoever asks first.
    """
    rows = drawn(rows, seed)
    for name, encoder in encoders.items():
        state = view.store.once(
            ("fitted", encoder.blueprint(), digest(rows), seed),
            lambda encoder=encoder, name=name: _fitted(encoder, view, name, rows, seed),
            lambda state: sum(array.nbytes for array in state.arrays.values()) + 1024,
        )
        encoder.restore(state)
        encoder.eval()


def _fitted(encoder: Encoder, view: View, name: str, rows: np.ndarray, seed: int) -> State:
    samples = view.samples(name, rows) if encoder.learns else []
    rng = np.random.default_rng([seed, *name.encode()])
    with torch.random.fork_rng(devices=[]):  # whoever fits first must not start from other weights than who comes after
        encoder.fit([sample for sample in samples if not isinstance(sample, Missing)], rng)
    return encoder.state()


def encoders_state(encoders: Mapping[str, Encoder]) -> State:
    """What the encoders learned from rows, by input, as one state."""
    states = {name: encoder.state() for name, encoder in encoders.items()}
    arrays = {f"{name}/{key}": value for name, state in states.items() for key, value in state.arrays.items()}
    return State({name: dict(state.json) for name, state in states.items()}, arrays)


def restore_encoders(encoders: Mapping[str, Encoder], state: State) -> None:
    """Take back what `encoders_state` gave."""
    for name, encoder in encoders.items():
        # An input may be named as another is up to a slash: what lies deeper is the other's.
        own = {key: array for key, array in part(state.arrays, name).items() if "/" not in key}
        encoder.restore(State(state.json.get(name, {}), own))
        encoder.eval()


def part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays below `prefix/`, without it."""
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{prefix}/")}


_MOST = 1e100
"""Larger scales are damage: products with them would be no numbers."""


class Features:
    """Frozen encoders of some inputs and the scaling learned for their pooled tokens."""

    def __init__(self, encoders: Mapping[str, Encoder]) -> None:
        trained = sorted(name for name, encoder in encoders.items() if not encoder.frozen)
        if trained:
            raise fail(
                f"the encoders of {', '.join(trained)} learn by gradient, but this predictor trains none",
                "frozen encoders, such as descriptor",
                "choose other encoders for it, or use them in a fused predictor",
            )
        self.encoders = encoders
        self.mean: dict[str, np.ndarray] = {}
        self.scale: dict[str, float] = {}
        self.gaps: dict[str, bool] = {}

    @property
    def width(self) -> int:
        """F, the number of columns of `matrix`."""
        return sum(len(self.mean[name]) + self.gaps[name] for name in self.encoders)

    def fit(self, view: View, rows: np.ndarray, seed: int) -> None:
        """Fit the encoders and the scaling on training rows."""
        fit_encoders(self.encoders, view, rows, seed)
        present = view.present(rows, tuple(self.encoders))
        for name, encoder in self.encoders.items():
            seen = view.pooled(encoder, name, rows)[present[name]]
            self.mean[name] = seen.mean(0) if len(seen) else np.zeros(seen.shape[1])
            length = float(np.sqrt(np.square(seen - self.mean[name]).sum(1).mean())) if len(seen) else 0.0
            self.scale[name] = 1.0 / length if length > 1e-9 else 0.0
            self.gaps[name] = not bool(present[name].all())

    def matrix(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        """[R, F] float64 for linear models."""
        blocks = []
        for name, encoder in self.encoders.items():
            here = present[name][:, None]
            pooled = view.pooled(encoder, name, rows)
            blocks.append(np.where(here, (pooled - self.mean[name]) * self.scale[name], 0.0))
            if self.gaps[name]:
                blocks.append(np.where(here, 0.0, 1.0))
        return np.concatenate(blocks, axis=1)

    def state(self) -> State:
        encoders = encoders_state(self.encoders)
        arrays = {f"encoder/{key}": value for key, value in encoders.arrays.items()}
        arrays |= {f"mean/{name}": value for name, value in self.mean.items()}
        return State({"encoders": encoders.json, "gaps": self.gaps, "scale": self.scale}, arrays)

    def restore(self, state: State) -> None:
        """Take back what `state` gave. Raises ConsilienceError where it is not valid."""
        encoded = State(state.json.get("encoders", {}), part(state.arrays, "encoder"))
        restore_encoders(self.encoders, encoded)
        self.mean = part(state.arrays, "mean")
        self.scale, self.gaps = dict(state.json.get("scale", {})), dict(state.json.get("gaps", {}))
        for name, encoder in self.encoders.items():
            width = encoder.width if encoder.length == 1 else 2 * encoder.width
            mean, scale = self.mean.get(name), self.scale.get(name)
            sound = mean is not None and mean.shape == (width,) and bool((np.abs(mean.astype(np.float64)) <= _MOST).all())
            if (
                not sound
                or not isinstance(scale, float)
                or not abs(scale) <= _MOST
                or not isinstance(self.gaps.get(name), bool)
            ):
                raise fail(f"the scaling of {name} is damaged", f"{width} finite numbers", "train the run again")
