"""Which encoder an input has where the recipe leaves it open: a pretrained one, if validation rows agree.

For each input a linear model is fitted on its tokens alone, once of the descriptor and once of the pretrained encoder; the
lower loss on the validation rows wins. The tokens are in the store afterwards, for every predictor that uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from consilience.component import Choice
from consilience.data.view import View
from consilience.predictors.base import AUTO, PRETRAINED, Context, Predictor, fitted_on, has_pretrained, make_encoder, wanted
from consilience.progress import Budget
from consilience.train.features import Features
from consilience.train.linear import choose_linear
from consilience.train.stacking import labelled
from consilience.types import Input, Schema


@dataclass(frozen=True)
class Preference:
    """The encoder that an input has, and the validation loss of a linear model of it alone with each that was tried."""

    kind: str
    losses: Mapping[str, float]


def prefer(
    predictors: Mapping[str, Choice], view: View, train: np.ndarray, valid: np.ndarray, context: Context, budget: Budget
) -> dict[str, Preference]:
    """By input, where a predictor leaves its encoder open and there is a pretrained one."""
    found = {}
    for item in view.schema.inputs:
        configs = [choice.config for choice in predictors.values() if isinstance(choice.config, Predictor.Config)]
        there = [view.present(rows, (item.name,))[item.name].any() for rows in (train, valid)]
        if has_pretrained(item) and all(there) and any(_open(config, item) for config in configs):
            losses = {kind: _loss(kind, item, view, train, valid, context, budget) for kind in ("descriptor", PRETRAINED)}
            found[item.name] = Preference(min(losses, key=lambda kind: losses[kind]), losses)
            said = ", ".join(f"{kind} {loss:.4f}" for kind, loss in losses.items())
            budget.progress.say(f"encoder of {item.name}: {found[item.name].kind} (loss on validation rows: {said})")
    return found


def settled(predictors: Mapping[str, Choice], preferences: Mapping[str, Preference], schema: Schema) -> dict[str, Choice]:
    """The predictors with the preferred encoders where they leave them open."""
    made = {}
    for name, choice in predictors.items():
        config = choice.config
        if isinstance(config, Predictor.Config):
            named = {
                item.name: {**wanted(config, item), "kind": preferences[item.name].kind}
                for item in schema.inputs
                if item.name in preferences and _open(config, item)
            }
            config = config.model_copy(update={"encoders": {**config.encoders, **named}})
        made[name] = Choice(choice.kind, config)
    return made


def _open(config: Predictor.Config, item: Input) -> bool:
    """Is the encoder of an input left open? Encoders that are to learn are pretrained ones in any case."""
    used = config.inputs is None or item.name in config.inputs
    return used and not config.learns and wanted(config, item)["kind"] == AUTO


def _loss(kind: str, item: Input, view: View, train: np.ndarray, valid: np.ndarray, context: Context, budget: Budget) -> float:
    """Of the validation rows that have the input."""
    rows, held_out = fitted_on(train, valid, context, budget)
    assert held_out is not None
    parts = []
    features = Features({item.name: make_encoder(Predictor.Config.model_validate({"encoder": kind}), item)})
    for part, balance in ((rows, True), (held_out, False)):
        here = view.present(part, (item.name,))
        part = part[here[item.name]]
        made = labelled(view, part, context.task, balance=balance)
        if balance:
            features.fit(view, part, context.seed)
        present = {item.name: np.ones(len(part), dtype=bool)}
        parts.append((features.matrix(view, part, present), made.encoded, made.weight))
    (matrix, encoded, weight), task = parts[1], context.task
    model = choose_linear(parts[0], parts[1], task)[1]
    return float(task.loss(*map(torch.from_numpy, (model.raw(matrix), encoded, weight))))
