"""No dead options: every key of the recipe changes the trained run, and every key has its case here.

A case gives two values; everything else is derived from the key's path, so a case cannot vary another key than the one it
is named after. `predictors.*[fused].fusion[concat].dropout` trains one `fused` predictor with the fusion `concat`, as small
as `SMALL` says, twice. What the case names must differ between the two runs, and more than rounding does.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch

from consilience import pipeline, recipe
from consilience.errors import ConsilienceError
from consilience.predictors.fused import Fused

Tree = dict[str, Any]

ROWS = 80

SMALL: Mapping[str, Mapping[str, Any]] = {
    "linear": {"strength": 0.01},
    "single": {"inputs": ["note", "tabular"], "options": {"strength": 0.01}},
    "stack": {"inputs": ["note", "tabular"], "folds": 2, "strength": 0.01, "strengths": {"note": 0.01, "tabular": 0.01}},
    "trees": {
        "inputs": ["note", "tabular"],
        "folds": 2,
        "iterations": 8,
        "rate": 0.3,
        "strengths": {"note": 0.01, "tabular": 0.01},
    },
    "fused": {"inputs": ["note", "tabular"], "width": 16, "fusion": "concat", "train": {"epochs": 2, "rate": 0.01}},
    "transformer": {"depth": 1, "heads": 2},
    "image[descriptor]": {"side": 32, "cell": 16},
    "image[scratch]": {"side": 16, "width": 32, "depth": 1, "heads": 2},
    "text[descriptor]": {"width": 8},
    "text[scratch]": {"width": 16, "depth": 1, "heads": 2, "length": 8, "buckets": 200},
    "tabular[scratch]": {"width": 16, "depth": 1, "heads": 2},
}
"""The options of a component by its kind, those of an encoder by modality and kind; a case may say otherwise."""

INPUT = {"image": "photo", "text": "note", "tabular": "tabular"}
"""The table's input of each modality."""


@dataclass(frozen=True, eq=False)
class Run:
    """What is compared of a trained run; `error` alone where training was refused.

    read    what was missing, cut or repaired, counted by input
    epochs  how many epochs were trained
    """

    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    splits: tuple[list[int], ...] = ()
    selection: str = ""
    task: str = ""
    read: str = ""
    epochs: int = 0
    error: str = ""


@dataclass(frozen=True)
class Case:
    """Two values of a key, the part of `Run` that differs between them, and what else the recipe says in both."""

    first: Any
    second: Any
    differs: Literal["scores", "splits", "selection", "task", "read", "epochs", "error"] = "scores"
    base: Mapping[str, Any] = field(default_factory=dict)


def it(**options: Any) -> Tree:
    """Options of the predictor that is trained."""
    return {"predictors": {"it": options}}


TWO = {"predictors": {"it": {"kind": "linear"}, "other": {"kind": "linear", "strength": 0.1, "inputs": ["tabular"]}}}
ONE_COLUMN = {"exclude": ["dose", "ward"], **it(inputs=["age"], encoders={}, strengths={})}

