"""Grouped folds against the plain pipeline: does the default recipe beat what an hour of hand work gives?

    python benchmarks/folds.py DATA [--again]

On `stress_wearable`, cut into five folds by subject. The plain pipeline is early fusion: window statistics of every sensor
beside the table's columns, standardised, into logistic regression. Both learn from the same rows of a fold (train and
valid together; the library takes its validation rows out of them) and answer the same test rows. The figure is the mean
over the folds of the AUC within each, and the difference is paired: every resample of the subjects counts for both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pacsv
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import consilience
import results
from consilience.metrics import Measure, bootstrap, paired_difference

NAME = "stress_wearable: five grouped folds"
FOLDS = 5
SENSORS = ("acc", "bvp", "eda", "temp")
COLUMNS = ("hr_mean", "hr_std", "resp_rate_mean", "eda_mean", "eda_slope", "temp_mean", "acc_std", "stai_before", "pss_before")
EXCLUDED = ("id", "minute", "split")


def statistics(values: np.ndarray) -> np.ndarray:
    """[T] or [T, C] -> eight numbers a channel: mean, deviation, least, most, quartiles, slope, mean absolute step."""
    values = values.reshape(len(values), -1).astype(np.float64)
    clock = np.linspace(-1, 1, len(values))[:, None]
    slope = (clock * (values - values.mean(0))).sum(0) / np.square(clock).sum()
    quartiles = np.quantile(values, [0.25, 0.75], axis=0)
    step = np.abs(np.diff(values, axis=0)).mean(0)
    return np.concatenate([values.mean(0), values.std(0), values.min(0), values.max(0), *quartiles, slope, step])


def plain(folder: Path, table: Mapping[str, list[Any]], rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The probability of stress [test rows], from a pipeline fitted on `rows`."""
    matrix = []
    for row in range(len(table["label"])):
        columns = [float(table[name][row]) if table[name][row] not in (None, "") else np.nan for name in COLUMNS]
        matrix.append(np.concatenate([*(statistics(np.load(folder / table[name][row])) for name in SENSORS), columns]))
    features, target = np.array(matrix), np.array([int(label) for label in table["label"]])
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=2000))
    return model.fit(features[rows], target[rows]).predict_proba(features[test])[:, 1]


def auc(target: np.ndarray, score: np.ndarray, fold: np.ndarray) -> Measure:
    """Row weights -> the mean over folds of the AUC within the fold."""

    def measure(weight: np.ndarray) -> dict[str, float]:
        found = []
        for index in range(FOLDS):
            here = (fold == index) & (weight > 0)
            if len(np.unique(target[here])) == 2:
                found.append(roc_auc_score(target[here], score[here], sample_weight=weight[here]))
        return {"roc_auc": float(np.mean(found)) if found else np.nan}

    return measure


def run(data: Path, seed: int) -> dict[str, Any]:
    """Both pipelines on every fold."""
    folder = data / "stress_wearable"
    table = pacsv.read_csv(folder / "table.csv").to_pydict()
    target = np.array([int(label) for label in table["label"]])
    scores = {name: np.full(len(target), np.nan) for name in ("consilience", "plain")}
    fold, folds = np.full(len(target), -1), []
    started = time.monotonic()
    settings = {"exclude": list(EXCLUDED), "seed": seed}
    for index in range(FOLDS):
        parts = {"split": {"group": "subject", "folds": FOLDS, "fold": index}}
        trained = consilience.fit(folder / "table.csv", target="label", settings=[settings, parts])
        test = trained.splits.test
        rows = np.sort(np.concatenate([trained.splits.train, trained.splits.valid]))
        view = trained.view(folder / "table.csv")
        scores["consilience"][test] = trained.answer(view, test).scores[:, 1]
        scores["plain"][test] = plain(folder, table, rows, test)
        fold[test] = index
        line = {name: float(roc_auc_score(target[test], score[test])) for name, score in scores.items()}
        folds.append({"fold": index, "test rows": len(test), **line, "chosen": dict(trained.selection.weights)})
        print(folds[-1], flush=True)
    assert (fold >= 0).all()
    groups = np.unique(table["subject"], return_inverse=True)[1]
    measures = {name: auc(target, score, fold) for name, score in scores.items()}
    estimates = {
        name: bootstrap(measure, len(target), np.random.default_rng(seed), groups) for name, measure in measures.items()
    }
    both = (measures["consilience"], measures["plain"])
    estimates["difference"] = paired_difference(*both, len(target), np.random.default_rng(seed), groups)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/folds.py DATA --seed {seed}",
        "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "folds": folds,
        "metrics": {name: asdict(found["roc_auc"]) for name, found in estimates.items()},
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The folds, and the difference."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    lines = ["", f"## {NAME}", "", "Bar: a paired difference in AUC >= 0. The default recipe against window statistics and"]
    lines += ["logistic regression; intervals by subject.", "", "| fold | test rows | consilience | plain | chosen |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for fold in item["folds"]:
        chosen = " + ".join(f"{share:.2f} {name}" for name, share in fold["chosen"].items())
        lines.append(f"| {fold['fold']} | {fold['test rows']} | {fold['consilience']:.4f} | {fold['plain']:.4f} | {chosen} |")
    metrics = {name: results.shown(estimate) for name, estimate in item["metrics"].items()}
    lines += [f"| mean | | {metrics['consilience']} | {metrics['plain']} | |", "", f"Difference: {metrics['difference']}."]
    return [*lines, "", f"    {item['command']}", "", f"{item['seconds']:.0f} s, [json](results/{results.file_of(NAME).name})."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.again or not results.file_of(NAME).exists():
        results.write(NAME, run(options.data, options.seed))


if __name__ == "__main__":
    main()
