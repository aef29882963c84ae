"""Regularised linear models for any task: raw = features @ weights + bias, fitted by L-BFGS on the task's own loss.

The penalty is `strength / 2 * |weights|^2` beside the mean loss per row, so that a strength means the same whatever the
number of rows. Everything is float64 and full batch: there is no learning rate and no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from consilience.errors import fail
from consilience.tasks.base import Task
from consilience.train.threads import SMALL, one_thread

STRENGTHS = (1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6)
"""What is tried, strong to weak, each started from the one before."""


@dataclass(frozen=True, eq=False)
class Linear:
    """weights [F, K], bias [K]; float64."""

    weights: np.ndarray
    bias: np.ndarray

    def raw(self, features: np.ndarray) -> np.ndarray:
        """[R, F] -> [R, K]."""
        return features @ self.weights + self.bias


def fit_linear(
    features: np.ndarray, encoded: np.ndarray, weight: np.ndarray, task: Task, strength: float, start: Linear | None = None
) -> Linear:
    """Minimise task.loss + strength / 2 * |weights|^2 over features [R, F]; `start` only saves time."""
    from scipy.optimize import minimize  # here, because it takes 0.4 s that no other command needs

    inputs, target, importance = (torch.from_numpy(array) for array in (features, encoded, weight))
    shape = (features.shape[1] + 1, task.outputs)  # the last row is the bias

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(flat).view(shape).requires_grad_()
        fitted = task.loss(inputs @ parameters[:-1] + parameters[-1], target, importance)
        penalised = fitted + 0.5 * strength * parameters[:-1].square().sum()
        (gradient,) = torch.autograd.grad(penalised, parameters)
        return float(penalised.detach()), gradient.numpy().ravel()

    first = np.zeros(shape) if start is None else np.vstack([start.weights, start.bias])
    options = {"maxiter": 300, "ftol": 1e-8, "gtol": 1e-7}
    with one_thread(features.size < SMALL):
        found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    solved = found.x.reshape(shape)
    return Linear(np.ascontiguousarray(solved[:-1]), solved[-1].copy())


def choose_linear(
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray, np.ndarray],
    task: Task,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[float, Linear]:
    """The strength with the lowest loss on `valid`, and its model. Each part is (features, encoded, weight).

    The loss decides and not the metric: on few validation rows a metric that counts is too coarse to tell strengths apart.
    """
    best: tuple[float, float, Linear] | None = None
    model, worse = None, 0
    for strength in strengths:
        model = fit_linear(*train, task, strength, model)
        raw, encoded, weight = torch.from_numpy(model.raw(valid[0])), torch.from_numpy(valid[1]), torch.from_numpy(valid[2])
        loss = float(task.loss(raw, encoded, weight))
        if best is None or loss < best[0]:
            best, worse = (loss, strength, model), 0
        else:
            worse += 1
        if worse == 2:  # weaker still can only overfit more
            break
    assert best is not None
    return best[1], best[2]


def checked(weights: np.ndarray | None, bias: np.ndarray | None, features: int, outputs: int) -> Linear:
    """A linear model from a file that may come from a stranger: weights [features, outputs], bias [outputs]."""
    if weights is None or bias is None:
        raise fail("the weights of a linear model are missing", "weights and bias", "train the run again")
    sound = weights.shape == (features, outputs) and bias.shape == (outputs,)
    if not sound or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise fail("the weights of a linear model are damaged", f"finite numbers for {outputs} outputs", "train the run again")
    return Linear(weights, bias)
