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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
import torch

from consilience import pipeline, recipe
from consilience.errors import ConsilienceError
from consilience.evidence.audit import Examined, audit
from consilience.metrics import bootstrap
from consilience.predictors.fused import Fused
from families import saved

Tree = dict[str, Any]

ROWS = 80

SMALL: Mapping[str, Mapping[str, Any]] = {
    "linear": {"strength": 0.01},
    "single": {"inputs": ["note", "tabular"], "options": {"strength": 0.01}},
    "stack": {"inputs": ["note", "tabular"], "folds": 2, "strength": 0.01},
    "trees": {"inputs": ["note", "tabular"], "folds": 2, "iterations": 8, "rate": 0.3},
    "fused": {"inputs": ["note", "tabular"], "width": 16, "fusion": {"kind": "concat"}, "train": {"epochs": 2, "rate": 0.01}},
    "transformer": {"depth": 1, "heads": 2},
    "image[descriptor]": {"side": 32, "cell": 16},
    "image[scratch]": {"side": 16, "width": 32, "depth": 1, "heads": 2},
    "text[descriptor]": {"width": 8},
    "text[pretrained]": {"model": "@bert"},
    "image[pretrained]": {"model": "@vit"},
    "audio[pretrained]": {"model": "@wav2vec2"},
    "text[scratch]": {"width": 16, "depth": 1, "heads": 2, "length": 8, "buckets": 200},
    "tabular[scratch]": {"width": 16, "depth": 1, "heads": 2},
    "audio[scratch]": {"width": 32, "depth": 1, "heads": 2, "length": 8},
    "series[scratch]": {"tokens": 4, "width": 32, "depth": 1, "heads": 2},
}
"""The options of a component by its kind, those of an encoder by modality and kind; a case may say otherwise."""

INPUT = {"image": "photo", "text": "note", "tabular": "tabular", "series": "pulse", "audio": "voice"}
"""The table's input of each modality."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is compared of a trained run; `error` alone where training was refused.

    read    what was missing, cut or repaired, counted by input
    epochs  how many epochs were trained
    found   what the audit finds
    saved   numbers that were kept for backward passes, in all
    compiled  how many networks were compiled
    """

    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    splits: tuple[list[int], ...] = ()
    selection: str = ""
    task: str = ""
    read: str = ""
    epochs: int = 0
    found: str = ""
    saved: int = 0
    compiled: int = 0
    error: str = ""


@dataclass(frozen=True)
class Case:
    """Two values of a key, the part of `Outcome` that differs between them, and what else the recipe says in both."""

    first: Any
    second: Any
    differs: Literal["scores", "splits", "selection", "task", "read", "epochs", "found", "saved", "compiled", "error"] = (
        "scores"
    )
    base: Mapping[str, Any] = field(default_factory=dict)


def it(**options: Any) -> Tree:
    """Options of the predictor that is trained."""
    return {"predictors": {"it": options}}


BASE: Tree = {
    "target": "answer",
    "device": "cpu",
    "refit": False,
    "select": {"method": "best", "calibrate": False},
    **it(),
}
TWO = {
    "predictors": {
        "it": {"kind": "linear", "inputs": ["note"]},
        "other": {"kind": "linear", "inputs": ["tabular"], "strength": 0.001},
    }
}
NOTE = {"text": {"kind": "pretrained"}}
LORA = it(inputs=["note"], encoders=NOTE, tune={"method": "lora", "train": {"epochs": 2}})


def tuned(**options: Any) -> Tree:
    """A fused predictor of a note whose encoder is tuned whole."""
    train = {"epochs": 2, "batch": 16, "rate": 0.01, **options}
    return it(inputs=["note"], encoders=NOTE, tune={"method": "full", "rate": 0.01, "train": train})


ONE_COLUMN = {"exclude": ["dose", "ward"], **it(inputs=["age"])}

