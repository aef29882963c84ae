"""The fused network: an encoder for each input, a fusion, a head, trained together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from pydantic import Field

from consilience import component
from consilience.component import chosen
from consilience.data.loader import make_batch
from consilience.data.view import Present, View
from consilience.errors import fail
from consilience.fusions.base import Fusion
from consilience.model import Network
from consilience.predictors.base import Context, Predictor, make_encoder
from consilience.progress import Budget
from consilience.tasks.base import Task
from consilience.train.features import encoders_state, fit_encoders, part, restore_encoders
from consilience.train.loop import Train, best_epoch, train_network
from consilience.train.threads import one_thread
from consilience.types import Schema, State


class Fused(Predictor):
    """One network over all inputs."""

    class Config(Predictor.Config):
        width: int = Field(128, ge=8, le=4096, description="D of the tokens that are fused.")
        dropout: float = Field(0.2, ge=0, lt=1, description="Share of a token's entries dropped before its projection.")
        fusion: chosen("fusions") = Field(  # type: ignore[valid-type]
            default_factory=lambda: component.choose("fusions", "transformer"), description="How tokens become one vector."
        )
        train: Train = Field(default_factory=lambda: Train.model_validate({}), description="How the network is trained.")

    def __init__(self, *, config: Config, schema: Schema) -> None:
        super().__init__(config=config, schema=schema)
        self.options = config
        self.encoders = {name: make_encoder(config, schema[name]) for name in self.inputs}
        self._fusion()  # whether its options fit the width is known now, not after hours
        self.network: Network | None = None
        self.device = "cpu"
        self.epochs = 0

    def fit(
        self,
        view: View,
        train: np.ndarray,
        valid: np.ndarray | None,
        context: Context,
        rng: np.random.Generator,
        budget: Budget,
    ) -> None:
        self.device = budget.device
        small = budget.device == "cpu" and all(encoder.frozen for encoder in self.encoders.values())
        with one_thread(small), torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            # Made anew, so that their first weights come from the seed.
            self.encoders = {name: make_encoder(self.options, self.schema[name]) for name in self.inputs}
            fit_encoders(self.encoders, view, train, context.seed)
            network = self.network = self._network(context.task).to(budget.device)
            validate = None if valid is None else self._validation(view, valid, context)
            label = "fused" if len(self.inputs) > 1 else next(iter(self.inputs))
            history = train_network(network, view, train, context.task, self.options.train, rng, budget, label, validate)
        self.epochs = best_epoch(history)
        self.history = [
            {"epoch": item.epoch, "loss": item.loss, "metric": None if item.metric is None else context.shown(item.metric)}
            for item in history
        ]

    def _validation(self, view: View, valid: np.ndarray, context: Context) -> Callable[[], float]:
        """A function that gives the metric on the validation rows, larger is better, as the network stands."""
        encoded, weight = context.task.encode(view.target(valid)), view.weight(valid)

        def validate() -> float:
            assert self.network is not None
            self.network.eval()
            return context.value(self.scores(view, valid, context.task), encoded, weight)

        return validate

    def settled(self) -> Config:
        return self.options.model_copy(update={"train": self.options.train.model_copy(update={"stop": self.epochs})})

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
        return State({"encoders": encoders.json, "epochs": self.epochs, "history": self.history}, {**weights, **learned})

    def restore(self, state: State, task: Task) -> None:
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
        self.epochs, self.history = int(state.json.get("epochs", 0)), list(state.json.get("history", ()))

    def _network(self, task: Task) -> Network:
        fusion = self._fusion()
        return Network(self.encoders, fusion, task.head(fusion.width), self.options.dropout)

    def _fusion(self) -> Fusion:
        options = self.options
        cls = component.find("fusions", options.fusion.kind)
        return cls(config=options.fusion.config, inputs=self.inputs, width=options.width)
