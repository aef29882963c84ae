"""The loop: the best epoch's weights are kept, a refit repeats what was found, and weights of rows mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.encoders.base import Encoder
from consilience.errors import ConsilienceError
from consilience.fusions.concat import Concat
from consilience.modalities.tabular import Record
from consilience.model import Network
from consilience.progress import Advance, Budget, Silent
from consilience.tasks.classification import Classification
from consilience.train import loop
from consilience.train.loop import Epoch, Train, best_epoch, train_network
from consilience.types import Input, Limits, Sample, Schema, Tokens

X = Input("x", "tabular", ("x",), ("number",))
N = 40


class Number(Encoder):
    """One token, the number."""

    modality = "tabular"
    width, length, frozen = 1, 1, True

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        assert isinstance(sample, Record)
        return {"x": torch.tensor([sample.values["x"]], dtype=torch.float32)}

    def forward(self, batch: dict[str, Tensor]) -> Tokens:
        return Tokens(batch["x"].unsqueeze(1), torch.ones(len(batch["x"]), 1, dtype=torch.bool))


def make_view(x: list[float | None], y: list[str], weight: list[float] | None = None) -> View:
    table = pa.table({"x": pa.array(x, pa.float64()), "y": y, "w": weight or [1.0] * len(x)})
    return View(read_table(table), Schema("y", (X,), ()), Store(), Limits(), "w" if weight else None)


def make_network(task: Classification) -> Network:
    torch.manual_seed(0)
    encoder = Number(config=Encoder.Config(), input=X)
    fusion = Concat(config=Concat.Config(dropout=0.0), inputs=("x",), width=8)
    return Network({"x": encoder}, fusion, task.head(8), 0.0)


def make_task(**options: Any) -> Classification:
    task = Classification(config=Classification.Config(**options))
    task.fit(["a", "b"])
    return task


X_CELLS: list[float | None] = [float(row % 5) - 2 for row in range(N)]
Y_CELLS = ["ab"[row % 5 > 2] for row in range(N)]


def train(
    view: View | None = None,
    validate: Callable[[Network], float] | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    **options: Any,
) -> tuple[Network, list[Epoch]]:
    """A network trained on every row, and its history."""
    task = make_task()
    network = make_network(task)
    given = None if validate is None else lambda: validate(network)
    rng, budget = np.random.default_rng(seed), budget or Budget("cpu", Silent())
    view = view or make_view(X_CELLS, Y_CELLS)
    config = Train(**{"epochs": 3, "batch": 16, "rate": 0.02, **options})
    return network, train_network(network, view, np.arange(len(view)), task, config, rng, budget, "it", given)


def weights(network: nn.Module) -> dict[str, list[Any]]:
    return {name: value.tolist() for name, value in network.state_dict().items()}


# Epochs


def test_the_loss_falls_and_the_network_is_left_for_use() -> None:
    network, history = train(epochs=20)
    assert [item.epoch for item in history] == list(range(1, 21))
    assert history[-1].loss < 0.5 * history[0].loss
    assert all(item.metric is None for item in history)
    assert not network.training


def test_one_seed_gives_one_network_and_another_another() -> None:
    assert weights(train()[0]) == weights(train()[0])
    assert weights(train()[0]) != weights(train(seed=1)[0])


@pytest.mark.parametrize(("epochs", "stop", "trained"), [(5, None, 5), (5, 2, 2), (5, 5, 5), (3, 9, 3)])
def test_without_validation_it_trains_until_it_is_told_to_stop(epochs: int, stop: int | None, trained: int) -> None:
    assert len(train(epochs=epochs, stop=stop)[1]) == trained


def test_an_interrupt_keeps_the_best_epoch_so_far() -> None:
    kept: dict[int, Any] = {}

    def validate(network: Network) -> float:
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept[len(kept) + 1] = weights(network)
        return [0.5, 0.9, 0.1][len(kept) - 1]

    budget = Budget("cpu", Silent())
    network, history = train(epochs=9, validate=validate, budget=budget)
    assert [item.metric for item in history] == [0.5, 0.9, 0.1]
    assert weights(network) == kept[2]
    assert budget.stop.is_set()
    assert not network.training


def test_an_interrupt_before_anything_is_of_use_is_let_through() -> None:
    def interrupt(network: Network) -> float:
        del network
        raise KeyboardInterrupt

    budget = Budget("cpu", Silent())
    with pytest.raises(KeyboardInterrupt):
        train(validate=interrupt, budget=budget)
    assert not budget.stop.is_set()


def test_stopping_keeps_the_schedule_of_all_epochs() -> None:
    kept: dict[int, Any] = {}

    def validate(network: Network) -> float:
        kept[len(kept) + 1] = weights(network)
        return 0.0

    train(epochs=6, validate=validate)
    assert weights(train(epochs=6, stop=2)[0]) == kept[2]
    assert weights(train(epochs=2)[0]) != kept[2]  # its rate has fallen to zero by then


@pytest.mark.parametrize(
    ("metrics", "patience", "trained", "best"),
    [
        ([0.1, 0.5, 0.3, 0.2, 0.9], 2, 4, 2),
        ([0.1, 0.5, 0.3, 0.2, 0.9], 3, 5, 5),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 9, 5, 1),
        ([-3.0, -2.0, -2.5, -2.0, -9.0], 9, 5, 2),
        ([math.nan, 0.2, math.nan, 0.1, 0.1], 9, 5, 2),
        ([math.nan] * 5, 1, 5, 5),
        ([-math.inf, -math.inf, -1.0, -2.0, -3.0], 9, 5, 3),
    ],
)
def test_the_best_epoch_is_kept(metrics: list[float], patience: int, trained: int, best: int) -> None:
    kept: list[Any] = []

    def validate(network: Network) -> float:
        kept.append(weights(network))
        return metrics[len(kept) - 1]

    network, history = train(epochs=5, patience=patience, validate=validate)
    assert len(history) == trained
    assert best_epoch(history) == best
    assert weights(network) == kept[best - 1]
    assert np.array_equal([item.metric for item in history], metrics[:trained], equal_nan=True)
    assert not network.training


def test_the_network_learns_on_after_it_was_validated_in_evaluation_mode() -> None:
    seen: list[bool] = []

    def validate(network: Network) -> float:
        seen.append(network.training)
        network.eval()
        return float(len(seen))

    changed = [weights(train(epochs=epochs, stop=stop, validate=validate)[0]) for epochs, stop in ((3, 1), (3, 2), (3, 3))]
    assert changed[0] != changed[1] != changed[2]
    assert all(seen)


# Rows


def test_rows_of_weight_zero_have_no_say() -> None:
    weight = [0.0 if row % 4 == 0 else 1.0 for row in range(N)]
    lied = [("b" if cell == "a" else "a") if weight[row] == 0 else cell for row, cell in enumerate(Y_CELLS)]
    told = [weights(train(make_view(X_CELLS, cells, weight))[0]) for cells in (Y_CELLS, lied)]
    assert told[0] == told[1]
    assert weights(train(make_view(X_CELLS, lied))[0]) != weights(train(make_view(X_CELLS, Y_CELLS))[0])


def test_the_scale_of_the_weights_does_not_matter_but_their_ratio_does() -> None:
    plain = weights(train()[0])
    assert weights(train(make_view(X_CELLS, Y_CELLS, [8.0] * N))[0]) == plain
    assert weights(train(make_view(X_CELLS, Y_CELLS, [1.0 + row % 3 for row in range(N)]))[0]) != plain


def test_rows_without_an_input_are_neither_trained_on_nor_counted() -> None:
    gaps: list[float | None] = [*X_CELLS, *[None] * 30]
    seen: list[tuple[int, int]] = []
    original = loop.schedule
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            loop, "schedule", lambda step, steps, warmup: (seen.append((step, steps)), original(step, steps, warmup))[1]
        )
        found = weights(train(make_view(gaps, Y_CELLS + ["a"] * 30))[0])
    assert sorted(set(seen)) == [(step, 9) for step in range(9)]  # 3 epochs of 3 batches
    assert found == weights(train()[0])


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(ConsilienceError, match=r"no training row has what it is trained on \(x\)"):
        train(make_view([None] * N, Y_CELLS))


def test_a_loss_that_is_no_number_is_an_error_that_names_the_network() -> None:
    with pytest.raises(ConsilienceError, match="the loss of it became nan in epoch 1"):
        train(make_view([1e38 if row else -1e38 for row in range(N)], Y_CELLS), rate=1e30, clip=1e30)


# Precision and progress


def test_bf16_is_another_result_and_auto_is_float32_on_a_processor() -> None:
    assert weights(train(precision="auto")[0]) == weights(train(precision="float32")[0])
    network, history = train(precision="bf16")
    assert weights(network) != weights(train()[0])
    assert all(math.isfinite(item.loss) for item in history)
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_every_step_is_reported() -> None:
    bars: list[tuple[str, int]] = []
    steps: list[int] = []

    class Told(Silent):
        @contextmanager
        def bar(self, label: str, total: int) -> Iterator[Advance]:
            bars.append((label, total))
            yield lambda done, note: steps.append(done)

    task, config = make_task(), Train(epochs=2, batch=16)
    rng, budget = np.random.default_rng(0), Budget("cpu", Told())
    train_network(make_network(task), make_view(X_CELLS, Y_CELLS), np.arange(N), task, config, rng, budget, "it")
    assert bars == [("it", 6)]
    assert steps == [1] * 6


@pytest.mark.parametrize(
    ("metrics", "best"),
    [([None, None], 2), ([1.0, None], 1), ([0.0, 0.0], 1), ([math.nan, -5.0], 2), ([1.0, 2.0, 1.0], 2)],
)
def test_best_epoch(metrics: list[float | None], best: int) -> None:
    assert best_epoch([Epoch(index, 1.0, metric) for index, metric in enumerate(metrics, 1)]) == best


def test_weights_of_classes_weigh_rows() -> None:
    rare = ["b" if row < 4 else "a" for row in range(N)]
    view = make_view(X_CELLS, rare)
    found = []
    for kind in ("none", "balanced"):
        task = Classification(config=Classification.Config(class_weight=kind))  # type: ignore[arg-type]
        task.fit(rare)
        network = make_network(task)
        train_network(
            network, view, np.arange(N), task, Train(epochs=2), np.random.default_rng(0), Budget("cpu", Silent()), "it"
        )
        found.append(weights(network))
    assert found[0] != found[1]
