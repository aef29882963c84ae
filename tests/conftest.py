"""One small table with everything in it: pictures, text, numbers and a category, some of it empty, broken or not there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
import soundfile
import torch

from consilience import pipeline
from consilience.data.schema import infer_schema
from consilience.data.split import Splits
from consilience.data.store import Store
from consilience.data.table import read_table
from consilience.data.view import View
from consilience.encoders import shipped
from consilience.predictors.base import Context, Predictor
from consilience.progress import Budget, Silent
from consilience.recipe import Recipe, make_recipe
from consilience.tasks.base import Task
from consilience.types import Schema

ROWS = 120

MOST = 200
"""Rows that can be asked for; the first ones are the same however many are."""

WORDS = {"calm": ("rest", "quiet", "sleep"), "fever": ("hot", "flush", "pulse"), "pain": ("ache", "sharp", "burn")}

TINY: Mapping[str, Mapping[str, Any]] = {
    "image": {"kind": "descriptor", "side": 32, "cell": 16},
    "text": {"kind": "descriptor", "width": 8},
}
TINY_SCRATCH: Mapping[str, Mapping[str, Any]] = {
    "image": {"kind": "scratch", "side": 16, "width": 32, "depth": 1, "heads": 2},
    "text": {"kind": "scratch", "width": 16, "depth": 1, "heads": 2, "length": 8, "buckets": 200},
    "tabular": {"kind": "scratch", "width": 16, "depth": 1, "heads": 2},
}
_TRAIN = {"epochs": 2, "batch": 32}
PREDICTORS: Mapping[str, Mapping[str, Any]] = {
    "fused": {"width": 16, "fusion": {"kind": "transformer", "depth": 1, "heads": 2}, "train": _TRAIN, "encoders": TINY},
    "concat": {"kind": "fused", "width": 16, "fusion": "concat", "train": _TRAIN, "encoders": TINY},
    "scratch": {
        "kind": "fused",
        "width": 16,
        "fusion": {"kind": "transformer", "depth": 1, "heads": 2},
        "train": _TRAIN,
        "encoders": TINY_SCRATCH,
    },
    "linear": {"encoders": TINY, "strength": 0.01},
    "stack": {"encoders": TINY, "folds": 2},
    "trees": {"encoders": TINY, "folds": 2, "iterations": 8},
    "single": {"encoders": TINY},
}
"""Every kind of predictor, as small as its options allow."""


@pytest.fixture(autouse=True, scope="session")
def without_shipped_encoders() -> Iterator[None]:
    """Presets train as where the extra `shipped` is not installed, in half of the time; who needs it puts it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "available", lambda modality: False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one picture of 16 x 16 pixels a row, brighter the higher the class of the row; 5 is broken, 6 cut off.

    And one recording of 0.7 seconds a row, higher the higher the class.
    """
    folder = tmp_path_factory.mktemp("media")
    rng, hiss = np.random.default_rng(1), np.random.default_rng(2)
    for row in range(ROWS):
        level = 70 + 50 * (row % 3) + rng.normal(0, 40)
        pixels = np.clip(level + rng.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{row}.png")
        waves = 0.2 * np.sin(np.arange(2800) * (0.2 + 0.4 * (row % 3))) + hiss.normal(0, 0.1, 2800)
        soundfile.write(folder / f"{row}.wav", waves, 4000)
    (folder / "5.png").write_bytes(b"no picture at all")
    whole = (folder / "6.png").read_bytes()
    (folder / "6.png").write_bytes(whole[: len(whole) // 2])
    return folder


def make_columns(rows: int = ROWS, target: str = "three") -> dict[str, list[str | None]]:
    """Columns of strings, as a CSV has them. `target`: three or two classes, or a number. The class of a row is row % 3.

    Row 0 is complete; 5 and 6 have broken pictures, 7 a path to nothing, 8 no picture, 9 no text, 10 no columns, 11 nothing.
    """
    rng = np.random.default_rng(0)
    classes = [row % 3 for row in range(MOST)]
    names = sorted(WORDS)
    columns: dict[str, list[str | None]] = {
        "photo": [f"{row % ROWS}.png" for row in range(MOST)],
        "note": [
            f"{rng.choice(WORDS[names[kind]])} {rng.choice(WORDS[names[rng.integers(3)]])} note taken on day {rng.integers(9)}"
            for kind in classes
        ],
        "age": [f"{40 + 10 * kind + 8 * rng.normal():.1f}" for kind in classes],
        "dose": [f"{rng.normal():.3f}" if rng.random() > 0.1 else None for _ in classes],
        "ward": [("north", "south", "east")[kind if rng.random() < 0.6 else rng.integers(3)] for kind in classes],
    }
    missing = {"photo": {7: "gone.png", 8: None, 11: ""}, "note": {9: None, 11: " "}}
    missing |= {name: {10: None, 11: None} for name in ("age", "dose", "ward")}
    for name, cells in missing.items():
        for row, cell in cells.items():
            columns[name][row] = cell
    columns["answer"] = {
        "three": [names[kind] for kind in classes],
        "two": ["yes" if kind == 2 else "no" for kind in classes],
        "number": [f"{10 + 3 * kind + rng.normal():.2f}" for kind in classes],
    }[target]
    return {name: cells[:rows] for name, cells in columns.items()}


@pytest.fixture(scope="session")
def columns() -> Callable[..., dict[str, list[str | None]]]:
    return make_columns


@pytest.fixture(scope="session")
def table() -> Callable[..., pa.Table]:
    """`make_columns` as an Arrow table; keywords that name a column replace its cells, or add it."""

    def make(rows: int = ROWS, target: str = "three", **cells: list[Any]) -> pa.Table:
        made = make_columns(rows, target) | cells
        return pa.table({name: pa.array(values, pa.string()) for name, values in made.items()})

    return make


@pytest.fixture(scope="session")
def settings() -> Callable[..., dict[str, Any]]:
    """A sparse recipe with only the predictors named, tiny; keywords are further keys of the recipe."""

    def make(*names: str, **more: Any) -> dict[str, Any]:
        wanted = names or ("linear", "stack", "trees")
        presets = ("fused", "single", "linear", "stack", "trees")  # what `balanced` holds is taken out
        chosen = dict.fromkeys(presets) | {name: copy.deepcopy(dict(PREDICTORS[name])) for name in wanted}
        return {"predictors": chosen, **more}

    return make


@dataclass(frozen=True, eq=False)
class Trained:
    """The steps of `pipeline.fit` before selection, each at hand."""

    recipe: Recipe
    schema: Schema
    view: View
    task: Task
    context: Context
    splits: Splits
    predictors: dict[str, Predictor]
    media: Path

    def see(self, table: pa.Table) -> View:
        """Another table through the same schema, with nothing read or stored yet."""
        return View(read_table(table, self.media), self.schema, Store(), self.recipe.limit, self.recipe.weight)

    def fit(self, name: str, view: View | None = None) -> Predictor:
        """The predictor `name`, fitted anew on the training rows."""
        predictor = pipeline.make_predictors(self.recipe, self.schema)[name]
        rng = pipeline.generator(self.recipe, name)
        predictor.fit(view or self.view, self.splits.train, self.splits.valid, self.context, rng, Budget("cpu", Silent()))
        return predictor


@pytest.fixture(scope="session")
def prepare(media: Path) -> Callable[..., Trained]:
    """(table, sparse recipe) -> everything up to predictors, which are not fitted."""

    def make(source: pa.Table, wanted: Mapping[str, Any]) -> Trained:
        recipe = make_recipe("answer", settings=[wanted])
        read = read_table(source, media)
        schema = infer_schema(read, recipe)
        view = View(read, schema, Store(), recipe.limit, recipe.weight)
        _, task = pipeline.make_task(recipe, view)
        splits = pipeline.make_splits(view, recipe, task, 0)
        context = pipeline.fit_task(view, splits, recipe, task)
        return Trained(recipe, schema, view, task, context, splits, pipeline.make_predictors(recipe, schema), media)

    return make


@pytest.fixture(scope="session")
def trained(prepare: Callable[..., Trained], table: Callable[..., pa.Table], settings: Callable[..., dict[str, Any]]):
    """`trained("three")`: every kind of predictor fitted on the table with that target; each table is fitted once."""
    made: dict[str, Trained] = {}

    def get(target: str = "three") -> Trained:
        if target not in made:
            found = prepare(table(target=target), settings(*PREDICTORS))
            for name in found.predictors:
                found.predictors[name] = found.fit(name)
            made[target] = found
        return made[target]

    return get
