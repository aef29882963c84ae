"""Rates: what reading and preparing a cell costs on one core, beside the bare library calls that do the same work.

    python benchmarks/rates.py DATA [--only image] [--again]

`read` is a cell of the table to a sample, `prepare` a sample to the tensors of the scratch encoder. Beside each stand the
calls that anyone would write by hand: the decoder alone, and the resize, spectrogram or split alone. Ours and theirs take
turns on the same cells, in one process with one thread; every figure is the median over the turns.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import soundfile
import torch
import torch.nn.functional as F

import results
from consilience import component
from consilience.data.schema import infer_schema, modality_of
from consilience.data.table import read_table
from consilience.encoders.base import Encoder
from consilience.modalities.base import Modality
from consilience.recipe import make_recipe
from consilience.types import Cell, Input, Limits, Missing

CELLS = 200
TURNS = 15

Work = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """One input of a data set, and the bare calls: cells of a row -> decoded -> tensor."""

    table: str
    exclude: tuple[str, ...]
    input: str
    decode: Work
    prepare: Work


def picture(cell: Path) -> np.ndarray:
    """Pillow alone."""
    return np.array(PIL.Image.open(io.BytesIO(cell.read_bytes())).convert("RGB"))


def shrunk(pixels: np.ndarray) -> torch.Tensor:
    """Torch's antialiased resize alone."""
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(values, size=(64, 64), mode="bilinear", antialias=True)[0]


def sound(cell: Path) -> np.ndarray:
    """Soundfile alone."""
    return soundfile.read(io.BytesIO(cell.read_bytes()), dtype="float32")[0]


MEL = torch.rand(201, 64)
WINDOW = torch.hann_window(400)


def spectrogram(waves: np.ndarray) -> torch.Tensor:
    """Resampling to 16 kHz by scipy, torch's STFT and one matrix product for the bands."""
    from scipy.signal import resample_poly

    values = torch.from_numpy(resample_poly(waves, 2, 1))
    power = torch.stft(values, 400, 160, window=WINDOW, return_complex=True).abs().square()
    return (power.T @ MEL).clamp(min=1e-10).log()


def numbers(cells: Mapping[str, Cell]) -> list[float]:
    """Python's float alone."""
    return [float(cell) for cell in cells.values()]


CASES = {
    "image": Case("leaf/table.csv", ("id",), "image", picture, shrunk),
    "text": Case("math_vision/table.csv", ("id",), "text", str, lambda text: torch.tensor([hash(w) for w in text.split()])),
    "tabular": Case("leaf/table.csv", ("id",), "margin", numbers, torch.tensor),
    "audio": Case("av_digits/table.csv", ("id",), "audio", sound, spectrogram),
    "series": Case("stress_wearable/table.csv", ("id",), "bvp", np.load, lambda values: torch.from_numpy(values).float()),
}


def turns(works: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of each piece of work, the median of turns that they take one after the other."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - started)
    return {name: float(np.median(values)) for name, values in taken.items()}


def fitted(kind: Modality, item: Input, name: str, samples: Sequence[Any]) -> Encoder:
    """The encoder of that name with its default options, fitted on the samples."""
    cls = component.load(kind.encoders()[name])
    encoder: Encoder = cls(config=cls.Config(), input=item)  # type: ignore[attr-defined]
    encoder.fit(samples, np.random.default_rng(0))
    return encoder.eval()


def run(modality: str, data: Path) -> dict[str, Any]:
    """Cells a second: read and prepare, ours and bare."""
    torch.set_num_threads(1)
    case, limits = CASES[modality], Limits()
    table = read_table(data / case.table)
    schema = infer_schema(table, make_recipe(settings=[{"exclude": list(case.exclude)}]))
    item = schema[case.input]
    kind = modality_of(item)
    cells: list[dict[str, Cell]] = []
    for row in range(min(CELLS, len(table))):
        found = {column: table.cells(column, np.array([row]))[0] for column in item.columns}
        cells.append({column: table.root(row) / cell if kind.media else cell for column, cell in found.items()})
    samples = [kind.read(item, row, limits) for row in cells]
    assert not any(isinstance(sample, Missing) for sample in samples)
    bare = [case.decode(row if kind.grouped else row[item.columns[0]]) for row in cells]
    encoders = {name: fitted(kind, item, name, samples) for name in kind.encoders()}
    works: dict[str, Callable[[], Any]] = {
        "read": lambda: [kind.read(item, row, limits) for row in cells],
        "read, bare": lambda: [case.decode(row if kind.grouped else row[item.columns[0]]) for row in cells],
        "scratch": lambda: [encoders["scratch"].prepare(sample) for sample in samples],
        "scratch, bare": lambda: [case.prepare(decoded) for decoded in bare],
        "descriptor": lambda: [encoders["descriptor"].prepare(sample) for sample in samples],
    }
    seconds = turns(works)
    ours, theirs = seconds["read"] + seconds["scratch"], seconds["read, bare"] + seconds["scratch, bare"]
    return {
        "name": f"rates: {modality}",
        **results.origin(),
        "command": f"python benchmarks/rates.py DATA --only {modality}",
        "seed": 0,
        "input": case.input,
        "table": case.table,
        "cells": len(cells),
        "microseconds": {name: round(1e6 * value / len(cells), 1) for name, value in seconds.items()},
        "ratio": round(ours / theirs, 3),
        "read ratio": round(seconds["read"] / seconds["read, bare"], 3),
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each modality."""
    lines: list[str] = []
    for modality in CASES:
        item = found.get(results.file_of(f"rates: {modality}").name)
        if item is None:
            continue
        if not lines:
            lines += [
                "",
                "## Rates",
                "",
                "Bar: at most 1.2 times the bare calls. Microseconds a cell on one core: reading, and",
            ]
            lines += ["preparing for the scratch encoder, beside the library calls alone; the descriptor's preparation.", ""]
            names = ("read", "read, bare", "scratch", "scratch, bare", "descriptor")
            lines += ["| input | " + " | ".join(names) + " | cells a second | ratio | result |", "| --- |" + " --- |" * 8]
        cost = item["microseconds"]
        rate = 1e6 / (cost["read"] + cost["scratch"])
        cells = [
            f"{item['input']} ({modality})",
            *(f"{value:g}" for value in cost.values()),
            f"{rate:.0f}",
            f"{item['ratio']:g}",
        ]
        lines.append(f"| {' | '.join(cells)} | [json](results/{results.file_of(f'rates: {modality}').name}) |")
    if lines:
        lines += ["", "    python benchmarks/rates.py DATA"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--only", default="", help="modalities whose name starts with this")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    options = parser.parse_args()
    for modality in CASES:
        name = f"rates: {modality}"
        if modality.startswith(options.only) and (options.again or not results.file_of(name).exists()):
            results.write(name, run(modality, options.data))
            print(name, flush=True)


if __name__ == "__main__":
    main()
