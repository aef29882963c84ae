"""Numbers that stand for a picture, a recording, a series: what the descriptor of its modality says, not fitted to a target."""

from __future__ import annotations

import numpy as np

from consilience.evidence.audit import quick
from consilience.evidence.audit.finding import Examined
from consilience.predictors.base import Predictor, make_encoder
from consilience.train.features import fit_encoders
from consilience.train.threads import one_thread
from consilience.types import Input

FITTED_ON = 200
"""Samples that scales are learned from."""


def descriptors(examined: Examined, item: Input, rows: np.ndarray) -> np.ndarray:
    """[len(rows), D] float64, each row of unit length on average; NaN where the input is missing."""

    def make() -> np.ndarray:
        encoder = make_encoder(Predictor.Config.model_validate({"encoder": "descriptor"}), item)
        learned = rows[np.unique(np.linspace(0, len(rows) - 1, FITTED_ON).astype(np.int64))]
        with one_thread():
            fit_encoders({item.name: encoder}, examined.view, learned, examined.recipe.seed)
            values = examined.view.pooled(encoder, item.name, rows)
        there = np.isfinite(values).all(1)
        values -= values[there].mean(0) if there.any() else 0.0
        length = float(np.sqrt(np.square(values[there]).sum(1).mean())) if there.any() else 0.0
        return values / length if length > 1e-12 else values

    return quick.once(examined, "descriptors", item.name, rows, make)
