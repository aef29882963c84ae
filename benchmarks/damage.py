"""Damage: every corruption of every modality must lower the score of a model that sees nothing else, more as it is severer.

    python benchmarks/damage.py DATA [--only image] [--again]

For each modality a linear model on descriptor tokens of one input is trained by the public command's own code, and answers
the test rows as they are and damaged at four severities. Every figure is the mean over `SEEDS` draws of the damage on the
same rows, so what is random about it averages out.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import consilience
import results
from consilience.data.schema import modality_of

SEVERITIES = (0.25, 0.5, 0.75, 1.0)
SEEDS = 3
ROWS = 600
"""The most test rows that are damaged."""


@dataclass(frozen=True)
class Case:
    """One input of a data set, and the metric that its damage must lower."""

    table: str
    target: str
    input: str
    metric: str
    exclude: tuple[str, ...] = ()
    split: Mapping[str, str] = field(default_factory=dict)
    corruptions: tuple[str, ...] = ()  # () for all of the modality


CASES = {
    "image": Case("leaf/table.csv", "label", "image", "accuracy", ("id",)),
    "text": Case("math_vision/table.csv", "label", "text", "accuracy", ("id", "subject", "answer", "level", "in_testmini")),
    "tabular": Case(
        "clothing_reviews/table.csv.gz",
        "Recommended IND",
        "tabular",
        "roc_auc",
        ("id", "Clothing ID"),
        corruptions=("blank", "noise"),
    ),
    # The categories of that table say nothing about the recommendation, so that to garble them cannot hurt; of the division
    # they do.
    "tabular categories": Case(
        "clothing_reviews/table.csv.gz",
        "Division Name",
        "tabular",
        "accuracy",
        ("id", "Clothing ID", "Title", "Review Text"),
        {"unlabelled": "exclude"},
        corruptions=("garble",),
    ),
    "audio": Case("av_digits/table.csv", "label", "audio", "accuracy", ("id", "take", "speaker")),
    "series": Case("stress_wearable/table.csv", "label", "acc", "roc_auc", ("id", "minute"), {"group": "subject"}),
}


def run(modality: str, data: Path, seed: int) -> dict[str, Any]:
    """The score on test rows by corruption and severity."""
    case, started = CASES[modality], time.monotonic()
    only = f"single.{case.input}"
    settings: list[dict[str, Any]] = [
        {"exclude": list(case.exclude), "seed": seed, "select": {"only": only, "calibrate": False}}
    ]
    if case.split:
        settings.append({"split": dict(case.split)})
    trained = consilience.fit(data / case.table, target=case.target, preset="balanced", settings=settings)
    view = trained.view(data / case.table, target=True)
    rows = trained.splits.test[:: max(1, len(trained.splits.test) // ROWS)][:ROWS]
    item = view.schema[case.input]

    def score(damaged: Any) -> float:
        scores = trained.answer(damaged, rows).scores
        encoded = trained.task.encode(view.target(rows))
        return trained.task.measure(scores, encoded)(np.ones(len(rows)))[case.metric]

    clean, found = score(view), {}
    for name in case.corruptions or modality_of(item).corruptions:
        by_severity = []
        for severity in SEVERITIES:
            drawn = [score(view.damaged(case.input, name, severity, seed=draw)) for draw in range(SEEDS)]
            by_severity.append(float(np.mean(drawn)))
        found[name] = by_severity
        print(modality, name, [round(value, 4) for value in (clean, *by_severity)], flush=True)
    return {
        "name": f"damage: {modality}",
        **results.origin(),
        "command": f"python benchmarks/damage.py DATA --only {modality} --seed {seed}",
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "input": case.input,
        "table": case.table,
        "metric": case.metric,
        "rows": len(rows),
        "draws": SEEDS,
        "severities": list(SEVERITIES),
        "clean": clean,
        "damaged": found,
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for every corruption, and whether it falls at every step."""
    lines: list[str] = []
    for modality in CASES:
        item = found.get(results.file_of(f"damage: {modality}").name)
        if item is None:
            continue
        if not lines:
            lines += ["", "## Damage", "", "Bar: every corruption lowers a single-input model's score monotonically. A linear"]
            lines += [f"model on descriptor tokens; means of {item['draws']} draws of the damage on the same test rows.", ""]
            severities = " | ".join(f"{severity:g}" for severity in SEVERITIES)
            lines += [f"| input | corruption | metric | clean | {severities} | falls | result |"]
            lines += ["| --- |" + " --- |" * (5 + len(SEVERITIES))]
        for name, values in item["damaged"].items():
            steps = [item["clean"], *values]
            falls = "yes" if all(a > b for a, b in itertools.pairwise(steps)) else "no"
            cells = [f"{item['input']} ({modality})", name, item["metric"], *(f"{value:.4f}" for value in steps), falls]
            link = f"[json](results/{results.file_of(item['name']).name})"
            lines.append(f"| {' | '.join(cells)} | {link} |")
    if lines:
        lines += ["", "    python benchmarks/damage.py DATA"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--only", default="", help="modalities whose name starts with this")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for modality in CASES:
        name = f"damage: {modality}"
        if modality.startswith(options.only) and (options.again or not results.file_of(name).exists()):
            results.write(name, run(modality, options.data, options.seed))


if __name__ == "__main__":
    main()
