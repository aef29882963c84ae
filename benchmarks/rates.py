"""Rates: what reading and preparing a cell costs on one core, beside the bare library calls that do the same work.

    python benchmarks/rates.py DATA [--only image] [--again]

`read` is a cell of the table to a sample, `prepare` a sample to the tensors of the scratch encoder. Beside each stands what
anyone would write by hand for the same tensors, with nothing checked, limited, noted or learned: the decoder alone, and
the resize, spectrogram, hashes or patches alone. Ours and theirs take turns on the same cells, in one process with one
thread; every figure is the median over the turns. That the tensors are alike, in names, shapes and types, is asserted.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

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


def shrunk(pixels: np.ndarray) -> Mapping[str, torch.Tensor]:
    """Torch's antialiased resize alone."""
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return {"pixels": F.interpolate(values, size=(64, 64), mode="bilinear", antialias=True)[0]}


def sound(cell: Path) -> np.ndarray:
    """Soundfile alone."""
    return soundfile.read(io.BytesIO(cell.read_bytes()), dtype="float32")[0]


MEL = torch.rand(129, 40)
WINDOW = torch.hann_window(200)


def spectrogram(waves: np.ndarray) -> Mapping[str, torch.Tensor]:
    """Torch's STFT at 8 kHz and one matrix product for the bands; decibels as they are and smoothed, cut into patches."""
    spectrum = torch.stft(torch.from_numpy(waves), 256, 80, 200, WINDOW, return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(2).T @ MEL
    smooth = F.avg_pool1d(power.T, 9, stride=1, padding=4, count_include_pad=False).T
    views = []
    for view in (power, smooth):
        levels = 10 * view.clamp(min=float(view.max()) * 1e-8).log10()
        levels -= levels.median()
        views.append((levels / (levels.abs().median() / 0.67).clamp(min=1.0)).clamp(-4, 4))
    frames = torch.stack(views, 1)
    count = -(-len(frames) // 4)
    patches = F.pad(frames, (0, 0, 0, 0, 2, 2 + 4 * count - len(frames))).unfold(0, 8, 4).transpose(2, 3)
    return {"patches": patches.contiguous(), "seconds": (torch.arange(count) * 4 + 1.5) * 0.01}


@lru_cache(50_000)
def pieces(word: str) -> list[int]:
    """CRC-32 of a word and its runs of 3 to 5 letters."""
    padded = f"<{word}>"
    runs = [
        padded[start : start + size]
        for size in range(3, min(5, len(padded) - 1) + 1)
        for start in range(len(padded) - size + 1)
    ]
    return [1 + crc32(run.encode()) % 20_000 for run in [padded, *runs]]


def hashed(text: str) -> Mapping[str, torch.Tensor]:
    """The words by one regular expression, and their pieces."""
    found = [pieces(word) for word in re.findall(r"\w+", text.lower())[:128]]
    return {
        "ids": torch.tensor([piece for word in found for piece in word]),
        "counts": torch.tensor([len(word) for word in found]),
    }


def numbers(cells: Mapping[str, Cell]) -> list[float]:
    """Python's float alone; NaN where nothing stands."""
    return [float(cell) if cell else math.nan for cell in cells.values()]


def scaled(values: Sequence[float]) -> Mapping[str, torch.Tensor]:
    """Scaled and clipped by numpy, without what is missing, and where something is."""
    found = (np.array(values) - 0.02) * 40.0
    there = ~np.isnan(found)
    clipped = np.where(there, found / np.sqrt(1 + (found / 3) ** 2), 0.0).astype(np.float32)
    return {"number": torch.from_numpy(clipped), "mask": torch.from_numpy(there)}


def patches(values: np.ndarray) -> Mapping[str, torch.Tensor]:
    """Scaled twice, by the channel and by its own mean and deviation, and averaged in patches, by numpy."""
    found = (values.reshape(len(values), -1) - 0.5) / 40.0
    there = ~np.isnan(found)
    mean, spread = np.nanmean(found, 0), np.nanstd(found, 0)
    normed = np.where(there, (found - mean) / np.maximum(spread, 1e-3), 0.0)
    steps, channels = found.shape
    size = -(-steps // 48)
    block = -(-size // 64)
    size = block * -(-size // block)
    count = -(-steps // size)
    space = ((0, count * size - steps), (0, 0))
    cut = np.pad(normed, space).reshape(count, -1, block, channels), np.pad(there, space).reshape(count, -1, block, channels)
    points = (cut[0].sum(2) / np.maximum(cut[1].sum(2), 1)).clip(-20, 20).transpose(0, 2, 1)
    shares = cut[1].mean((1, 2))
    made = {
        "points": points,
        "shares": shares,
        "statistics": np.concatenate([np.arcsinh(mean), np.log(spread + 1e-3), 1 - there.mean(0)]),
        "seconds": np.concatenate([[steps / 2], (np.arange(count) + 0.5) * size]),
    }
    return {key: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for key, value in made.items()}


CASES = {
    "image": Case("leaf/table.csv", ("id",), "image", picture, shrunk),
    "text": Case("math_vision/table.csv", ("id",), "text", str, hashed),
    "tabular": Case("leaf/table.csv", ("id",), "margin", numbers, scaled),
    "audio": Case("av_digits/table.csv", ("id",), "audio", sound, spectrogram),
    "series": Case("stress_wearable/table.csv", ("id",), "bvp", np.load, patches),
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
    read = [kind.read(item, row, limits) for row in cells]
    samples = [sample for sample in read if not isinstance(sample, Missing)]
    assert len(samples) == len(cells)
    bare = [case.decode(row if kind.grouped else row[item.columns[0]]) for row in cells]
    encoders = {name: fitted(kind, item, name, samples) for name in kind.encoders()}
    for sample, decoded in zip(samples, bare, strict=True):
        ours, theirs = encoders["scratch"].prepare(sample), case.prepare(decoded)
        assert _shapes(ours) == _shapes(theirs), f"{_shapes(ours)} beside {_shapes(theirs)}"
    works: dict[str, Callable[[], Any]] = {
        "read": lambda: [kind.read(item, row, limits) for row in cells],
        "read, bare": lambda: [case.decode(row if kind.grouped else row[item.columns[0]]) for row in cells],
        "scratch": lambda: [encoders["scratch"].prepare(sample) for sample in samples],
        "scratch, bare": lambda: [case.prepare(decoded) for decoded in bare],
        "descriptor": lambda: [encoders["descriptor"].prepare(sample) for sample in samples],
    }
    seconds = turns(works)
    cost, bare_cost = seconds["read"] + seconds["scratch"], seconds["read, bare"] + seconds["scratch, bare"]
    return {
        "name": f"rates: {modality}",
        **results.origin(),
        "command": f"python benchmarks/rates.py DATA --only {modality}",
        "seed": 0,
        "input": case.input,
        "table": case.table,
        "cells": len(cells),
        "microseconds": {name: round(1e6 * value / len(cells), 1) for name, value in seconds.items()},
        "ratio": round(cost / bare_cost, 3),
        "read ratio": round(seconds["read"] / seconds["read, bare"], 3),
    }


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in sorted(tensors.items())}


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
                "Bar: at most 1.2 times the bare calls. Microseconds a cell on one core: reading, and preparing for the",
                "scratch encoder, beside what anyone would write by hand for the same tensors with nothing checked; the",
                "descriptor's preparation.",
                "",
            ]
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
