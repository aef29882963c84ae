"""Planted faults: how often the audit finds and names each of them, and how often it finds one in a clean table.

    python benchmarks/audit_faults.py [--seeds 5] [--clean 20] [--only NAME] [--first 0]

Each fault is planted into each of some tables (seeds 0, 1, ...), and counts as found where a finding has its kind and, where it
is of a column, its column. As many clean tables of other seeds tell how often there is a finding without a fault. Thresholds
were chosen with seeds from 1000 on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import results
from audit_plants import PLANTS, Plant
from audit_tables import Made, clean
from consilience import pipeline
from consilience.evidence.audit import KINDS, Finding, audit
from consilience.recipe import make_recipe

SEEDS, CLEAN = 5, 20
APART = 500
"""What is added to the seeds of clean tables, so that they are others."""

NAME = "audit: planted faults"


def findings(made: Made) -> list[Finding]:
    """What the audit says of a table."""
    recipe = make_recipe(made.target, settings=made.settings)
    _, view = pipeline.opened(made.columns, None, made.folder, recipe)
    return audit(pipeline.aim(view, recipe, 0)[0])


def planted(plant: Plant, seed: int, folder: Path) -> bool:
    """Is the fault found, and named, in the table of that seed?"""
    made, column = plant.into(seed, folder)
    return any(finding.kind == plant.kind and (column is None or column in finding.columns) for finding in findings(made))


def run(plants: Mapping[str, Plant], first: int, seeds: int, cleans: int) -> dict[str, Any]:
    """Every fault in every table, and the clean tables."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    found: dict[str, Any] = {}
    for name, plant in plants.items():
        missed = []
        for seed in range(first, first + seeds):
            with tempfile.TemporaryDirectory() as folder:
                if not planted(plant, seed, Path(folder)):
                    missed.append(seed)
        found[name] = {"kind": plant.kind, "tables": seeds, "found": seeds - len(missed), "missed": missed}
        print(f"{name}: {seeds - len(missed)} of {seeds}{f', missed {missed}' if missed else ''}", flush=True)
    alarms: Counter[str] = Counter()
    tables = 0
    for seed in range(first + APART, first + APART + cleans):
        with tempfile.TemporaryDirectory() as folder:
            said = findings(clean(seed, Path(folder)))
        tables += bool(said)
        alarms.update(f"{finding.kind}: {finding.found}" for finding in said)
        print(f"clean {seed}: {'; '.join(f'{finding.kind}: {finding.found}' for finding in said) or 'nothing'}", flush=True)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/audit_faults.py --seeds {seeds} --clean {cleans}",
        "seed": first,
        "faults": found,
        "clean": {"tables": cleans, "with findings": tables, "findings": dict(alarms)},
        "seconds": round(time.perf_counter() - started, 1),
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How many faults were found, those that were not always, and the false alarms."""
    file = results.file_of(NAME).name
    item = found.get(file)
    if item is None:
        return []
    faults, clear = item["faults"], item["clean"]
    tables = max(fault["tables"] for fault in faults.values())
    always = sum(fault["found"] == fault["tables"] for fault in faults.values())
    lines = [
        "",
        "## Audit",
        "",
        f"Bar: every kind of fault found and named in every one of {tables} tables, at most one false alarm in",
        f"{clear['tables']} clean ones.",
        "",
        "| planted faults | kinds of finding | found in every table | clean tables | of which with a finding | result |",
        "| --- |" + " --- |" * 5,
        f"| {len(faults)} | {len({fault['kind'] for fault in faults.values()})} of {len(KINDS)} | {always} | "
        f"{clear['tables']} | {clear['with findings']} | [json](results/{file}) |",
    ]
    missed = {name: fault for name, fault in faults.items() if fault["found"] < fault["tables"]}
    if missed:
        said = ", ".join(f"{name} ({fault['found']} of {fault['tables']})" for name, fault in missed.items())
        lines += ["", f"Not found in every table: {said}."]
    if clear["findings"]:
        lines += ["", "In clean tables: " + "; ".join(clear["findings"]) + "."]
    return [*lines, "", f"    {item['command']}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="tables that each fault is planted into")
    parser.add_argument("--clean", type=int, default=CLEAN, help="clean tables")
    parser.add_argument("--first", type=int, default=0, help="the first seed; 1000 and more are for choosing thresholds")
    parser.add_argument("--only", default="", help="faults whose name holds this; nothing is written")
    options = parser.parse_args()
    plants = {name: plant for name, plant in PLANTS.items() if options.only in name}
    result = run(plants, options.first, options.seeds, options.clean)
    if not options.only and not options.first:
        results.write(NAME, result)


if __name__ == "__main__":
    main()
