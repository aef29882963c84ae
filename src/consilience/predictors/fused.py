"""The fused network: an encoder for each input, a fusion, a head, trained together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import Field

from consilience import component
from consilience.component import chosen
from consilience.data.loader import make_batch
from consilience.data.view import Present, View
from consilience.encoders.base import Encoder
from consilience.errors import fail
from consilience.fusions.base import Fusion
from consilience.metrics import GREATER_IS_BETTER, Estimate, paired_difference
from consilience.model import Network
from consilience.predictors.base import AUTO, Context, Predictor, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import encoders_state, fit_encoders, part, restore_encoders
from consilience.train.loop import Train, best_epoch, train_network
from consilience.train.threads import one_thread
from consilience.train.tune import Tune, begin, carry_over, rates, tuned
from consilience.types import Schema, State


@dataclass(frozen=True, eq=False)
class _Fit:
    """What `fit` was asked for."""

    view: View
    train: np.ndarray
    valid: np.ndarray | None
    context: Context
    rng: np.random.Generator
    budget: Budget


class Fused(Predictor):
    """One network over all inputs."""

    class Config(Predictor.Config):
        width: int = Field(128, ge=8, le=4096, description="D of the tokens that are fused.")
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of a token's entries dropped before its projection.")
        fusion: chosen("fusions") = Field(  # type: ignore[valid-type]
            default_factory=lambda: component.choose("fusions", "transformer"), description="How tokens become one vector."
        )
        train: Train = Field(default_factory=lambda: Train.model_validate({}), description="How the network is trained.")
        tune: Tune = Field(default_factory=lambda: Tune.model_validate({}), description="How pretrained encoders are tuned.")

        @property
        def learns(self) -> bool:
            return self.tune.method != "frozen"

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        self.encoders = {name: make_encoder(config, schema[name]) for name in self.inputs}
        self._fusion()  # whether its options fit the width is known now, not after hours
        self.network: Network | None = None
        self.device = "cpu"
        self.epochs: int | None = None
        self.tuned: int | None = None  # epochs

    @classmethod
    def expand(cls, name: str, config: Config, schema: Schema) -> dict[str, Predictor]:
        """None where pretrained encoders are to be tuned and there is no such encoder.

        Raises ConsilienceError where the recipe names other encoders to tune.
        """
        made = cls(config=config, schema=schema)
        method, rank = config.tune.method, config.tune.rank
        if not config.learns or any(encoder.tuned(method, rank) is not encoder for encoder in made.encoders.values()):
            return {name: made}
        if config.encoder == AUTO or AUTO in map(str, config.encoders.values()):
            return {}
        raise fail(
            f"predictors.{name}.tune.method is {config.tune.method}, and none of its encoders arrived trained",
            "an encoder that can be tuned",
            "set encoder: pretrained for an input of text, image or audio, or leave tune away",
        )

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        self.device, self.network, self.history = budget.device, None, []
        self.epochs = self.tuned = None
        case, method = _Fit(view, train, valid, context, rng, budget), self.options.tune.method
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            # Made anew, so that their first weights come from the seed.
            self.encoders = {name: make_encoder(self.options, self.schema[name]) for name in self.inputs}
            small = budget.device == "cpu" and all(encoder.frozen for encoder in self.encoders.values())
            with one_thread(small):
                fit_encoders(self.encoders, view, train, context.seed)
            if method in ("frozen", "head-then-tune"):
                self._encode(case, self.options.train)
                with one_thread(small):
                    self.epochs = self._train(case, self.options.train, {})
            if method != "frozen":
                self._tune(case)

    def _encode(self, case: _Fit, config: Train) -> None:
        """Encode what a training will ask of heavy frozen encoders: in its batches they would have one thread."""
        rows = case.train if case.valid is None else np.union1d(case.train, case.valid)
        views = config.views if config.augment else 0
        for name, encoder in self.encoders.items():
            if encoder.heavy and encoder.frozen:
                case.view.encoded(encoder, name, rows)
                for variation in range(1, views + 1):
                    case.view.encoded(encoder, name, case.train, variation)

    def _train(self, case: _Fit, config: Train, rates: Mapping[str, float]) -> int:
        """Train a network of the encoders as they are; the best epoch."""
        context, device = case.context, case.budget.device
        if self.network is None:
            self.network = self._network(context.task)
        network = self.network.to(device)
        validate = None if case.valid is None else self._validation(case.view, case.valid, context)
        label = "fused" if len(self.inputs) > 1 else next(iter(self.inputs))
        history = train_network(
            network, case.view, case.train, context.task, config, case.rng, case.budget, label, validate, rates
        )
        self.history += [
            {"epoch": item.epoch, "loss": item.loss, "metric": None if item.metric is None else context.shown(item.metric)}
            for item in history
        ]
        return best_epoch(history)

    def _tune(self, case: _Fit) -> None:
        """Let the encoders learn, from what was trained before; that is taken back where it is as good within noise, and where
        a person interrupts before there is anything better.
        """
        options, before, frozen = self.options.tune, self.network, self.encoders
        view, valid, context = case.view, case.valid, case.context
        probed = None if before is None or valid is None else self.scores(view, valid, context.task)
        self.encoders = tuned(frozen, options)
        begin(self.encoders)
        self.network = self._network(context.task)
        if before is not None:
            carry_over(before, self.network)
        self._encode(case, options.train)
        with case.budget.interruptible(lambda: before is not None):
            below = replace(case, budget=case.budget.below("tune"))
            self.tuned = self._train(below, options.train, rates(self.network, options))
        if self.tuned is not None:
            if probed is None or valid is None or case.budget.stop.is_set():
                return
            gain = self._gain(view, valid, context, probed)
            if gain.low > 0:
                return
            found = f"{gain.value:.4f} [{gain.low:.4f}, {gain.high:.4f}] in {context.task.proper}"
            case.budget.progress.say(f"  tuning gained {found}: not kept")
        self.encoders, self.network, self.tuned = frozen, before, None

    def _gain(self, view: View, valid: np.ndarray, context: Context, probed: np.ndarray) -> Estimate:
        """By how much the proper score of the validation rows is better than with the scores `probed`."""
        encoded, weight = context.task.encode(view.target(valid)), view.weight(valid)
        after = self.scores(view, valid, context.task)

        def measure(scores: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
            measured = context.task.measure(scores, encoded)
            turn = 1.0 if GREATER_IS_BETTER[context.task.proper] else -1.0
            return lambda counts: {"gain": turn * measured(counts * weight)[context.task.proper]}

        rng = np.random.default_rng(context.seed)
        return paired_difference(measure(after), measure(probed), len(valid), rng, view.groups(valid))["gain"]

    def _validation(self, view: View, valid: np.ndarray, context: Context) -> Callable[[], float]:
        """A function that gives the metric on the validation rows, larger is better, as the network stands."""
        encoded, weight = context.task.encode(view.target(valid)), view.weight(valid)

        def validate() -> float:
            assert self.network is not None
            self.network.eval()
            return context.value(self.scores(view, valid, context.task), encoded, weight)

        return validate

    def settled(self) -> Config:
        options = self.options
        if self.epochs is not None:
            options = options.model_copy(update={"train": options.train.model_copy(update={"stop": self.epochs})})
        if options.tune.method == "frozen":
            return options
        stopped = {"train": options.tune.train.model_copy(update={"stop": self.tuned})}
        changed = {"method": "frozen"} if self.tuned is None else stopped
        return options.model_copy(update={"tune": options.tune.model_copy(update=changed)})

    def encoded_by(self) -> Mapping[str, Encoder]:
        return self.encoders

    def raw(self, view: View, rows: np.ndarray, present: Present) -> np.ndarray:
        assert self.network is not None, "fit or restore first"
        batch = make_batch(view, self.encoders, rows, present, fixed=True)
        with torch.no_grad():
            raw, _ = self.network(batch.to(self.device))
        return raw.to("cpu", torch.float64).numpy()

    def place(self, device: str) -> None:
        assert self.network is not None, "fit or restore first"
        self.device = device
        self.network.to(device)

    def state(self) -> State:
        assert self.network is not None, "fit or restore first"
        encoders = encoders_state(self.encoders)
        weights = {f"network/{name}": value.cpu().numpy() for name, value in self.network.state_dict().items()}
        learned = {f"encoder/{name}": array for name, array in encoders.arrays.items()}
        epochs = {"epochs": self.epochs, "tuned": self.tuned}
        return State({"encoders": encoders.json, **epochs, "history": self.history}, {**weights, **learned})

    def restore(self, state: State, task: Task) -> None:
        if self.options.tune.method != "frozen":
            self.encoders = tuned(self.encoders, self.options.tune)
        restore_encoders(self.encoders, State(state.json.get("encoders", {}), part(state.arrays, "encoder")))
        self.network = self._network(task)
        weights = {name: torch.from_numpy(array.copy()) for name, array in part(state.arrays, "network").items()}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise fail(
                f"the weights do not fit the network: {error}", "the weights that were saved with it", "train again"
            ) from None
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise fail("the weights of the network are damaged", "finite numbers", "train again")
        self.network.eval()
        self.epochs, self.tuned = state.json.get("epochs"), state.json.get("tuned")
        if not all(count is None or isinstance(count, int) for count in (self.epochs, self.tuned)):
            raise fail("the epochs of the network are damaged", "whole numbers", "train again")
        self.history = list(state.json.get("history", ()))

    def _network(self, task: Task) -> Network:
        fusion = self._fusion()
        return Network(self.encoders, fusion, task.head(fusion.width), self.options.dropout)

    def _fusion(self) -> Fusion:
        options = self.options
        cls = component.find("fusions", options.fusion.kind)
        return cls(config=options.fusion.config, inputs=self.inputs, width=options.width)
