"""What `consilience inspect` takes, from the call to its last line: schema, counts of every column, and the audit.

    python benchmarks/inspect_time.py DATA [--only leaf] [--again]

The command runs in a process of its own, `TURNS` times; every figure is the median, beside the processor's seconds.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import results
from run import DATA, Data

TURNS = 5


def run(name: str, data: Data, folder: Path) -> dict[str, Any]:
    """Seconds of each turn, and how many findings there are."""
    command = [sys.executable, "-m", "consilience.cli", "inspect", str(folder / data.table), *data.options]
    seconds, processor, said = [], [], ""
    for _ in range(TURNS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(round(time.monotonic() - started, 2))
        processor.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2))
    return {
        "name": f"inspect: {name}",
        **results.origin(),
        "command": shlex.join(["consilience", "inspect", f"DATA/{data.table}", *data.options]),
        "seed": 0,
        "seconds": seconds,
        "processor_seconds": processor,
        "found": next(line for line in said.splitlines() if "of faults looked for" in line),
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each table."""
    items = [item for item in found.values() if item.get("name", "").startswith("inspect: ")]
    if not items:
        return []
    lines = [
        "",
        "## Inspect",
        "",
        f"Bar: clothing_reviews in under 5 seconds. Medians of {TURNS} calls, from start to end.",
        "",
    ]
    lines += ["| table | seconds | processor seconds | audit | result |", "| --- |" + " --- |" * 4]
    for item in items:
        cells = [item["name"].removeprefix("inspect: "), f"{statistics.median(item['seconds']):.1f}"]
        cells += [f"{statistics.median(item['processor_seconds']):.1f}", item["found"]]
        lines.append(f"| {' | '.join(cells)} | [json](results/{results.file_of(item['name']).name}) |")
    return [*lines, "", "    python benchmarks/inspect_time.py DATA"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--only", default="", help="sets whose name starts with this")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    options = parser.parse_args()
    for name, data in DATA.items():
        kept = results.file_of(f"inspect: {name}")
        if name.startswith(options.only) and (options.again or not kept.exists()):
            results.write(f"inspect: {name}", run(name, data, options.data))
            print(name, flush=True)


if __name__ == "__main__":
    main()
