"""Encode once: what the first pass over media costs beside its decoding and encoding, and what a second process pays.

    python benchmarks/encode.py DATA [--again] [--only NAME]

For an input and an encoder, all on one thread, some times by turns:

    alone     every cell read, prepared and encoded in the same batches, by a loop that keeps nothing
    first     the same through a view that keeps tokens for this process only
    keeping   the same with an empty CONSILIENCE_CACHE
    second    the same with that folder, as another process finds it
    half      as `first`, where every other cell is empty

Medians of the ratios of one turn. Descriptors take a millisecond a cell; the pretrained encoders of the extra `shipped` tens.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import results
from consilience import pipeline
from consilience.data.schema import modality_of
from consilience.data.shelf import VARIABLE
from consilience.data.table import read_table
from consilience.data.view import View, located
from consilience.encoders.base import Encoder
from consilience.predictors.base import make_encoder
from consilience.predictors.linear import Linear
from consilience.train.features import fit_encoders
from consilience.types import Missing


@dataclass(frozen=True)
class Case:
    """A column of a table, the first `rows` of it, and its encoder."""

    path: str
    column: str
    modality: str
    encoder: str = "descriptor"
    rows: int | None = None
    turns: int = 7


CASES = {
    "leaf image": Case("leaf/table.csv", "image", "image"),
    "av_digits audio": Case("av_digits/table.csv", "audio", "audio"),
    "av_digits image": Case("av_digits/table.csv", "image", "image"),
    "leaf image, efficientnet-lite0": Case("leaf/table.csv", "image", "image", "pretrained", 240, 5),
    "av_digits audio, speech": Case("av_digits/table.csv", "audio", "audio", "pretrained", 1000, 5),
    "clothing_reviews text, all-minilm-l6-v2": Case(
        "clothing_reviews/table.csv.gz", "Review Text", "text", "pretrained", 400, 5
    ),
}


def view(table: Any, case: Case, root: Path) -> View:
    settings = [{"inputs": {case.column: {"modality": case.modality, "columns": [case.column]}}}]
    return pipeline.opened(table, None, root, pipeline.whole_recipe(None, None, "fast", settings))[1]


def alone(made: View, encoder: Encoder, name: str, rows: np.ndarray) -> None:
    """Decode and encode, and nothing else."""
    item = made.schema[name]
    kind, root = modality_of(item), made.table.root(0)
    cells = list(made.cells(name, rows))
    with torch.no_grad():
        for start in range(0, len(rows), encoder.span):
            part = cells[start : start + encoder.span]
            samples = [kind.read(item, {name: located(item, cell, root) if kind.media else cell}, made.limits) for cell in part]
            items = [encoder.prepare(sample) for sample in samples if not isinstance(sample, Missing)]
            for _, batch in encoder.chunks(items):
                encoder(batch)


def run(folder: Path, case: Case) -> dict[str, Any]:
    """Seconds of every turn."""
    torch.set_num_threads(1)
    os.environ.pop(VARIABLE, None)
    table, root, name = read_table(folder / case.path), (folder / case.path).parent, case.column
    rows = np.arange(len(table))[: case.rows]
    cells = list(table.cells(name))[: case.rows]
    half = {name: [cell if row % 2 else None for row, cell in enumerate(cells)], "row": rows}
    whole = {name: cells, "row": rows}
    made = view(whole, case, root)
    encoder = make_encoder(Linear.Config(encoder=case.encoder), made.schema[name])
    fit_encoders({name: encoder}, made, rows[:300], 0)
    seconds: dict[str, list[float]] = {what: [] for what in ("alone", "first", "keeping", "second", "half")}
    found: dict[str, torch.Tensor] = {}
    with tempfile.TemporaryDirectory() as kept:
        for _ in range(case.turns):
            shutil.rmtree(kept, ignore_errors=True)
            for what in seconds:
                os.environ.pop(VARIABLE, None)
                if what in ("keeping", "second"):
                    os.environ[VARIABLE] = kept
                made = view(half if what == "half" else whole, case, root)
                started = time.perf_counter()
                if what == "alone":
                    alone(made, encoder, name, rows)
                else:
                    found[what] = made.tokens(encoder, name, rows).values
                seconds[what].append(round(time.perf_counter() - started, 4))
    os.environ.pop(VARIABLE, None)
    assert found["first"].equal(found["keeping"]) and found["first"].equal(found["second"]), "tokens differ"
    return {"cells": len(rows), "seconds": seconds}


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ratios of each input."""
    items = [item for item in found.values() if item.get("name", "").startswith("encode: ")]
    if not items:
        return []
    bars = "Bars: first / alone <= 1.15; first / second >= 20, tokens bitwise equal; half / first <= 0.55."
    lines = ["", "## Encode once", "", bars]
    lines += ["Descriptors take a millisecond a cell, the named pretrained encoders tens. `keeping` fills an empty folder,"]
    lines += ["`second` finds it full.", ""]
    lines += [
        "| input | first / alone | keeping / first | first / second | half / first | bars met | result |",
        "| --- |" + " --- |" * 6,
    ]
    for item in items:
        cells = [_ratio(item["seconds"], *pair) for pair in (("first", "alone"), ("keeping", "first"), ("first", "second"))]
        cells.append(_ratio(item["seconds"], "half", "first"))
        link = f"[json](results/{results.file_of(item['name']).name})"
        met = "yes" if cells[0] <= 1.15 and cells[2] >= 20 and cells[3] <= 0.55 else "no, short"
        name, shown = item["name"].removeprefix("encode: "), " | ".join(f"{cell:.2f}" for cell in cells)
        lines.append(f"| {name} | {shown} | {met} | {link} |")
    return [*lines, "", f"    {items[0]['command']}"]


def _ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    return statistics.median(one / other for one, other in zip(seconds[above], seconds[below], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    options = parser.parse_args()
    for case, about in CASES.items():
        full = f"encode: {case}"
        if (options.again or not results.file_of(full).exists()) and options.only in full:
            result = run(options.data, about)
            command = "python benchmarks/encode.py DATA"
            results.write(full, {"name": full, **results.origin(), "command": command, "seed": 0, **result})
            print(case, {what: statistics.median(each) for what, each in result["seconds"].items()}, flush=True)


if __name__ == "__main__":
    main()
