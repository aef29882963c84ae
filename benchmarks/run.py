"""Run the public command on real data, keep what came of it as JSON.

    python benchmarks/run.py DATA            run every case that has no result yet
    python benchmarks/run.py DATA --only leaf --again

DATA is the folder with the data sets (see `DATA`); none of it is in the repository. A result holds the commit, the
literal command, the seed, the machine, wall time, peak memory of the process and every metric with its interval.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results


@dataclass(frozen=True)
class Data:
    """A data set: its table, the options that say what to predict from what, the metrics to show, the bar to reach.

    `singles` are inputs that are measured alone, on descriptors; `scratch` those that are also trained alone from nothing.
    """

    table: str
    options: tuple[str, ...]
    metrics: tuple[str, ...]
    bar: str
    singles: tuple[str, ...]
    scratch: tuple[str, ...] = ()


DATA = {
    "leaf": Data(
        "leaf/table.csv",
        ("--target", "label", "--exclude", "id"),
        ("accuracy",),
        "accuracy >= 0.97",
        ("image", "margin", "shape", "texture"),
    ),
    "clothing_reviews": Data(
        "clothing_reviews/table.csv.gz",
        ("--target", "Recommended IND", "--exclude", 'id,"Clothing ID"'),
        ("pr_auc", "f1"),
        "pr_auc >= 0.994 and f1 >= 0.961",
        ("Review Text", "Title", "tabular"),
    ),
    "math_vision": Data(
        "math_vision/table.csv",
        ("--target", "label", "--exclude", "id,subject,answer,level,in_testmini"),
        ("accuracy",),
        "accuracy >= 0.60",
        ("image", "text", "options", "tabular"),
    ),
    "av_digits hard": Data(
        "av_digits/table.csv",
        ("--target", "label", "--exclude", "id,take,speaker,audio,image"),
        ("accuracy",),
        "accuracy >= 0.93 together; scratch + transformer >= 0.90",
        ("audio_hard", "image_hard"),
    ),
    "av_digits clean": Data(
        "av_digits/table.csv",
        ("--target", "label", "--exclude", "id,take,speaker,audio_hard,image_hard"),
        ("accuracy",),
        "accuracy >= 0.99 together; scratch >= 0.93 on each alone",
        ("audio", "image"),
        ("audio", "image"),
    ),
    "stress_wearable": Data(
        "stress_wearable/table.csv",
        ("--target", "label", "--exclude", "id,minute", "--group", "subject"),
        ("roc_auc", "balanced_accuracy"),
        "roc_auc >= 0.70",
        ("acc", "bvp", "eda", "temp", "tabular"),
    ),
}

# The same recipe for every set: the default. Beside it, the same with selection off, one predictor at a time.
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "descriptors + transformer": ("--set", "select.only=fused"),
    "scratch + transformer": ("--preset", "best", "--set", "select.only=scratch"),
    "linear": ("--set", "select.only=linear"),
    "stack": ("--set", "select.only=stack"),
    "trees": ("--set", "select.only=trees"),
}


def cases() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> (data set, extra options)."""
    found = {}
    for name, data in DATA.items():
        for variant, options in VARIANTS.items():
            found[f"{name}: {variant}"] = (name, options)
        for item in data.singles:
            found[f"{name}: {item} alone"] = (name, ("--set", f"select.only=single.{item}"))
        for item in data.scratch:
            only = ("--set", f"predictors.scratch.inputs=[{item}]")
            found[f"{name}: {item} alone, scratch"] = (name, (*VARIANTS["scratch + transformer"], *only))
    return found


def run(case: str, folder: Path, seed: int) -> dict[str, Any]:
    """Run one case in a process of its own. Ends with the command's own words where it fails."""
    name, extra = cases()[case]
    data = DATA[name]
    with tempfile.TemporaryDirectory() as scratch:
        options = (*data.options, *extra, "--seed", str(seed))
        head = [sys.executable, "-m", "consilience.cli", "train", str(folder / data.table)]
        started = time.monotonic()
        with Path(scratch, "log").open("w+b") as log:
            process = subprocess.Popen([*head, *options, "--out", f"{scratch}/run"], stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)  # the usage of this one process, unlike that of all children
            if status:
                log.seek(0)
                sys.exit(f"{case} failed:\n{log.read().decode()}")
        seconds = time.monotonic() - started
        metrics = json.loads((Path(scratch) / "run" / "metrics.json").read_text())
        selection = json.loads((Path(scratch) / "run" / "selection.json").read_text())
    return {
        "case": case,
        **results.origin(),
        "command": shlex.join(["consilience", "train", f"DATA/{data.table}", *options, "--out", "run"]),
        "seed": seed,
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "chosen": selection["weights"],
        "valid": selection["valid"],
        "metrics": metrics["test"],
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table for every data set."""
    lines: list[str] = []
    by_case = {item["case"]: item for item in found.values() if item.get("case") in cases()}
    for name, data in DATA.items():
        of_set = [case for case, (other, _) in cases().items() if other == name]
        if not any(case in by_case for case in of_set):
            continue
        lines += ["", f"## {name}", "", f"Bar: {data.bar}.", ""]
        lines += ["| what | " + " | ".join(data.metrics) + " | seconds | peak MB | result |"]
        lines += ["| --- |" + " --- |" * (len(data.metrics) + 3)]
        for case in of_set:
            if case not in by_case:
                continue
            item = by_case[case]
            values = [results.shown(item["metrics"][metric]) for metric in data.metrics]
            cells = [case.split(": ", 1)[1], *values, f"{item['seconds']:.0f}", str(item["peak_mb"])]
            lines.append(f"| {' | '.join(cells)} | [json](results/{results.file_of(case).name}) |")
        absent = [case.split(": ", 1)[1] for case in of_set if case not in by_case]
        if absent:
            lines += ["", f"Not measured yet: {', '.join(absent)}."]
        default = by_case.get(f"{name}: default")
        if default is not None:
            weights = " + ".join(f"{share:.2f} {chosen}" for chosen, share in default["chosen"].items())
            lines += ["", f"Chosen by default: {weights}.", "", f"    {default['command']}"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--only", default="", help="cases whose name starts with this")
    parser.add_argument("--again", action="store_true", help="run cases that have a result too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for case in cases():
        if case.startswith(options.only) and (options.again or not results.file_of(case).exists()):
            print(case, flush=True)
            results.write(case, run(case, options.data, options.seed))  # so that an interrupted run has its page


if __name__ == "__main__":
    main()
