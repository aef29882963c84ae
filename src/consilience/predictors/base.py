"""The contract of a predictor: anything that turns a view into scores.

Everything a predictor learns from rows it learns in `fit`, from training rows; validation rows choose its free numbers
(epochs, strengths). `settled` is its configuration with those numbers filled in, so that a refit on train and valid
together needs no validation.

`present` may only remove inputs. Subsets, Shapley values, curves over missing rates and serving are all made of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from consilience import arrays, component
from consilience.allocating import Allocating
from consilience.data.schema import modality_of
from consilience.data.view import Present, View
from consilience.encoders import shipped
from consilience.encoders.base import CHUNK, Encoder
from consilience.encoders.several import SeveralEncoder
from consilience.errors import ConsilienceError, Problem, fail, nearest, raise_all
from consilience.files import read_json, write_json
from consilience.metrics import GREATER_IS_BETTER
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import MOST_VALID, drawn
from consilience.train.threads import one_thread
from consilience.types import Input, Schema, State

__all__ = ["Predictor"]

DAMAGE = (AttributeError, IndexError, KeyError, OSError, OverflowError, RuntimeError, SafetensorError, TypeError, ValueError)
"""What taking back a saved state can raise, where its file holds something else than was written."""

_MOST = 1e18
"""Larger weights are damage: their squares would be no numbers of float32."""


@dataclass(frozen=True, eq=False)
class Context:
    """What a predictor is fitted for: the task with its fitted target, the metric to choose by, and the recipe's seed.

    The seed is for what predictors share (fitted encoders, out-of-fold scores); what is a predictor's own it draws from
    the generator that `fit` is handed.
    """

    task: Task
    metric: str
    seed: int

    def value(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        """The metric on some rows, turned so that larger is better."""
        return self._turned(self.metric, scores, encoded, weight)

    def proper(self, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        """The task's proper score on some rows, turned so that larger is better."""
        return self._turned(self.task.proper, scores, encoded, weight)

    def shown(self, value: float) -> float:
        """The metric as people know it, from a value that is turned so that larger is better."""
        return value if GREATER_IS_BETTER[self.metric] else -value

    def _turned(self, metric: str, scores: np.ndarray, encoded: np.ndarray, weight: np.ndarray) -> float:
        value = self.task.measure(scores, encoded)(weight)[metric]
        return value if GREATER_IS_BETTER[metric] else -value


class Predictor(ABC):
    """Subclasses are final and hold a nested `Config` derived from this one."""

    class Config(component.Config):
        inputs: tuple[str, ...] | None = Field(None, description="The inputs it may use; default: all.")
        encoder: str = Field(
            "descriptor",
            description="The encoder of inputs that `encoders` does not name; auto: a pretrained one where it proves better.",
        )
        encoders: dict[str, dict[str, Any] | str] = Field(
            {}, description="Encoder by input or modality: a name, or a mapping with `kind` and its options."
        )

        @property
        def learns(self) -> bool:
            """Are encoders that arrived trained tuned?"""
            return False

    def __init__(self, *, config: Config, schema: Schema) -> None:
        self.config = config
        self.schema = schema
        self.history: list[dict[str, float | int | None]] = []  # an entry for each epoch, of predictors that have epochs
        names = config.inputs if config.inputs is not None else schema.names
        problems = [
            Problem(f"a predictor uses the input {name!r}, which does not exist", "an input", nearest(name, schema.names))
            for name in names
            if name not in schema.names
        ]
        modalities = set(component.names("modalities"))
        problems += [
            Problem(f"encoders.{key} names no input", "an input or a modality", nearest(key, {*schema.names, *modalities}))
            for key in config.encoders
            if key not in schema.names and key not in modalities
        ]
        if not names:
            problems.append(Problem("a predictor has no input", "at least one", f"choose of {', '.join(schema.names)}"))
        if problems:
            raise ConsilienceError(*problems)
        self.inputs: tuple[str, ...] = tuple(name for name in schema.names if name in names)

    def check_names(self, key: str, names: Iterable[str]) -> None:
        """Raise ConsilienceError where an option names inputs that this predictor does not have."""
        raise_all(
            Problem(f"{key}.{name} names no input of the predictor", "one of its inputs", nearest(name, self.inputs))
            for name in names
            if name not in self.inputs
        )

    @classmethod
    def expand(cls, name: str, config: Any, schema: Schema) -> dict[str, Predictor]:
        """The predictors that one entry of the recipe stands for, by name; none where there is nothing for it to do."""
        return {name: cls(config=config, schema=schema)}

    @abstractmethod
    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        """Learn from the rows `train`. `valid` chooses what is free; None: everything is settled, use it as it is."""

    @abstractmethod
    def settled(self) -> Config:
        """The configuration with everything that `fit` chose filled in."""

    def encoded_by(self) -> Mapping[str, Encoder]:
        """The encoders whose stored tokens `raw` asks for, by input."""
        return {}

    @abstractmethod
    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        """Raw [R, K] of rows that each have one of `inputs` at least. R is CHUNK always."""

    def scores(self, view: View, rows: np.ndarray, task: Task, present: Present | None = None) -> np.ndarray:
        """Scores [R, C]; the prior where none of the predictor's inputs is present."""
        here = self.present(view, rows, present)
        for name, encoder in self.encoded_by().items():
            if encoder.heavy:  # all at once, so that batches of one length fill up, and threads have work
                view.encoded(encoder, name, rows[here[name]])
        scores = np.tile(task.prior(), (len(rows), 1))
        some = np.flatnonzero(np.stack(list(here.values())).any(0))
        with one_thread():  # how threads share out the rows of a chunk shows in the last bits
            for start in range(0, len(some), CHUNK):
                part = some[start : start + CHUNK]
                padded = np.concatenate([part, np.repeat(part[-1:], CHUNK - len(part))])
                raw = self.raw(view, rows[padded], {name: values[padded] for name, values in here.items()})
                scores[part] = task.scores(raw)[: len(part)]
        return scores

    def present(self, view: View, rows: np.ndarray, present: Present | None = None) -> dict[str, np.ndarray]:
        """Per input of the predictor [R] bool: there, and not removed."""
        here = view.present(rows, self.inputs)
        if present is None:
            return here
        for name in self.inputs:
            assert not (present[name] & ~here[name]).any(), f"present may only remove inputs, {name} was added"
        return {name: present[name] for name in self.inputs}

    @abstractmethod
    def state(self) -> State:
        """Everything learned, as JSON and arrays."""

    @abstractmethod
    def restore(self, state: State, task: Task) -> None:
        """Take back what `state` gave. Raises ConsilienceError where it is not valid."""

    def place(self, device: str) -> None:
        """Answer on that device, as after `fit` with it; for predictors that hold a network."""

    def kept(self) -> State:
        """All that `taken` needs, for a checkpoint."""
        state = self.state()
        return State({"config": self.settled().model_dump(mode="json"), "state": state.json}, state.arrays)

    @classmethod
    def taken(cls, state: State, schema: Schema, task: Task) -> Self:
        """A predictor of what `kept` gave. Raises ConsilienceError where a value is not valid, or one of `DAMAGE`."""
        for name, array in state.arrays.items():
            if array.dtype == np.float32 and not (np.abs(array) <= _MOST).all():
                raise fail(f"the state {name} holds impossible numbers", f"finite ones up to {_MOST:g}", "train again")
        with Allocating(sum(array.size for array in state.arrays.values())):
            predictor = cls(config=cls.Config.model_validate(state.json["config"]), schema=schema)
            predictor.restore(State(state.json["state"], state.arrays), task)
        return predictor

    def save(self, folder: Path, shared: Path) -> None:
        """Write `config.json` and `state.safetensors`, and large arrays into the folder `shared`, each once."""
        folder.mkdir(parents=True)
        state = self.kept()
        small, large = arrays.apart(state.arrays, shared)
        write_json(folder / "config.json", {**state.json, "arrays": large})
        packed = save(small)
        (folder / "state.safetensors").write_bytes(packed)  # `save_file` would keep it from other users of the machine

    @classmethod
    def load(cls, folder: Path, shared: Path, schema: Schema, task: Task) -> Self:
        """Read what `save` wrote. Executes nothing of it; raises ConsilienceError where it is not valid."""
        head = read_json(folder / "config.json")
        try:
            found = arrays.together(load_file(folder / "state.safetensors"), head.get("arrays", {}), shared)
            return cls.taken(State(head, found), schema, task)
        except ConsilienceError:
            raise
        except DAMAGE as error:
            raise fail(f"{folder} is damaged: {' '.join(str(error).split())}", "a saved predictor", "train again") from error


