"""What the library costs beside the modules that it runs: a step of training, and padding that is not computed.

    python benchmarks/loop.py [--again]

A step of training goes through `train_network`, and through a plain loop over the same modules and the same batches, made
before: `PAIRS` epochs of each by turns, from the same weights. The ratio of a pair is that of its two times.

Texts of very different lengths are encoded by all-MiniLM-L6-v2 (extra `shipped`) in the batches of `Encoder.chunks`, and in
batches of the table's order, padded to the longest of each: tokens that are there, by the second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import results
from consilience import pipeline
from consilience.data.encoding import encode
from consilience.data.loader import training_batches
from consilience.data.view import View
from consilience.predictors.base import Context, make_encoder
from consilience.predictors.fused import Fused
from consilience.predictors.linear import Linear
from consilience.progress import Budget, Silent
from consilience.train.features import fit_encoders
from consilience.train.loop import Train, train_network
from consilience.train.optim import make_optimizer, schedule

PAIRS, TURNS, ROWS, TEXTS = 20, 5, 1024, 480
WORDS = "the dress fits well but its fabric feels cheap and the colour is not as shown so it went back"


def table(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """A text of 3 to 40 words, five numbers, a class."""
    texts = [" ".join(rng.choice(WORDS.split(), rng.integers(3, 40))) for _ in range(rows)]
    return {"note": texts, **{f"n{index}": rng.standard_normal(rows) for index in range(5)}, "y": rng.integers(0, 2, rows)}


def opened(columns: Mapping[str, Any]) -> tuple[View, Context]:
    recipe = pipeline.whole_recipe(None, "y", "fast", [])
    view = pipeline.opened(columns, None, None, recipe)[1]
    task = pipeline.make_task(recipe, view)[1]
    return view, pipeline.fit_task(view, pipeline.make_splits(view, recipe, task, 0), recipe, task)


def steps(encoder: str) -> dict[str, Any]:
    """Seconds of epochs through the library and through a plain loop."""
    torch.set_num_threads(1)
    view, context = opened(table(ROWS, np.random.default_rng(0)))
    rows, task, config = np.arange(ROWS), context.task, Train(epochs=1, batch=64, augment=False)
    seconds: dict[str, list[float]] = {"library": [], "plain": []}
    for pair in range(PAIRS + 1):
        for what in ("library", "plain") if pair % 2 else ("plain", "library"):
            torch.manual_seed(0)
            fused = Fused(config=Fused.Config(encoder=encoder), schema=view.schema)
            fit_encoders(fused.encoders, view, rows, 0)
            network = fused._network(task)
            if what == "library":
                started = time.perf_counter()
                train_network(network, view, rows, task, config, np.random.default_rng(0), Budget("cpu", Silent()), "it")
            else:
                made = training_batches(view, fused.encoders, rows, 64, augment=False, rng=np.random.default_rng(0))
                batches = [batch for step in made for batch in step.batches]
                encoded = task.encode(view.target(rows))
                started = time.perf_counter()
                plain(network, batches, task, torch.from_numpy(encoded), config)
            if pair:  # the first warms up
                seconds[what].append(round(time.perf_counter() - started, 4))
    return {"steps": ROWS // 64, "seconds": seconds}


def plain(network: Any, batches: list[Any], task: Any, target: torch.Tensor, config: Train) -> None:
    """What anybody would write."""
    network.train()
    optimizer = make_optimizer(network, config.rate, config.weight_decay)
    for index, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = config.rate * schedule(index, len(batches), config.warmup)
        raw, _ = network(batch)
        loss = task.loss(raw.float(), target[batch.rows], torch.ones(len(batch.rows)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()


def padding() -> dict[str, Any]:
    """Seconds for the same texts in batches by length, and in the table's order."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    counts = np.minimum(np.exp(rng.normal(2.8, 1.0, TEXTS)).astype(int) + 1, 200)
    columns = {"note": [" ".join(rng.choice(WORDS.split(), count)) for count in counts], "y": np.arange(TEXTS) % 2}
    view = opened(columns)[0]
    options = {"text": {"kind": "pretrained", "precision": "float32", "tokens": 256}}
    encoder = make_encoder(Linear.Config(encoders=options), view.schema["note"])
    fit_encoders({"note": encoder}, view, np.arange(TEXTS), 0)
    items = [encoder.prepare(sample) for sample in view.samples("note", np.arange(TEXTS))]  # type: ignore[arg-type]
    tokens = sum(len(item["ids"]) for item in items)
    seconds: dict[str, list[float]] = {"by length": [], "in order": []}
    found: dict[str, list[torch.Tensor]] = {}
    computed = 0
    for turn in range(TURNS):
        for what in ("by length", "in order") if turn % 2 else ("in order", "by length"):
            started = time.perf_counter()
            if what == "by length":
                found[what] = encode(encoder, items)
            else:
                found[what], computed = [], 0
                for start in range(0, TEXTS, 32):
                    batch = encoder.collate(items[start : start + 32])
                    made = encoder(batch)
                    computed += batch["ids"].numel()
                    found[what] += [values[mask] for values, mask in zip(made.values, made.mask, strict=True)]
            seconds[what].append(round(time.perf_counter() - started, 4))
    apart = max(float((one - two).abs().max()) for one, two in zip(*found.values(), strict=True))
    return {"tokens": tokens, "padding": 1 - tokens / computed, "apart": apart, "seconds": seconds}


def upper(ratios: list[float]) -> float:
    """The upper end of the 95% interval of the median, by resampling."""
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    return float(np.quantile(np.median(drawn, axis=1), 0.975))


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The ratios."""
    items = [item for item in found.values() if item.get("name", "").startswith("loop: ")]
    if not items:
        return []
    lines = ["", "## What the library costs", ""]
    lines += [
        "Bars: a step / plain <= 1.05, upper end of the 95% interval of the median of 20 pairs; by length >= 1.5 times the"
    ]
    lines += ["tokens by the second of batches in order where half of those is padding, outputs within 1e-5.", ""]
    lines += ["An epoch of steps has what it costs once in it: setting up, and waiting for the first batch.", ""]
    lines += ["| what | ratio | upper | bar met | | result |", "| --- |" + " --- |" * 5]
    for item in items:
        one, two = item["seconds"].values()
        more = f"{item['padding']:.0%} padding, apart {item['apart']:.1e}" if "padding" in item else f"{item['steps']} steps"
        ratios = [second / first if "padding" in item else first / second for first, second in zip(one, two, strict=True)]
        link = f"[json](results/{results.file_of(item['name']).name})"
        name = item["name"].removeprefix("loop: ")
        met = statistics.median(ratios) >= 1.5 and item["apart"] <= 1e-5 if "padding" in item else upper(ratios) <= 1.05
        said = "yes" if met else "no, short"
        lines.append(f"| {name} | {statistics.median(ratios):.3f} | {upper(ratios):.3f} | {said} | {more} | {link} |")
    return [*lines, "", f"    {items[0]['command']}"]


CASES = {
    "step, scratch encoders": lambda: steps("scratch"),
    "step, stored tokens": lambda: steps("descriptor"),
    "batches by length": padding,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="measure although there is a result")
    options = parser.parse_args()
    for case, measure in CASES.items():
        full = f"loop: {case}"
        if options.again or not results.file_of(full).exists():
            result = measure()
            command = "python benchmarks/loop.py"
            results.write(full, {"name": full, **results.origin(), "command": command, "seed": 0, **result})
            print(case, {what: statistics.median(each) for what, each in result["seconds"].items()}, flush=True)


if __name__ == "__main__":
    main()