CASES: Mapping[str, Case] = {
    "target": Case("answer", "sick"),
    "exclude": Case([], ["age"]),
    "weight": Case(None, "importance"),
    "inputs.*.modality": Case("text", "tabular", base={"inputs": {"it": {"columns": ["ward"]}}}),
    "inputs.*.columns": Case(["age"], ["age", "d*"], base={"inputs": {"it": {"modality": "tabular"}}}),
    "limits.pixels": Case(16 * 16, 16 * 16 - 1, "read"),
    "limits.bytes": Case(10_000, 20, "read"),
    "limits.characters": Case(100, 5, "read"),
    "split.method": Case("stratified", "random", "splits"),
    "split.column": Case(None, "part", "splits"),
    "split.group": Case(None, "patient", "splits"),
    "split.time": Case(None, "day", "splits"),
    "split.valid": Case(0.15, 0.3, "splits"),
    "split.test": Case(0.15, 0.3, "splits"),
    "split.folds": Case(None, 3, "splits"),
    "split.fold": Case(0, 1, "splits", {"split": {"folds": 3}}),
    "split.unlabelled": Case("exclude", "error", "error", {"target": "gaps"}),
    "task.kind": Case("classification", "regression", base={"target": "level"}),
    "task[classification].class_weight": Case("none", "balanced", base={"target": "sick"}),
    "task[classification].positive": Case("yes", "no", "task", {"target": "sick"}),
    "task[regression].log": Case(False, True, base={"target": "level"}),
    "metric": Case("accuracy", "log_loss", base={"target": "sick", **it(kind="fused", train={"epochs": 6, "rate": 0.05})}),
    "predictors.*.kind": Case("linear", "stack"),
    "select.method": Case("best", "ensemble", base=TWO),
    "select.only": Case("it", "other", base=TWO),
    "select.calibrate": Case(False, True),
    "refit": Case(False, True),
    "seed": Case(0, 1, "splits"),
    "device": Case("cpu", "cuda:99", "error"),
    "predictors.*[linear].inputs": Case(None, ["note"]),
    "predictors.*[linear].encoder": Case("descriptor", "raw", base=ONE_COLUMN),
    "predictors.*[linear].encoders.*": Case({}, {"note": {"width": 2}}),
    "predictors.*[linear].strength": Case(0.01, None),
    "predictors.*[single].inputs": Case(["note"], ["tabular"]),
    "predictors.*[single].encoder": Case("descriptor", "raw", base=ONE_COLUMN),
    "predictors.*[single].encoders.*": Case({}, {"text": {"width": 2}}, base=it(inputs=["note"])),
    "predictors.*[single].model": Case("linear", "stack"),
    "predictors.*[single].options.*": Case({"strength": 0.01}, {"strength": 1.0}),
    "predictors.*[stack].inputs": Case(None, ["note"], base=it(strengths={})),
    "predictors.*[stack].encoder": Case("descriptor", "raw", base=ONE_COLUMN),
    "predictors.*[stack].encoders.*": Case({}, {"text": {"width": 2}}),
    "predictors.*[stack].folds": Case(2, 4),
    "predictors.*[stack].strength": Case(0.01, None),
    "predictors.*[stack].strengths.*": Case({"note": 0.01}, {"note": 1.0}),
    "predictors.*[trees].inputs": Case(None, ["note"]),
    "predictors.*[trees].encoder": Case("descriptor", "raw", base=ONE_COLUMN),
    "predictors.*[trees].encoders.*": Case({}, {"text": {"width": 2}}),
    "predictors.*[trees].iterations": Case(2, 8),
    "predictors.*[trees].stop": Case(2, 5),
    "predictors.*[trees].rate": Case(0.1, 0.3),
    "predictors.*[trees].leaves": Case(2, 7),
    "predictors.*[trees].penalty": Case(0.0, 10.0),
    "predictors.*[trees].share": Case(0.3, 1.0),
    "predictors.*[trees].folds": Case(2, 4),
    "predictors.*[trees].strengths.*": Case({"note": 0.01}, {"note": 1.0}),
    "predictors.*[fused].inputs": Case(None, ["note"]),
    "predictors.*[fused].encoder": Case("descriptor", "scratch", base=it(inputs=["tabular"])),
    "predictors.*[fused].encoders.*": Case({}, {"text": {"width": 2}}),
    "predictors.*[fused].width": Case(16, 32),
    "predictors.*[fused].dropout": Case(0.0, 0.5),
    "predictors.*[fused].fusion.kind": Case("concat", "transformer", base=it(fusion={})),
    "predictors.*[fused].fusion[concat].dropout": Case(0.0, 0.5),
    "predictors.*[fused].fusion[transformer].depth": Case(1, 2),
    "predictors.*[fused].fusion[transformer].heads": Case(1, 2),
    "predictors.*[fused].fusion[transformer].dropout": Case(0.0, 0.5),
    "predictors.*[fused].train.epochs": Case(1, 3, "epochs"),
    "predictors.*[fused].train.stop": Case(None, 1, "epochs"),
    "predictors.*[fused].train.patience": Case(1, 12, "epochs", it(train={"epochs": 12, "rate": 0.05})),
    "predictors.*[fused].train.batch": Case(16, 64),
    "predictors.*[fused].train.rate": Case(0.001, 0.01),
    "predictors.*[fused].train.weight_decay": Case(0.0, 1.0),
    "predictors.*[fused].train.warmup": Case(0.0, 0.9, base=it(train={"batch": 16})),
    "predictors.*[fused].train.clip": Case(0.01, 1.0, base=it(train={"batch": 16})),
    "predictors.*[fused].train.augment": Case(False, True, base=it(inputs=["photo"], encoders={"image": {"kind": "scratch"}})),
    "predictors.*[fused].train.precision": Case("float32", "bf16"),
    "predictors.*.encoders.image[descriptor].side": Case(32, 64),
    "predictors.*.encoders.image[descriptor].cell": Case(8, 16),
    "predictors.*.encoders.image[scratch].side": Case(16, 32),
    "predictors.*.encoders.image[scratch].width": Case(32, 64),
    "predictors.*.encoders.image[scratch].depth": Case(1, 2),
    "predictors.*.encoders.image[scratch].heads": Case(1, 2),
    "predictors.*.encoders.image[scratch].dropout": Case(0.0, 0.5),
    "predictors.*.encoders.tabular[descriptor].categories": Case(1, 50),
    "predictors.*.encoders.tabular[scratch].width": Case(16, 32),
    "predictors.*.encoders.tabular[scratch].depth": Case(1, 2),
    "predictors.*.encoders.tabular[scratch].heads": Case(1, 2),
    "predictors.*.encoders.tabular[scratch].dropout": Case(0.0, 0.5),
    "predictors.*.encoders.tabular[scratch].tokens": Case(1, 3),
    "predictors.*.encoders.text[descriptor].width": Case(2, 8),
    "predictors.*.encoders.text[descriptor].terms": Case(4, 100),
    "predictors.*.encoders.text[descriptor].rare": Case(1, 20),
    "predictors.*.encoders.text[scratch].width": Case(16, 32),
    "predictors.*.encoders.text[scratch].depth": Case(1, 2),
    "predictors.*.encoders.text[scratch].heads": Case(1, 2),
    "predictors.*.encoders.text[scratch].dropout": Case(0.0, 0.5),
    "predictors.*.encoders.text[scratch].length": Case(2, 8),
    "predictors.*.encoders.text[scratch].buckets": Case(20, 200),
}


def steps(path: str) -> Iterator[tuple[str, str | None]]:
    """`predictors.*[fused].width` -> (predictors, None), (it, fused), (width, None); a `.*` at the end is the mapping itself."""
    for step in path.removesuffix(".*").split("."):
        name, _, kind = step.removesuffix("]").partition("[")
        yield ("it" if name == "*" else name), kind or None


def base(path: str, case: Case) -> Tree:
    """The recipe of both runs: the components that the path names, small, and what the case adds."""
    tree: Tree = {"target": "answer", "refit": False, "select": {"method": "best"}, "predictors": {"it": {}}}
    tree = copy.deepcopy(recipe.merge(tree, case.base))
    node = tree
    for name, kind in steps(path):
        node = node.setdefault(name, {})
        if kind is not None:
            node["kind"] = kind
        if not isinstance(node, dict):
            break
    trained = tree["predictors"]["it"]
    encoder = re.fullmatch(r"predictors\.\*\.encoders\.(\w+)\[(\w+)\]\.\w+", path)
    if encoder:
        trained |= {"kind": "linear" if encoder[2] == "descriptor" else "fused", "inputs": [INPUT[encoder[1]]]}
    trained.setdefault("kind", "linear")
    return tree


def main() -> None: ...
