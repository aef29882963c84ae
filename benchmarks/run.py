"""Benchmarks: run the public command on real data, keep what came of it as JSON, and write RESULTS.md from the JSON.

    python benchmarks/run.py DATA            run every case that has no result yet
    python benchmarks/run.py DATA --only leaf --again
    python benchmarks/run.py --table         only write RESULTS.md from the committed results

DATA is the folder with the data sets (see `CASES`); none of it is in the repository. A result holds the commit, the
literal command, the seed, the machine, wall time, peak memory of the process and every metric with its interval.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Data:
    """A data set: its table, the options that say what to predict from what, the metrics to show, the bar to reach."""

    table: str
    options: tuple[str, ...]
    metrics: tuple[str, ...]
    bar: str


DATA = {
    "leaf": Data("leaf/table.csv", ("--target", "label", "--exclude", "id"), ("accuracy",), "accuracy >= 0.97"),
    "clothing_reviews": Data(
        "clothing_reviews/table.csv.gz",
        ("--target", "Recommended IND", "--exclude", 'id,"Clothing ID"'),
        ("pr_auc", "f1"),
        "pr_auc >= 0.994 and f1 >= 0.961",
    ),
    "math_vision": Data(
        "math_vision/table.csv",
        ("--target", "label", "--exclude", "id,subject,answer,level,in_testmini"),
        ("accuracy",),
        "accuracy >= 0.60",
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
SINGLES = {
    "leaf": ("image", "margin", "shape", "texture"),
    "clothing_reviews": ("Review Text", "Title", "tabular"),
    "math_vision": ("image", "text", "options", "tabular"),
}


def cases() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> (data set, extra options)."""
    found = {}
    for name in DATA:
        for variant, options in VARIANTS.items():
            found[f"{name}: {variant}"] = (name, options)
        for item in SINGLES[name]:
            found[f"{name}: {item} alone"] = (name, ("--set", f"select.only=single.{item}"))
    return found


def run(case: str, folder: Path, seed: int) -> dict[str, Any]:
    """Run one case in a process of its own. Ends with the command's own words where it fails."""
    name, extra = cases()[case]
    data = DATA[name]
    with tempfile.TemporaryDirectory() as scratch:
        options = (*data.options, *extra, "--seed", str(seed))
        command = [
            sys.executable,
            "-m",
            "consilience.cli",
            "train",
            str(folder / data.table),
            *options,
            "--out",
            f"{scratch}/run",
        ]
        started = time.monotonic()
        with Path(scratch, "log").open("w+b") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)  # the usage of this one process, unlike that of all children
            if status:
                log.seek(0)
                sys.exit(f"{case} failed:\n{log.read().decode()}")
        seconds = time.monotonic() - started
        metrics = json.loads((Path(scratch) / "run" / "metrics.json").read_text())
        selection = json.loads((Path(scratch) / "run" / "selection.json").read_text())
    return {
        "case": case,
        "commit": _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "src") else ""),
        "command": shlex.join(["consilience", "train", f"DATA/{data.table}", *options, "--out", "run"]),
        "seed": seed,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "chosen": selection["weights"],
        "valid": selection["valid"],
        "metrics": metrics["test"],
    }


def table() -> str:
    """RESULTS.md from every JSON of `results`; a figure without its JSON cannot stand in it."""
    lines = [
        "# Results",
        "",
        "Every line stands in `benchmarks/results/` as JSON: commit, literal command, seed, machine, time, memory and all",
        "metrics. `python benchmarks/run.py DATA` runs them, `python benchmarks/run.py --table` writes this page. The test",
        "part of each set is scored once, at the end of `train`; 95% bootstrap intervals in brackets. Seconds are wall time",
        "on a shared machine of two cores.",
    ]
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    by_case = {item["case"]: item for item in found}
    for name, data in DATA.items():
        rows = [case for case, (other, _) in cases().items() if other == name and case in by_case]
        if not rows:
            continue
        lines += ["", f"## {name}", "", f"Bar: {data.bar}.", ""]
        lines += ["| what | " + " | ".join(data.metrics) + " | seconds | peak MB | result |"]
        lines += ["| --- |" + " --- |" * (len(data.metrics) + 3)]
        for case in rows:
            item = by_case[case]
            values = [_shown(item["metrics"][metric]) for metric in data.metrics]
            file = f"results/{_file(case)}"
            what = case.split(": ", 1)[1]
            lines.append(
                f"| {what} | " + " | ".join(values) + f" | {item['seconds']:.0f} | {item['peak_mb']} | [json]({file}) |"
            )
        absent = [case.split(": ", 1)[1] for case, (other, _) in cases().items() if other == name and case not in by_case]
        if absent:
            lines += ["", f"Not measured yet: {', '.join(absent)}."]
        default = by_case.get(f"{name}: default")
        if default is not None:
            weights = " + ".join(f"{share:.2f} {chosen}" for chosen, share in default["chosen"].items())
            lines += ["", f"Chosen by default: {weights}.", "", f"    {default['command']}"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--only", default="", help="cases whose name starts with this")
    parser.add_argument("--again", action="store_true", help="run cases that have a result too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if not options.table:
        if options.data is None:
            parser.error("name the folder of the data sets, or say --table")
        for case in cases():
            path = RESULTS / _file(case)
            if not case.startswith(options.only) or (path.exists() and not options.again):
                continue
            print(case, flush=True)
            path.write_text(json.dumps(run(case, options.data, options.seed), indent=1) + "\n")
            (HERE / "RESULTS.md").write_text(table())  # after every case, so that an interrupted run has its page
    (HERE / "RESULTS.md").write_text(table())


def _file(case: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in case).strip("_") + ".json"


def _shown(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
