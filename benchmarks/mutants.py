"""Structured mutants of everything that is opened: each is read, missing or refused with an error of ours, and nothing else.

    python benchmarks/mutants.py [--mutants 100000] [--only image] [--seed 0]
    python benchmarks/mutants.py --only image --number 4711     one mutant again, in this process

Small files are made in code and changed: bits, blocks, integers at the ends of their range written over any place, splices of
two files, cuts; check sums of PNG are mended, JSON is changed as a tree. Mutants run in a process that is killed where one
takes `DEADLINE` seconds, and that gives up where it grows by `MEMORY`; after a failure another goes on behind it. Everything
about a mutant follows from the reader's name, the seed and its number. What asks for more than `ADDRESSES` at once is refused
it by the system, so that nothing outside of the process is hurt.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import results
from consilience.errors import ConsilienceError
from mutant_readers import READERS, Read
from mutating import changed

NAME = "mutants: readers"
MUTANTS = 100_000
DEADLINE = 10.0
MEMORY = 1 << 30
"""Bytes that a process of a reader may grow by."""

ADDRESSES = 4 << 30
"""Bytes of address space that it may ask for, beyond what it has once everything is imported."""

GAVE_UP = 3

_NAMES = r"\S*/\S*|'[^']*'|\d+"
"""Of files, of what was changed, and numbers: outcomes are counted without them."""


def mutant(name: str, seeds: Sequence[bytes], seed: int, number: int) -> tuple[int, bytes]:
    """Which of the files is changed, and the bytes of the mutant."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    place = int(rng.integers(len(seeds)))
    return place, changed(seeds[place], seeds[int(rng.integers(len(seeds)))], rng)


def outcome(read: Read, place: int, data: bytes) -> str:
    """In a few words. What is no error of ours is a failure, with the place of our code that let it through."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read(place, data)
    except ConsilienceError as error:
        return f"refused: {' '.join(re.sub(_NAMES, '', error.problems[0].found).split()[-5:])}"
    except Exception as error:
        places = [place for place in traceback.extract_tb(error.__traceback__) if "consilience" in place.filename]
        at = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "?"
        return f"FAILED: {type(error).__name__} at {at}: {str(error)[:100]!r}"


def work(name: str, seed: int, first: int, last: int, said: Path) -> None:
    """Mutants `first` to `last`, a line of `said` for each."""
    with tempfile.TemporaryDirectory() as folder, said.open("ab", buffering=0) as file:
        seeds, read = READERS[name](Path(folder))
        for place, known in enumerate(seeds):
            assert outcome(read, place, known) == "read", (name, place, outcome(read, place, known))
        bound()
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(first, last):
            file.write(f"{number}\t".encode())
            what = outcome(read, *mutant(name, seeds, seed, number))
            file.write(" ".join(what.split()).encode("utf-8", "replace") + b"\n")
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start > MEMORY >> 10:
                os._exit(GAVE_UP)


def bound() -> None:
    """Take from this process the right to ask for more than `ADDRESSES`, where the system tells what it has (Linux)."""
    about = Path("/proc/self/statm")
    if about.exists():
        most = int(about.read_text().split()[0]) * resource.getpagesize() + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run_reader(name: str, count: int, seed: int, command: Sequence[str] = ()) -> dict[str, Any]:
    """All mutants of a reader, in one process after the other. `command` stands for this script in tests."""
    started = time.monotonic()
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    first = 0
    with tempfile.TemporaryDirectory() as folder:
        while first < count:
            said = Path(folder) / f"{first}"
            said.touch()
            head = command or (sys.executable, __file__)
            worker = subprocess.Popen([*head, "--work", name, str(seed), str(first), str(count), str(said)])
            code = _watched(worker, said)
            if not said.stat().st_size:
                sys.exit(f"{name}: the process of mutant {first} and on said nothing and ended with {code}")
            lines = said.read_text(errors="replace").split("\n")
            done = [line.partition("\t") for line in lines[:-1]]
            outcomes.update(_kind(what) for _, _, what in done)
            failures += [f"{number}: {what}" for number, _, what in done if what.startswith("FAILED")]
            first = int(done[-1][0]) + 1 if done else first
            if code == 0:
                break
            if code == GAVE_UP:
                failures.append(f"{first - 1}: more than {MEMORY >> 20} MiB")
            else:
                number = lines[-1].partition("\t")[0]
                failures.append(f"{number or first}: {'took too long' if code is None else f'ended with {code}'}")
                first = int(number or first) + 1
    return {
        "mutants": count,
        "seconds": round(time.monotonic() - started, 1),
        "read": outcomes["read"],
        "outcomes": dict(outcomes.most_common(12)),
        "failures": failures[:50],
        "failed": len(failures),
    }


def _watched(worker: subprocess.Popen[bytes], said: Path) -> int | None:
    """The exit code; None where it had to be killed, because nothing was said for too long."""
    size, since, patience = 0, time.monotonic(), 60 + DEADLINE  # imports and seeds come first
    while True:
        try:
            return worker.wait(0.5)
        except subprocess.TimeoutExpired:
            now = said.stat().st_size
            if now != size:
                size, since, patience = now, time.monotonic(), DEADLINE
            elif time.monotonic() - since > patience:
                worker.kill()
                worker.wait()
                return None


def _kind(what: str) -> str:
    return what if not what.startswith("FAILED") else what.partition(":")[0]


def run(count: int, seed: int, names: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Those readers; the others as they were measured before, each with its commit."""
    found = dict(known)
    for name in names:
        found[name] = {**run_reader(name, count, seed), "commit": results.origin()["commit"]}
        print(name, found[name], flush=True)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/mutants.py --mutants {count} --seed {seed}",
        "seed": seed,
        "found": {name: found[name] for name in READERS if name in found},
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each reader."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    lines = [
        "",
        "## Mutants",
        "",
        f"Bar: {MUTANTS:,} mutants a reader without a crash, a hang of {DEADLINE:.0f} s, {MEMORY >> 20} MiB more memory,",
        "or an error that is not ours. What was not read was refused, or is missing with a reason. The three failures of `run`",
        "(numbers that overflow) are mended: those mutants, tried again, are refused. All 100,000 were not run again.",
    ]
    lines += ["", "| reader | mutants | read | failed | seconds |", "| --- |" + " --- |" * 4]
    for name, one in item["found"].items():
        lines.append(f"| {name} | {one['mutants']:,} | {one['read']:,} | {one['failed']} | {one['seconds']:.0f} |")
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    if sys.argv[1:2] == ["--work"]:
        name, seed, first, last, said = sys.argv[2:]
        work(name, int(seed), int(first), int(last), Path(said))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=MUTANTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(READERS), nargs="+", default=list(READERS))
    parser.add_argument("--number", type=int, help="show what comes of one mutant of the first reader")
    options = parser.parse_args()
    if options.number is not None:
        with tempfile.TemporaryDirectory() as folder:
            seeds, read = READERS[options.only[0]](Path(folder))
            print(read(*mutant(options.only[0], seeds, options.seed, options.number)))
        return
    known = results.read().get(results.file_of(NAME).name, {}).get("found", {})
    result = run(options.mutants, options.seed, options.only, known)
    if options.mutants >= MUTANTS // 10:
        results.write(NAME, result)


if __name__ == "__main__":
    main()