def fitted_on(
    train: np.ndarray, valid: np.ndarray | None, context: Context, budget: Budget
) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows that a fit in memory sees, for predictors that have one; it is said where they are not all."""
    rows = drawn(train, context.seed)
    if len(rows) < len(train):
        budget.progress.say(f"  {len(rows)} of {len(train)} rows drawn for a fit in memory")
    return rows, None if valid is None else drawn(valid, context.seed, MOST_VALID)


AUTO, PRETRAINED = "auto", "pretrained"


def wanted(config: Predictor.Config, item: Input) -> dict[str, Any]:
    """Which encoder a configuration asks for an input: its `kind`, and options; those of no kind are the descriptor's."""
    found = config.encoders.get(item.name, config.encoders.get(item.modality, config.encoder))
    plain = "descriptor" if config.encoder == AUTO else config.encoder
    return {"kind": found} if isinstance(found, str) else {"kind": plain, **found}


def has_pretrained(item: Input) -> bool:
    """Is there a pretrained encoder for an input without naming one?"""
    return PRETRAINED in modality_of(item).encoders() and shipped.available(item.modality)


def make_encoder(config: Predictor.Config, item: Input) -> Encoder:
    """The encoder that a predictor's configuration chooses for an input, not fitted yet."""
    kinds = modality_of(item).encoders()
    options = wanted(config, item)
    kind = options["kind"]
    if kind == AUTO:  # nobody has compared them yet, or nothing but the pretrained one can learn
        kind = PRETRAINED if config.learns and has_pretrained(item) else "descriptor"
    if not isinstance(kind, str) or kind not in kinds:
        raise fail(
            f"the input {item.name!r} ({item.modality}) has no encoder {kind!r}", "an encoder", nearest(str(kind), kinds)
        )
    cls = component.load(kinds[kind])
    if not cls.complete:  # type: ignore[attr-defined]
        raise fail(
            f"the encoder {kind!r} of {item.name!r} leaves gaps as NaN, for trees, which use it by themselves",
            "an encoder without gaps",
            "choose descriptor or scratch",
        )
    try:
        chosen = cls.Config.model_validate({key: value for key, value in options.items() if key != "kind"})
    except ValidationError as error:
        raise ConsilienceError(
            *(
                Problem(
                    f"{'.'.join(map(str, ('encoders', item.name, *problem['loc'])))}: {problem['msg']}",
                    f"options of the encoder {kind} that go together",
                    nearest(str(problem["loc"][-1]), cls.Config.model_fields) if problem["type"] == "extra_forbidden" else "",
                )
                for problem in error.errors()
            )
        ) from None
    encoder = cls(config=chosen, input=item)
    return SeveralEncoder(encoder) if item.many else encoder
