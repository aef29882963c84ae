"""Make the golden runs of this format: small runs, a table, and what they answered to it, for `tests/test_golden.py`.

    python tests/golden/make.py

Those of a format are made once and stay as they are: they prove that runs of people are still opened, and still answer what
they did. A folder that is there is left alone; a new format, or a new kind of part, gets a new folder.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from consilience import pipeline
from consilience.recipe import validate
from consilience.run import FORMAT

HERE = Path(__file__).parent
ROWS, SHOWN = 90, 16

TINY: Mapping[str, Any] = {
    "image": {"kind": "scratch", "side": 16, "width": 32, "depth": 1, "heads": 2},
    "text": {"kind": "scratch", "width": 32, "depth": 1, "heads": 2, "length": 8, "buckets": 50},
    "tabular": {"kind": "scratch", "width": 32, "depth": 1, "heads": 2},
    "series": {"kind": "scratch", "tokens": 2, "width": 32, "depth": 1, "heads": 2},
    "audio": {"kind": "scratch", "width": 32, "depth": 1, "heads": 2, "length": 8},
}
FUSED = {"kind": "fused", "width": 16, "train": {"epochs": 2, "rate": 0.01}}
TRANSFORMER = {"kind": "transformer", "depth": 1, "heads": 2}

RUNS: Mapping[str, Mapping[str, Any]] = {
    "scratch": {
        "target": "answer",
        "exclude": ["level", "tags", "photos"],
        "predictors": {"it": {**FUSED, "fusion": TRANSFORMER, "encoders": TINY}},
    },
    "concat": {
        "target": "answer",
        "exclude": ["level", "tags", "photo", "photos", "pulse"],
        "predictors": {"it": {**FUSED, "fusion": {"kind": "concat"}, "encoders": {"text": {"width": 4}}}},
    },
    "stack": {
        "target": "answer",
        "exclude": ["level", "tags", "voice", "photo", "photos"],
        "predictors": {"stack": {"folds": 2, "encoders": {"text": {"width": 4}}}},
    },
    "numbers": {
        "target": "level",
        "exclude": ["answer", "tags", "photo", "photos", "voice", "pulse"],
        "task": {"kind": "regression", "log": True},
        "predictors": {"trees": {"folds": 2, "iterations": 6, "encoders": {"text": {"width": 4}}}},
    },
    "labels": {
        "target": "tags",
        "exclude": ["answer", "level", "voice", "pulse", "photo"],
        "predictors": {
            "linear": {"encoders": {"text": {"width": 4}, "image": {"side": 32, "cell": 16}}},
            "trees": {"folds": 2, "iterations": 6, "inputs": ["tabular"]},
        },
    },
}


def table() -> pa.Table:
    """Every modality and task, with gaps; media as bytes, so that a golden run is a table and nothing beside it."""
    rng = np.random.default_rng(7)
    kind = rng.integers(0, 3, ROWS)
    words = [["red", "warm", "round"], ["blue", "cold", "square"], ["green", "soft", "flat"]]
    columns: dict[str, Any] = {
        "answer": [("yes", "no", "maybe")[one] for one in kind],
        "level": [float(10**one + rng.random()) for one in kind],
        "tags": [[["a"], ["b"], ["a", "b"]][one] if row % 7 else [] for row, one in enumerate(kind)],
        "note": [" ".join(rng.choice(words[one], 4)) for one in kind],
        "size": [float(rng.normal(one)) for one in kind],
        "ward": [("north", "south", "east")[rng.integers(3)] for _ in kind],
        "day": [f"2024-0{1 + one}-{1 + row % 28:02d}" for row, one in enumerate(kind)],
        "pulse": [rng.normal(one, 1, 20).round(2).tolist() for one in kind],
        "photo": [_picture(one, rng) for one in kind],
        "photos": [[_picture(one, rng) for _ in range(rng.integers(1, 3))] for one in kind],
        "voice": [_sound(one, rng) for one in kind],
    }
    for name in ("note", "size", "ward", "day", "pulse", "photo", "photos", "voice"):
        for row in rng.choice(ROWS, 9, replace=False):
            columns[name][row] = None
    for row, found in enumerate(columns["photo"]):
        columns["photo"][row] = b"no picture" if row == 3 else found
    return pa.table(columns)


def _picture(kind: int, rng: np.random.Generator) -> bytes:
    pixels = rng.integers(0, 80, (12, 12, 3), dtype=np.uint8)
    pixels[..., kind] += 120
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _sound(kind: int, rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    waves = 0.5 * np.sin(np.arange(1200) * (kind + 1) / 5) + rng.normal(0, 0.05, 1200)
    soundfile.write(file, waves, 8000, format="WAV", subtype="PCM_U8")
    return file.getvalue()


def main() -> None:
    made = table()
    for name, tree in RUNS.items():
        folder = HERE / str(FORMAT) / name
        if folder.exists():
            continue
        recipe = validate({"split": {"test": 0.0}, "device": "cpu", **tree})
        run = pipeline.fit(made, recipe=recipe)
        run.save(folder / "run")
        asked = made.slice(0, SHOWN).drop_columns(["answer", "level", "tags", *_unread(tree)])
        pq.write_table(asked, folder / "table.parquet", compression="zstd")
        pq.write_table(run.predictions(folder / "table.parquet"), folder / "answers.parquet", compression="zstd")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder.relative_to(HERE)}: {size} bytes, chosen: {dict(run.selection.weights)}")


def _unread(tree: Mapping[str, Any]) -> list[str]:
    return [name for name in tree["exclude"] if name not in ("answer", "level", "tags")]


if __name__ == "__main__":
    main()