CASES: Mapping[str, Case] = {
    "target": Case("answer", "sick"),
    "exclude": Case([], ["age"]),
    "weight": Case(None, "importance", base={"exclude": ["importance"]}),
    "inputs.*.modality": Case("text", "tabular", base={"inputs": {"it": {"columns": ["note"]}}}),
    "inputs.*.columns": Case(["age"], ["age", "d*"], base={"inputs": {"it": {"modality": "tabular"}}}),
    "audit.accept": Case([], ["files-not-found"], "found"),
    "limits.pixels": Case(16 * 16, 16 * 16 - 1, "read"),
    "limits.bytes": Case(10_000, 20, "read"),
    "limits.characters": Case(100, 5, "read"),
    "limits.seconds": Case(1.0, 0.1, "read", it(inputs=["voice"])),
    "limits.urls": Case(False, True, "read", {"inputs": {"web": {"modality": "image", "columns": ["web"]}}}),
    "limits.isolate": Case(60.0, 1e-6, "read", {"inputs": {"photo": {"modality": "image", "columns": ["photo"]}}}),
    "limits.outside": Case(False, True, "read", {"inputs": {"other": {"modality": "image", "columns": ["other"]}}}),
    "limits.values": Case(100, 19, "read", it(inputs=["pulse"])),
    "split.method": Case("stratified", "random", "splits"),
    "split.column": Case(None, "part", "splits", {"exclude": ["part"]}),
    "split.group": Case(None, "patient", "splits", {"exclude": ["patient"]}),
    "split.time": Case(None, "day", "splits", {"exclude": ["day"]}),
    "split.valid": Case(0.15, 0.3, "splits"),
    "split.test": Case(0.15, 0.3, "splits"),
    "split.folds": Case(None, 3, "splits"),
    "split.fold": Case(0, 1, "splits", {"split": {"folds": 3}}),
    "split.unlabelled": Case("exclude", "error", "error", {"target": "gaps"}),
    "task.kind": Case("classification", "regression", base={"target": "level"}),
    "task[classification].class_weight": Case("none", "balanced", base={"target": "sick"}),
    "task[classification].positive": Case("yes", "no", "task", {"target": "sick"}),
    "task[multilabel].separator": Case(None, ",", "task", {"target": "tags"}),
    "task[regression].log": Case(False, True, base={"target": "level"}),
    "metric": Case("roc_auc", "accuracy", "selection", {"target": "sick"}),
    "predictors.*.kind": Case("linear", "stack"),
    "select.method": Case("best", "ensemble", base=TWO),
    "select.only": Case("it", "other", base=TWO),
    "select.calibrate": Case(False, True),
    "refit": Case(False, True),
    "seed": Case(0, 1, "splits"),
    "device": Case("cpu", "cuda:99", "error"),
    "predictors.*[linear].inputs": Case(None, ["note"]),
    "predictors.*[linear].encoder": Case("descriptor", "raw", "error", base=ONE_COLUMN),
    "predictors.*[linear].encoders.*": Case({}, {"note": {"width": 2}}),
    "predictors.*[linear].strength": Case(0.01, None),
    "predictors.*[single].inputs": Case(["note"], ["tabular"]),
    "predictors.*[single].encoder": Case("descriptor", "raw", "error", base=ONE_COLUMN),
    "predictors.*[single].encoders.*": Case({}, {"text": {"width": 2}}, base=it(inputs=["note"])),
    "predictors.*[single].model": Case("linear", "stack"),
    "predictors.*[single].options.*": Case({"strength": 0.01}, {"strength": 1.0}),
    "predictors.*[stack].inputs": Case(None, ["note"]),
    "predictors.*[stack].encoder": Case("descriptor", "raw", "error", base=ONE_COLUMN),
    "predictors.*[stack].encoders.*": Case({}, {"text": {"width": 2}}),
    "predictors.*[stack].folds": Case(2, 4),
    "predictors.*[stack].strength": Case(0.01, None),
    "predictors.*[stack].strengths.*": Case({"note": 0.01}, {"note": 1.0}),
    "predictors.*[trees].inputs": Case(None, ["note"]),
    "predictors.*[trees].encoder": Case("descriptor", "raw", "error", base=ONE_COLUMN),
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
    "predictors.*[fused].fusion.kind": Case("concat", "transformer"),
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
    "predictors.*[fused].train.views": Case(0, 2, base=it(inputs=["photo"])),
    "predictors.*[fused].train.pieces": Case(1, 4, "saved", it(encoder="scratch", inputs=["note"])),
    "predictors.*[fused].train.recompute": Case(False, True, "saved", base=it(fusion={"kind": "transformer"})),
    "predictors.*[fused].train.compile": Case(False, True, "compiled"),
    "predictors.*[fused].tune.method": Case("lora", "full", base=LORA),
    "predictors.*[fused].tune.rate": Case(1e-4, 1e-2, base=tuned()),
    "predictors.*[fused].tune.decay": Case(0.1, 1.0, base=tuned()),
    "predictors.*[fused].tune.rank": Case(1, 4, base=LORA),
    "predictors.*[fused].tune.train.epochs": Case(1, 3, "epochs", tuned()),
    "predictors.*[fused].tune.train.stop": Case(None, 1, "epochs", tuned()),
    "predictors.*[fused].tune.train.patience": Case(1, 12, "epochs", tuned(epochs=12, rate=0.05)),
    "predictors.*[fused].tune.train.batch": Case(16, 64, base=tuned()),
    "predictors.*[fused].tune.train.rate": Case(0.001, 0.01, base=tuned()),
    "predictors.*[fused].tune.train.weight_decay": Case(0.0, 1.0, base=tuned()),
    "predictors.*[fused].tune.train.warmup": Case(0.0, 0.9, base=tuned()),
    "predictors.*[fused].tune.train.clip": Case(0.01, 1.0, base=tuned()),
    "predictors.*[fused].tune.train.augment": Case(False, True, base=tuned()),
    "predictors.*[fused].tune.train.precision": Case("float32", "bf16", base=tuned()),
    "predictors.*[fused].tune.train.views": Case(
        0, 2, base=recipe.merge(tuned(), it(inputs=["note", "photo"], encoders={**NOTE, "image": {"kind": "descriptor"}}))
    ),
    "predictors.*[fused].tune.train.pieces": Case(1, 4, "saved", base=tuned()),
    "predictors.*[fused].tune.train.recompute": Case(False, True, "saved", base=tuned()),
    "predictors.*[fused].tune.train.compile": Case(False, True, "compiled", base=tuned()),
    "predictors.*.encoders.audio[pretrained].model": Case("@wav2vec2", "speech"),
    "predictors.*.encoders.audio[pretrained].revision": Case(None, "0" * 40, "error"),
    "predictors.*.encoders.audio[pretrained].layer": Case(0, 1),
    "predictors.*.encoders.audio[pretrained].pool": Case("tokens", "mean"),
    "predictors.*.encoders.audio[pretrained].tokens": Case(1, 2),
    "predictors.*.encoders.audio[pretrained].precision": Case("half", "float32"),
    "predictors.*.encoders.audio[pretrained].seconds": Case(0.1, 1.0),
    "predictors.*.encoders.image[pretrained].model": Case("@vit", "@clip"),
    "predictors.*.encoders.image[pretrained].revision": Case(None, "0" * 40, "error"),
    "predictors.*.encoders.image[pretrained].layer": Case(0, 1),
    "predictors.*.encoders.image[pretrained].pool": Case("tokens", "first"),
    "predictors.*.encoders.image[pretrained].tokens": Case(5, 17),
    "predictors.*.encoders.image[pretrained].precision": Case("half", "float32"),
    "predictors.*.encoders.text[pretrained].model": Case("@bert", "@modernbert"),
    "predictors.*.encoders.text[pretrained].revision": Case(None, "0" * 40, "error"),
    "predictors.*.encoders.text[pretrained].layer": Case(0, 1),
    "predictors.*.encoders.text[pretrained].pool": Case("tokens", "first"),
    "predictors.*.encoders.text[pretrained].tokens": Case(1, 8),
    "predictors.*.encoders.text[pretrained].precision": Case("half", "float32"),
    "predictors.*.encoders.text[pretrained].length": Case(8, 64),
    "predictors.*.encoders.audio[scratch].width": Case(32, 64),
    "predictors.*.encoders.audio[scratch].depth": Case(1, 2),
    "predictors.*.encoders.audio[scratch].heads": Case(1, 2),
    "predictors.*.encoders.audio[scratch].dropout": Case(0.0, 0.5),
    "predictors.*.encoders.audio[scratch].length": Case(8, 16),
    "predictors.*.encoders.image[descriptor].side": Case(32, 64),
    "predictors.*.encoders.image[descriptor].cell": Case(8, 16),
    "predictors.*.encoders.image[scratch].side": Case(16, 32),
    "predictors.*.encoders.image[scratch].width": Case(32, 64),
    "predictors.*.encoders.image[scratch].depth": Case(1, 2),
    "predictors.*.encoders.image[scratch].heads": Case(1, 2),
    "predictors.*.encoders.image[scratch].dropout": Case(0.0, 0.5),
    "predictors.*.encoders.series[scratch].tokens": Case(1, 4),
    "predictors.*.encoders.series[scratch].width": Case(32, 64),
    "predictors.*.encoders.series[scratch].depth": Case(1, 2),
    "predictors.*.encoders.series[scratch].heads": Case(1, 2),
    "predictors.*.encoders.series[scratch].dropout": Case(0.0, 0.5),
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


def steps(path: str) -> list[tuple[str, str | None]]:
    """`predictors.*[fused].width` -> (predictors, None), (it, fused), (width, None); a last `.*` is the mapping itself."""
    found = [step.removesuffix("]").partition("[") for step in path.removesuffix(".*").split(".")]
    return [("it" if name == "*" else name, kind or None) for name, _, kind in found]


def pair(path: str, case: Case) -> tuple[str, str]:
    """The recipes of both runs, as JSON: they differ in the key at `path` and in nothing else."""
    tree = copy.deepcopy(recipe.merge(BASE, case.base))
    node = tree
    for name, kind in steps(path)[:-1]:
        node = node.setdefault(name, {})
        node |= {"kind": kind} if kind else {}
    fill(tree["predictors"]["it"], path)
    texts = []
    for value in (case.first, case.second):
        node = tree
        for name, _ in steps(path)[:-1]:
            node = node[name]
        node[steps(path)[-1][0]] = value
        texts.append(json.dumps(tree, sort_keys=True))
    return texts[0], texts[1]


def fill(predictor: Tree, path: str) -> None:
    """Choose the kind where nothing does yet, and make small what nobody set."""
    encoder = re.search(r"encoders\.(\w+)\[(\w+)\]", path)
    if encoder:
        predictor |= {"kind": "fused" if encoder[2] == "scratch" else "linear", "inputs": [INPUT[encoder[1]]]}
    kind = predictor.setdefault("kind", "linear")
    predictor |= recipe.merge(SMALL[kind], predictor)
    if predictor.get("fusion", {}).get("kind") == "transformer":
        predictor["fusion"] = recipe.merge(SMALL["transformer"], predictor["fusion"])
    encoders = {"image": {"kind": "descriptor"}} | predictor.get("encoders", {})
    predictor["encoders"] = {
        name: recipe.merge(SMALL.get(f"{name}[{options['kind']}]", {}), options) for name, options in encoders.items()
    }


def roles() -> dict[str, Sequence[str | None]]:
    """Columns that are targets or have another role. Each stands in the table only where the recipe names it, be it to exclude
    it: a role that is named wins over `exclude`, so that the column is no input in either run of a case.
    """
    kinds = np.arange(ROWS) % 3
    draw = np.random.default_rng(5)
    sick = ["yes" if kind == 2 else "no" for kind in kinds]
    return {
        "sick": sick,
        "gaps": [None if row % 20 == 7 else cell for row, cell in enumerate(sick)],
        "tags": [("a,b", "a,b|c", "c", "[]")[row % 4] for row in range(ROWS)],
        "level": [str(10 ** int(kind)) for kind in (kinds + draw.integers(2, size=ROWS))],
        "importance": [f"{value:.2f}" for value in draw.uniform(0.1, 4, ROWS)],
        "patient": [f"p{row // 4}" for row in range(ROWS)],
        "day": [str(day) for day in draw.permutation(ROWS)],
        "part": [("train", "train", "valid", "test")[index] for index in draw.integers(4, size=ROWS)],
        "voice": [f"{row}.wav" for row in range(ROWS)],
        "other": [f"{row % 2}.png" if row % 5 else "../gone.png" for row in range(ROWS)],
        "pulse": [str(draw.normal(kind, 1, 20).round(2).tolist()) for kind in kinds],
    }


@pytest.fixture(scope="module")
def trained(
    columns: Callable[..., dict[str, list[str | None]]], media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Outcome]]:
    """Recipe as JSON -> what came of it. Kept, because many cases share a run. "@bert" is a folder with such a model."""
    models = tmp_path_factory.mktemp("models")

    @cache
    def folder(match: str) -> str:
        return str(saved(match, models / match))

    @cache
    def train(text: str) -> Outcome:
        made: dict[str, Sequence[str | None]] = dict(columns(ROWS))
        known = {"answer": made.pop("answer"), **roles(), "web": [f"file://{media}/{row % 2}.png" for row in range(ROWS)]}
        made |= {name: cells for name, cells in known.items() if f'"{name}"' in text}
        table = pa.table({name: pa.array(cells, pa.string()) for name, cells in made.items()})
        text = re.sub(r"@(\w+)", lambda match: folder(match[1]), text)
        numbers, networks = [], []
        patch.setattr(torch, "compile", lambda network, **options: networks.append(network) or network)
        try:
            with torch.autograd.graph.saved_tensors_hooks(lambda kept: numbers.append(kept.numel()) or kept, lambda kept: kept):
                run = pipeline.fit(table, recipe=recipe.validate(json.loads(text)), media_root=media)
        except ConsilienceError as error:
            return Outcome(error=str(error))
        view, rows = run.view(table, media), np.arange(ROWS)
        return Outcome(
            run.answer(view, rows).scores,
            tuple(part.tolist() for part in (run.splits.train, run.splits.valid, run.splits.test)),
            json.dumps(dataclasses.asdict(run.selection)),
            json.dumps(run.task.state().json),
            json.dumps(view.counts(rows)),
            sum("epoch" in line for line in run.log),
            json.dumps([dataclasses.asdict(finding) for finding in audit(Examined(view, run.recipe, run.task, run.splits))])
            if '"audit"' in text
            else "",
            sum(numbers),
            len(networks),
        )

    with pytest.MonkeyPatch.context() as patch:  # intervals are not compared, and would take a third of the time
        patch.setattr("consilience.run.bootstrap", partial(bootstrap, resamples=2))
        yield train


