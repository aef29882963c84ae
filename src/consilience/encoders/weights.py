"""Pretrained weights: a module with all that prepares its input, named by its content and shared by whoever uses it.

A folder, a hub or an installed package is where weights come from; once opened they stand for themselves, so that a run
keeps them and needs nobody else. Equal weights are held once in a process, whoever opened them: what is frozen can be shared.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import nn

from consilience.errors import fail
from consilience.types import State


@dataclass(frozen=True, eq=False)
class Weights:
    """`about` says how to build the module and how its input is prepared, as JSON; `digest` names that and all parameters."""

    about: Mapping[str, Any]
    module: nn.Module
    digest: str

    def state(self) -> State:
        """As it is kept; the arrays share the module's memory."""
        arrays = {name: value.detach().cpu().numpy() for name, value in self.module.state_dict().items()}
        return State({"about": self.about, "digest": self.digest}, arrays)


_held: WeakValueDictionary[str, Weights] = WeakValueDictionary()
_lock = threading.Lock()


def held(about: Mapping[str, Any], module: nn.Module) -> Weights:
    """The weights of a module, frozen; those that are held already where they are the same."""
    module.eval().requires_grad_(False)
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(module.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    named = digest.hexdigest()
    with _lock:
        return _held.setdefault(named, Weights(about, module, named))


def restored(state: State, empty: Callable[[Mapping[str, Any]], nn.Module]) -> Weights:
    """What `Weights.state` gave. Raises ConsilienceError where the arrays are not those that the digest names."""
    named, about = state.json.get("digest"), state.json.get("about")
    if not isinstance(named, str) or not isinstance(about, dict):
        raise fail("pretrained weights are not described", "what was saved with them", "train the run again")
    with _lock:
        found = _held.get(named)
    if found is not None:
        return found
    module = filled(empty(about), state.arrays)
    made = held(about, module)
    if made.digest != named:
        raise fail("pretrained weights are damaged", "the ones that were saved", "train the run again")
    return made


def filled(module: nn.Module, arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """The module with these parameters. Raises ConsilienceError where they do not fit."""
    try:
        module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    except RuntimeError as error:
        raise fail(
            f"pretrained weights do not fit: {' '.join(str(error).split())[:300]}", "the ones that were saved", "train again"
        ) from None
    return module
