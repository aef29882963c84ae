"""Our own loaders under a fuzzer that follows coverage (atheris, libFuzzer): nothing but errors of ours, no hang, no growth.

    pip install atheris==3.0.0
    python benchmarks/fuzz_loaders.py [--share 1.0] [--only recipe] [--seed 1]

What other libraries decode is left to `mutants.py`; here are the loaders that are written in Python here. Each runs in a
process of its own, from a few files made in code, as often as `TARGETS` says, a million times in all; the fuzzer ends where
one takes 10 seconds or the process 2 GiB. What it found stands in the result as it was printed.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import results

NAME = "fuzz: loaders"
LIMITS = ("-max_len=2048", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0")

TARGETS: Mapping[str, int] = {
    "arrays": 250_000,
    "npy": 250_000,
    "messages": 200_000,
    "checkpoints": 100_000,
    "lists": 100_000,
    "records": 40_000,
    "trees": 20_000,
    "run": 30_000,
    "recipe": 10_000,
}
"""Loader -> how often it is run."""

Target = tuple[Callable[[bytes], object], tuple[type[BaseException], ...], list[bytes]]
"""The loader, what it may raise, and files to begin with."""


def target(name: str, folder: Path) -> Target:
    """Import what is fuzzed, instrumented where atheris is there, and say how."""
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load, save

    from consilience import component, run
    from consilience.boosted import Boosted
    from consilience.checkpoint import _packed, _unpacked
    from consilience.data import isolated
    from consilience.data.records import read_array, read_lines
    from consilience.data.several import _unpacked as items
    from consilience.errors import ConsilienceError
    from consilience.modalities.series.reading import read_cell
    from consilience.predictors.base import DAMAGE
    from consilience.recipe import make_recipe
    from consilience.select import restore_selection
    from consilience.types import Limits, Missing, State

    golden = Path(__file__).parents[1] / "tests" / "golden" / "1"

    def text(data: bytes) -> str:
        return data.decode("utf-8", "replace")

    def records(data: bytes) -> None:
        def opened() -> io.StringIO:
            return io.StringIO(text(data[1:]))

        (read_array if data[:1] == b"a" else read_lines)(folder / "t.json", opened)

    def trees(data: bytes) -> None:
        Boosted.from_arrays(load(data), 5)  # type: ignore[attr-defined]

    def pieces(data: bytes) -> None:
        value = json.loads(data[1:])
        match data[:1]:
            case b"s":
                run._schema(value, folder)
            case b"c":
                restore_selection(value)
            case _:
                kind = component.find("tasks", ("classification", "multilabel", "regression")[data[0] % 3])
                task = kind(config=kind.Config())  # type: ignore[attr-defined]
                task.restore(State(value))
                task.prior()

    def recipe(data: bytes) -> None:
        path = folder / "r.yaml"
        path.write_bytes(data)
        make_recipe("y", file=path)

    def array(data: bytes) -> object:
        return read_cell(text(data), Limits())

    def lists(data: bytes) -> object:
        return items(text(data), folder)

    def npy(data: bytes) -> object:
        return read_cell(b"\x93NUMPY" + data, Limits())

    state = _packed(State({"a": [1, None]}, {"w": np.arange(3.0)}))
    blocks: list[bytes] = []
    head = json.dumps(isolated._packed([Missing("x"), np.arange(2), {"k": (b"y", Path("p"))}], blocks)).encode()
    message = isolated._HEAD.pack(len(head), sum(map(len, blocks))) + head + b"".join(blocks)
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    (grown,) = (golden / "numbers" / "run" / "predictors").glob("*/0/state.safetensors")
    own = {key.removeprefix("boosted/"): value for key, value in load(grown.read_bytes()).items() if key.startswith("boosted/")}
    tasks = [(golden / name / "run" / "task.json").read_bytes() for name in ("stack", "labels", "numbers")]
    states = [b"rmt"[index : index + 1] + json.dumps(json.loads(task)["state"]).encode() for index, task in enumerate(tasks)]
    run_files = [b"s" + (golden / "numbers" / "run" / "schema.json").read_bytes()]
    run_files += [b"c" + (golden / "labels" / "run" / "selection.json").read_bytes(), *states]
    broken = (EOFError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
    found: dict[str, Target] = {
        "arrays": (array, (), [b"[1, 2.5, null]", b"[[1, 2], [3, 4e5]]", b'["x"]']),
        "npy": (npy, (), [file.getvalue()[6:]]),
        "messages": (lambda data: isolated._received(io.BytesIO(data)), broken, [message]),
        "checkpoints": (_unpacked, (ValueError, SafetensorError), [state]),
        "lists": (lists, (), [b'["a.png", "b.png"]', b"a.png;b.png", b"x | y"]),
        "records": (records, (ConsilienceError,), [b'a[{"a": 1, "b": [null]}, {"a": "x"}]', b'l{"a": 1}\n{"b": {"c": 2}}\n']),
        "trees": (trees, (*DAMAGE, ConsilienceError), [save(own)]),
        "run": (pieces, (*DAMAGE, ConsilienceError), run_files),
        "recipe": (recipe, (ConsilienceError,), [b"predictors: {trees: {leaves: 7}}\nsplit: {method: random}\n"]),
    }
    return found[name]


def fuzz(name: str, runs: int, seed: int, folder: Path) -> None:
    """In this process; libFuzzer ends it."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["consilience"]):
        read, allowed, seeds = target(name, folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        try:
            read(data)
        except allowed:
            return

    atheris.Setup([sys.argv[0], f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={folder}/", *LIMITS, str(corpus)], one)
    atheris.Fuzz()


def run_target(name: str, runs: int, seed: int) -> dict[str, Any]:
    """What came of it, in a process of its own."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--work", name, str(runs), str(seed), folder]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        said = (done.stdout + done.stderr).splitlines()
    said = [line for line in said if not line.startswith("INFO")]
    executed = next((int(line.split()[-1]) for line in said if "number_of_executed_units" in line), 0)
    failed = done.returncode != 0 or executed < runs
    return {
        "runs": executed,
        "seconds": round(time.monotonic() - started, 1),
        "failure": "\n".join(said)[-3000:] if failed else "",
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each loader."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    total = sum(one["runs"] for one in item["found"].values())
    lines = ["", "## Fuzzing of loaders", "", "Bar: 1,000,000 executions of our own loaders without a crash, a hang or 2 GiB."]
    lines += ["", f"| loader | {total:,} executions | failed | seconds |", "| --- |" + " --- |" * 3]
    for name, one in item["found"].items():
        lines.append(f"| {name} | {one['runs']:,} | {'yes' if one['failure'] else 'no'} | {one['seconds']:.0f} |")
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        fuzz(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the executions")
    parser.add_argument("--only", choices=list(TARGETS), nargs="+", default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    found = dict(results.read().get(results.file_of(NAME).name, {}).get("found", {}))
    for name in options.only:
        one = run_target(name, int(TARGETS[name] * options.share), options.seed)
        found[name] = {**one, "commit": results.origin()["commit"]}
        print(name, found[name]["runs"], found[name]["seconds"], found[name]["failure"], flush=True)
    if options.share >= 1:
        command = f"python benchmarks/fuzz_loaders.py --seed {options.seed}"
        ordered = {name: found[name] for name in TARGETS if name in found}
        results.write(NAME, {"name": NAME, **results.origin(), "command": command, "seed": options.seed, "found": ordered})


if __name__ == "__main__":
    main()
