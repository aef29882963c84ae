"""Killed and gone on with: a training that is killed at a random moment must end with the files of one that was not.

    python benchmarks/kill.py [--points 50] [--seed 0]

A small table of text, numbers and a category is trained on with the preset's kinds of predictors, among them a
network whose encoders train too, with a checkpoint after every step. Each time a process of its own is killed (SIGKILL) at a
moment drawn evenly over the whole training, reading and writing included, and another goes on; then all files are compared.
Before, two undisturbed trainings by the command, of one seed, whose hashes of strings differ, must leave identical files. (With
another number of threads the last bits of a network's sums differ.)
Processes are forked from one that has everything imported, so that no moment is spent on imports.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import results
from consilience import checkpoint, unfinished

NAME = "kill: random moments"
POINTS = 50
ROWS = 240
SETTINGS = {
    "predictors": {
        "fused": {"train": {"epochs": 3}},
        "scratch": {"kind": "fused", "encoder": "scratch", "width": 32, "train": {"epochs": 2}},
        "single": None,
        "stack": {"folds": 2},
        "trees": {"folds": 2, "iterations": 8},
    }
}


def write_table(path: Path) -> None:
    """A note, two numbers, a category, and a class that hangs on all."""
    rng = np.random.default_rng(0)
    lines = ["note,a,b,kind,answer"]
    for row in range(ROWS):
        a, b, kind = rng.normal(), rng.normal(), "xyz"[row % 3]
        answer = ("no", "yes")[int(a + (kind == "x") + rng.normal() > 0.3)]
        words = " ".join(rng.choice([answer, "day", "seen", "well", "pain", "left"], 6))
        lines.append(f"{words} {row},{a:.3f},{b:.3f},{kind},{answer}")
    path.write_text("\n".join(lines) + "\n")


def train(table: Path, out: Path) -> int:
    """Begin, or go on, in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - the process ends with it
        torch.set_num_threads(1)
        unfinished.Clock = lambda: checkpoint.Clock(every=0.0)  # type: ignore[assignment]
        if (out.with_name(f".{out.name}.training") / checkpoint.ABOUT).exists():
            request = unfinished.resumed(out)
        else:
            request = unfinished.begun(out, True, table, "answer", None, "best", [SETTINGS], None, None, False)
        unfinished.trained(out, request, True)
        code = 0
    finally:
        os._exit(code)


def by_command(table: Path, out: Path, salt: int) -> Path:
    """The run of `consilience train`, in a process whose hashes of strings are its own."""
    settings = out.with_suffix(".yaml")
    settings.write_text(yaml.safe_dump(SETTINGS))
    command = [sys.executable, "-m", "consilience.cli", "train", str(table), "--target", "answer", "--preset", "best"]
    environment = {**os.environ, "PYTHONHASHSEED": str(salt)}
    subprocess.run([*command, "--recipe", str(settings), "--out", str(out)], check=True, capture_output=True, env=environment)
    return out


def ended(child: int, within: float | None = None) -> int | None:
    """The exit code of a process; None where it had to be killed because it took longer."""
    started = time.monotonic()
    while within is None or time.monotonic() - started < within:
        done, status = os.waitpid(child, os.WNOHANG if within is not None else 0)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stage(out: Path) -> str:
    """What was under way when it was killed, by what is kept."""
    kept = [path.name for path in out.with_name(f".{out.name}.training").glob("*.checkpoint")]
    if out.exists():
        return "writing"
    if any(name.startswith("refit") for name in kept):
        return "refit"
    return "training" if kept else "reading"


def run(points: int, seed: int) -> dict[str, Any]:
    """As many kills, each gone on with to the end."""
    started, draw = time.perf_counter(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        table, whole = Path(folder) / "table.csv", Path(folder) / "whole"
        write_table(table)
        took = time.monotonic()
        assert ended(train(table, whole)) == 0
        took = time.monotonic() - took
        wanted, equal, stages = files(whole), 0, Counter[str]()
        twins = [files(by_command(table, Path(folder) / f"twin{salt}", salt)) for salt in (1, 2)]
        for point in range(points):
            out = Path(folder) / f"run{point}"
            code = ended(train(table, out), draw.uniform(0, took))
            stages["finished before" if code == 0 else stage(out)] += 1
            if code != 0:
                code = ended(train(table, out))
            same = code == 0 and files(out) == wanted
            equal += same
            print(point, dict(stages), "equal" if same else f"NOT EQUAL, exit code {code}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/kill.py --points {points} --seed {seed}",
        "seed": seed,
        "points": points,
        "equal": equal,
        "twins": twins[0] == twins[1],
        "stages": dict(stages),
        "seconds": round(time.perf_counter() - started, 1),
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many ended equal, and where they were killed."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    where = ", ".join(f"{count} in {stage}" for stage, count in item["stages"].items())
    lines = [
        "",
        "## Killed and gone on with",
        "",
        f"Bar: {POINTS} of {POINTS} random kills end with files identical to those of an",
    ]
    lines += ["undisturbed training.", "", f"{item['equal']} of {item['points']} identical ({where})."]
    if "twins" in item:
        lines += ["", f"Two trainings by the command with one seed leave identical files: {'yes' if item['twins'] else 'NO'}."]
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = run(options.points, options.seed)
    if options.points >= POINTS:
        results.write(NAME, result)


if __name__ == "__main__":
    main()