def differ(first: Outcome, second: Outcome, part: str) -> bool:
    """Whether that part differs; scores must by more than rounding."""
    one, other = getattr(first, part), getattr(second, part)
    if part != "scores":
        return bool(one != other)
    return one.shape != other.shape or bool(np.abs(one - other).max() > 1e-6)


def test_every_key_has_a_case_and_every_case_a_key() -> None:
    assert set(CASES) == {key.path for key in recipe.keys()}  # noqa: SIM118


@pytest.mark.parametrize("path", CASES)
def test_the_key_changes_the_run(path: str, trained: Callable[[str], Outcome]) -> None:
    case = CASES[path]
    first, second = map(trained, pair(path, case))
    assert not first.error
    assert bool(second.error) == (case.differs == "error"), second.error
    assert differ(first, second, case.differs), f"{path} changes nothing"
    assert not second.error or path.rpartition(".")[2] in second.error, "the message does not name the key"


def test_equal_recipes_give_equal_runs(trained: Any) -> None:
    """Else a difference would prove nothing."""
    path = "predictors.*.encoders.text[scratch].dropout"
    text, _ = pair(path, CASES[path])
    first, second = trained.__wrapped__(text), trained.__wrapped__(text)
    assert first is not second
    for part in dataclasses.fields(Outcome):
        one, other = getattr(first, part.name), getattr(second, part.name)
        assert np.array_equal(one, other) if part.name == "scores" else one == other, part.name


def test_an_unusable_device_is_named_and_the_wanted_one_is_used(
    columns: Callable[..., dict[str, list[str | None]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without a GPU `auto` and `cpu` are the same, so that runs cannot tell whether the key decides."""
    with pytest.raises(ConsilienceError, match="the device 'cuda:99' cannot be used"):
        pipeline.device("cuda:99")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (pipeline.device("auto"), pipeline.device("cpu")) == ("cuda", "cpu")
    made = {name: columns(ROWS)[name] for name in ("age", "answer")}
    text, _ = pair("predictors.*[fused].train.epochs", Case(1, 1, base=it(inputs=["age"])))
    run = pipeline.fit(pa.table(made), recipe=recipe.validate(json.loads(text)))
    fused = run.predictors["it"]
    assert isinstance(fused, Fused)
    assert fused.device == "cpu"
    assert {parameter.device.type for parameter in fused.network.parameters()} == {"cpu"}  # type: ignore[union-attr]
