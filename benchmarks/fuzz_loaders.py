"""Our own loaders under a fuzzer that follows coverage (atheris, libFuzzer): nothing but errors of ours, no hang, no growth.

    pip install atheris==3.0.0
    python benchmarks/fuzz_loaders.py [--share 1.0] [--only recipe] [--seed 1]

What other libraries decode is left to `mutants.py`; here are the loaders that are written in Python here. Each runs in a
process of its own, from a few files made in code, as often as `TARGETS` says, a million times in all; the fuzzer ends where
one takes 10 seconds or the process 2 GiB. What it found stands in the result as it was printed.

What a loader checks first (a digest, a header with the sizes of all arrays) no fuzzer guesses, so that is made right for it.
The result says how many edges of our code were reached by the first files and in the end; none is a failure, whatever the runs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import results

NAME = "fuzz: loaders"
LENGTH = 2048
"""Bytes of an input at most; the fuzzer cuts a longer file that it begins with, without a word."""

LIMITS = (f"-max_len={LENGTH}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1")

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
    from consilience.checkpoint import _DIGEST, _packed, _unpacked
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
        """The arrays behind a header that holds, or all of a file. What is taken must be able to answer."""
        body = data[1:]
        if data[:1] != b"f":
            body = head_of_trees + body[:size_of_trees].ljust(size_of_trees, b"\0")
        grown = Boosted.from_arrays(load(body), 2)
        with np.errstate(all="ignore"):
            grown.raw(np.array([[0.0, 1.0], [np.nan, np.inf], [-7.0, 300.0]]))

    def checkpoint(data: bytes) -> object:
        """Behind a digest that is right: the arrays behind a header that holds, or all of a file."""
        body = data[1:]
        if data[:1] != b"f":
            body = state[_DIGEST:start_of_state] + body[: len(state) - start_of_state].ljust(len(state) - start_of_state, b"\0")
        return _unpacked(hashlib.blake2b(body, digest_size=_DIGEST).digest() + body)

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
    start_of_state = _DIGEST + 8 + int.from_bytes(state[_DIGEST : _DIGEST + 8], "little")
    blocks: list[bytes] = []
    head = json.dumps(isolated._packed([Missing("x"), np.arange(2), {"k": (b"y", Path("p"))}], blocks)).encode()
    message = isolated._HEAD.pack(len(head), sum(map(len, blocks))) + head + b"".join(blocks)
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(3, 2))
    small = save(_small_trees())
    start = 8 + int.from_bytes(small[:8], "little")
    head_of_trees, size_of_trees = small[:start], len(small) - start
    tasks = [(golden / name / "run" / "task.json").read_bytes() for name in ("stack", "labels", "numbers")]
    states = [b"rmt"[index : index + 1] + json.dumps(json.loads(task)["state"]).encode() for index, task in enumerate(tasks)]
    run_files = [b"s" + (golden / "numbers" / "run" / "schema.json").read_bytes()]
    run_files += [b"c" + (golden / "labels" / "run" / "selection.json").read_bytes(), *states]
    broken = (EOFError, ValueError, TypeError, KeyError, OverflowError, RecursionError)
    found: dict[str, Target] = {
        "arrays": (array, (), [b"[1, 2.5, null]", b"[[1, 2], [3, 4e5]]", b'["x"]']),
        "npy": (npy, (), [file.getvalue()[6:]]),
        "messages": (lambda data: isolated._received(io.BytesIO(data)), broken, [message]),
        "checkpoints": (checkpoint, (ValueError, SafetensorError), [b"a" + state[start_of_state:], b"f" + state[_DIGEST:]]),
        "lists": (lists, (), [b'["a.png", "b.png"]', b"a.png;b.png", b"x | y"]),
        "records": (records, (ConsilienceError,), [b'a[{"a": 1, "b": [null]}, {"a": "x"}]', b'l{"a": 1}\n{"b": {"c": 2}}\n']),
        "trees": (trees, (SafetensorError, ConsilienceError), [b"a" + small[start:], b"f" + small]),
        "run": (pieces, (*DAMAGE, ConsilienceError), run_files),
        "recipe": (recipe, (ConsilienceError,), [b"predictors: {trees: {leaves: 7}}\nsplit: {method: random}\n"]),
    }
    return found[name]


def _small_trees() -> dict[str, Any]:
    """Two trees over a number and a column of three categories: a split of each kind, and all that `Boosted` stores."""
    import numpy as np

    from consilience.boosted import LAYOUT

    arrays: dict[str, Any] = {
        "tree_start": [0, 3, 6],
        "tree_output": [0, 0],
        "feature": [0, -1, -1, 1, -1, -1],
        "threshold": [0.5, 0, 0, 0, 0, 0],
        "missing_left": [True, False, False, False, False, False],
        "left": [1, -1, -1, 4, -1, -1],
        "right": [2, -1, -1, 5, -1, -1],
        "value": [0, -1.5, 2.5, 0, 0.25, -0.25],
        "bitset": [-1, -1, -1, 0, -1, -1],
        "left_bits": [[5] + [0] * 31],
        "category_start": [0, 0, 3],
        "category_value": [1.0, 2.0, 4.0],
        "baseline": [0.1],
    }
    return {name: np.array(values, LAYOUT[name][0]) for name, values in arrays.items()}


def fuzz(name: str, runs: int, seed: int, folder: Path) -> None:
    """In this process; libFuzzer ends it."""
    try:
        atheris: Any = importlib.import_module("atheris")  # it tells a type checker too little
    except ImportError:
        sys.exit("atheris is not installed: pip install atheris==3.0.0")

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


def run_target(name: str, runs: int, seed: int, command: Sequence[str] = ()) -> dict[str, Any]:
    """What came of it, in a process of its own. `command` stands for this script in tests."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        head = command or (sys.executable, __file__)
        done = subprocess.run(
            [*head, "--work", name, str(runs), str(seed), folder], capture_output=True, text=True, errors="replace"
        )
        said = (done.stdout + done.stderr).splitlines()
    said = [line for line in said if not line.startswith("INFO")]
    executed = next((int(line.split()[-1]) for line in said if "number_of_executed_units" in line), 0)
    edges = [_edges(said, word) for word in ("INITED", "DONE")]
    if not edges[0]:
        said.append("nothing of our code was reached by the files that it began with")
    failed = done.returncode != 0 or executed < runs or not edges[0]
    return {
        "runs": executed,
        "edges": edges,
        "seconds": round(time.monotonic() - started, 1),
        "failure": "\n".join(said)[-3000:] if failed else "",
    }


def _edges(said: Sequence[str], word: str) -> int:
    """How many edges libFuzzer had seen when it said that word."""
    return next((int(found[1]) for line in said if word in line and (found := re.search(r"cov: (\d+)", line))), 0)


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
