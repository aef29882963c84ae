"""Results of benchmarks: a JSON file each, and the page that is made of nothing else.

    python benchmarks/results.py             write RESULTS.md from the committed results

Every JSON holds what was run and where: the commit, the literal command, the seed, the machine, seconds and memory. A
figure without its JSON cannot stand on the page; a test holds the page to that.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"

INTRODUCTION = """# Results

Every line stands in `benchmarks/results/` as JSON: commit, literal command, seed, machine, time, memory and all metrics.
`python benchmarks/run.py DATA`, `folds.py DATA`, `damage.py DATA`, `rates.py DATA`, `encode.py DATA`, `inspect_time.py
DATA`, `loop.py`, `audit_faults.py`, `fuzz_tables.py`, `mutants.py`, `fuzz_loaders.py`, `size.py`, `kill.py`,
`store_faults.py` and `pins.py` measure, `python benchmarks/results.py` writes this page. DATA is a folder with the data sets,
none of which is in the repository; what takes no DATA makes its own tables. The test part of each set is scored once, at the
end of `train`; 95% bootstrap intervals in brackets. Seconds are wall time on a shared machine of two cores.
"""


def origin() -> dict[str, Any]:
    """Commit (with + where the sources differ from it) and machine."""
    changed = _git("status", "--porcelain", "../src", "*.py")
    return {
        "commit": _git("rev-parse", "HEAD") + ("+" if changed else ""),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def file_of(name: str) -> Path:
    """Where the result of that name stands."""
    return RESULTS / ("".join(letter if letter.isalnum() else "_" for letter in name).strip("_") + ".json")


def write(name: str, result: dict[str, Any]) -> None:
    """Keep a result, and bring the page up to it."""
    RESULTS.mkdir(exist_ok=True)
    file_of(name).write_text(json.dumps(result, indent=1) + "\n")
    PAGE.write_text(page())


def read() -> dict[str, dict[str, Any]]:
    """Every committed result by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def page() -> str:
    """RESULTS.md."""
    import audit_faults
    import damage
    import encode
    import folds
    import fuzz_loaders
    import fuzz_tables
    import inspect_time
    import kill
    import loop
    import mutants
    import pins
    import rates
    import run
    import size
    import store_faults

    found = read()
    lines = INTRODUCTION.splitlines()
    parts = (run, folds, damage, rates, audit_faults, fuzz_tables, mutants, fuzz_loaders)
    for part in (*parts, encode, loop, inspect_time, size, kill, store_faults, pins):
        lines += part.page(found)
    return "\n".join(lines) + "\n"


def shown(estimate: dict[str, float]) -> str:
    """A value with its interval."""
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    PAGE.write_text(page())
