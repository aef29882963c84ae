"""Size: what a row costs in memory and time, from ten thousand to a million rows of text and numbers.

    python benchmarks/size.py [--again] [--only inspect]

A table is generated and written as a CSV; then each step runs in a process of its own, which watches its anonymous memory
(RssAnon, 50 times a second; what is mapped from files is not in it, because the kernel may drop it at any time) and the
seconds of processor that it takes, because others may use the machine too. Two figures a step: bytes that its peak grows
by from 10,000 rows to 1,000,000, and from 400,000 on, which hold all that a fit takes into memory (200,000 rows to learn
from, 50,000 to choose by).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import results

NAME = "size: text and numbers"
SIZES = (10_000, 400_000, 1_000_000)
STEPS = ("read", "inspect", "train", "predict")
WORDS = 5000


def write_table(path: Path, rows: int, seed: int = 0) -> None:
    """Two texts of 8 and 20 words, four numbers, a category and a target that hangs on them; some cells empty."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{index:x}" for index in rng.permutation(WORDS)])
    with path.open("w", encoding="utf-8") as file:
        file.write("title,note,a,b,c,d,kind,target\n")
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            numbers = rng.normal(size=(count, 4))
            chosen = (WORDS * rng.random((count, 28)) ** 3).astype(int)
            kind = rng.integers(0, 6, count)
            logit = numbers[:, 0] + (chosen[:, :8] < 40).sum(1) - 1.5 + (kind == 2)
            target = rng.random(count) < 1 / (1 + np.exp(-logit))
            empty = rng.random((count, 6)) < 0.05
            for row in range(count):
                cells = [" ".join(words[chosen[row, :8]]), " ".join(words[chosen[row, 8:]])]
                cells += [f"{value:.4f}" for value in numbers[row]]
                cells = ["" if gone else cell for cell, gone in zip(cells, empty[row], strict=True)]
                file.write(",".join([*cells, f"k{kind[row]}", "yes" if target[row] else "no"]) + "\n")


def work(step: str, table: Path, run: Path) -> None:
    """What is measured."""
    import consilience
    from consilience.data.table import read_table

    if step == "read":
        read_table(table)
    elif step == "inspect":
        consilience.inspect(table, target="target")
    elif step == "train":
        consilience.fit(table, target="target", preset="fast").save(run)
    else:
        from consilience.run import write_predictions

        trained = consilience.load(run)
        write_predictions(trained.prediction_batches(table), run.parent / "answers.parquet", True)


def watched(step: str, table: Path, run: Path) -> None:
    """Do the work and print seconds and the peak of anonymous memory above that of a process that has torch loaded."""
    import sklearn.ensemble  # noqa: F401 - what is loaded before counts as the start
    import torch  # noqa: F401

    peak, done = 0, threading.Event()
    start = _anonymous()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, _anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began, before = time.monotonic(), time.process_time()
    work(step, table, run)
    seconds, processor = time.monotonic() - began, time.process_time() - before
    done.set()
    watcher.join()
    print(json.dumps({"seconds": round(seconds, 1), "processor": round(processor, 1), "bytes": peak - start}))


def _anonymous() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def run(sizes: tuple[int, ...], steps: tuple[str, ...] = STEPS) -> dict[str, Any]:
    """Those steps at every size, with their commit, beside what was measured of the others before."""
    kept = json.loads(results.file_of(NAME).read_text())["steps"] if steps != STEPS else {}
    found: dict[str, dict[str, Any]] = {step: {} if step in steps else kept[step] for step in STEPS}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            table = Path(folder) / f"{rows}.csv"
            write_table(table, rows)
            for step in steps:
                place = Path(folder) / f"run{rows}"
                command = [sys.executable, __file__, "--step", step, "--table", str(table), "--run", str(place)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{step} of {rows} rows failed:\n{done.stderr}")
                found[step][str(rows)] = json.loads(done.stdout.splitlines()[-1]) | {"commit": results.origin()["commit"]}
                print(step, rows, found[step][str(rows)], flush=True)
            table.unlink()
    return {
        "name": NAME,
        **results.origin(),
        "command": "python benchmarks/size.py",
        "seed": 0,
        "sizes": list(sizes),
        "steps": found,
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each step."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    sizes = item["sizes"]
    lines = [
        "",
        "## Size",
        "",
        "Bar: anonymous memory grows by less than 100 bytes a row from 10,000 to 1,000,000 rows of text",
    ]
    lines += [
        "and numbers, apart from what a fit takes of at most 200,000 rows, which 400,000 rows have; time linear. Peaks, and",
        "seconds of one processor. `train` is the preset fast.",
        "",
    ]
    lines += ["| step | " + " | ".join(f"{rows:,} rows" for rows in sizes) + " | bytes a row | bytes a row from 400,000 on |"]
    lines += ["| --- |" + " --- |" * (len(sizes) + 2)]
    for step, values in item["steps"].items():
        cells = [f"{value['bytes'] / 2**20:.0f} MB, {value['processor']:.1f} s" for value in values.values()]
        peaks = [value["bytes"] for value in values.values()]
        slopes = [(peaks[-1] - peaks[at]) / (sizes[-1] - sizes[at]) for at in (0, 1)]
        lines.append(f"| {step} | {' | '.join(cells)} | {slopes[0]:.0f} | {slopes[1]:.0f} |")
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--sizes", type=int, nargs=3, default=SIZES, help="three numbers of rows, to try it out: not kept")
    parser.add_argument("--only", choices=STEPS, nargs="+", default=STEPS, help="measure these steps, keep the others")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step is not None:
        watched(options.step, options.table, options.run)
    elif tuple(options.sizes) != SIZES:
        run(tuple(options.sizes), tuple(options.only))
    elif options.again or not results.file_of(NAME).exists():
        results.write(NAME, run(SIZES, tuple(options.only)))


if __name__ == "__main__":
    main()
