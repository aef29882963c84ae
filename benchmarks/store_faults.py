"""Faults in the store of tokens: what was acknowledged is there, and nothing is read that was not written.

    python benchmarks/store_faults.py [--rounds 200] [--seed 0]

Each round a fault is made in a folder of its own: a writer killed (SIGKILL) at a random moment; two writers at once, one of
them killed; a file cut at a random byte; random bits flipped; a disk of 256 KiB that runs full (where the system lets us mount
one). Then every record is asked for. Writers say which records `put` has taken; those must be there, unless the fault cut or
changed their bytes; every record that is there must be the one that was put.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import results
from consilience.data.shelf import Shelf
from consilience.errors import ConsilienceError

NAME = "store: faults"
ROUNDS = 200
WIDTH, MOST = 16, 100_000
FAULTS = ("killed", "two writers", "torn", "flipped", "full disk")


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def record(number: int) -> np.ndarray:
    """[1 to 12, WIDTH], different for each number."""
    rng = np.random.default_rng(number)
    return rng.normal(size=(1 + number % 12, WIDTH)).astype(np.float32)


def write(root: Path, first: int, step: int, said: Path, most: int = MOST) -> int:
    """In a process of its own, which says a number once its record is put; its process number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        shelf = Shelf(root, "encoder")
        with said.open("ab", buffering=0) as file:
            for number in range(first, most, step):
                shelf.put([key(number)], [record(number).tobytes()])
                file.write(number.to_bytes(4, "little"))
        code = 0
    except ConsilienceError:
        code = 2
    finally:
        os._exit(code)


def acknowledged(said: Path) -> list[int]:
    data = said.read_bytes() if said.exists() else b""
    return np.frombuffer(data[: len(data) // 4 * 4], "<u4").tolist()


def read(root: Path, numbers: list[int]) -> tuple[int, int]:
    """How many of the records are there, and how many are not what was put."""
    shelf = Shelf(root, "encoder")
    found = [(number, shelf.get(key(number))) for number in numbers]
    there = [(number, tokens) for number, tokens in found if tokens is not None]
    return len(there), sum(tokens != record(number).tobytes() for number, tokens in there)


def fault(name: str, folder: Path, draw: random.Random) -> dict[str, int]:
    """One round: what was acknowledged, what of it is there, and what is wrong."""
    root, said = folder / "root", [folder / "said0", folder / "said1"]
    if name == "full disk":
        root.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(root)], capture_output=True)
        if mounted.returncode:
            return {"skipped": 1}
        try:
            return _full(root, said[0])
        finally:
            subprocess.run(["umount", str(root)], check=True)
    if name in ("killed", "two writers"):
        writers = [write(root, place, 2, said[place]) for place in range(2 if name == "two writers" else 1)]
        while not acknowledged(said[0]):
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        for writer in writers:
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
        known = [number for place in said for number in acknowledged(place)]
        there, wrong = read(root, known)
        return {"acknowledged": len(known), "there": there, "wrong": wrong, "lost": len(known) - there}
    os.waitpid(write(root, 0, 1, said[0], 300), 0)
    known = acknowledged(said[0])
    path = draw.choice(sorted(root.glob("*/*")))
    data = bytearray(path.read_bytes())
    if name == "torn":
        path.write_bytes(data[: draw.randrange(len(data))])
        there, wrong = read(root, known)
        return {"acknowledged": len(known), "there": there, "wrong": wrong}
    flips = draw.choice((1, 1, 3, 30))
    for _ in range(flips):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    there, wrong = read(root, known)
    return {"acknowledged": len(known), "there": there, "wrong": wrong, "lost": int(len(known) - there > flips)}


def _full(root: Path, said: Path) -> dict[str, int]:
    _, status = os.waitpid(write(root, 0, 1, said), 0)
    known = acknowledged(said)
    there, wrong = read(root, known)
    told = os.waitstatus_to_exitcode(status) == 2
    subprocess.run(["mount", "-o", "remount,size=1m", str(root)], check=True)
    os.waitpid(write(root, len(known), 1, said, len(known) + 50), 0)  # goes on where there is room again
    more, more_wrong = read(root, acknowledged(said))
    lost = len(known) - there + (not told) + (len(known) + 50 - more)
    return {"acknowledged": len(known) + 50, "there": more, "wrong": wrong + more_wrong, "lost": lost}


def run(rounds: int, seed: int) -> dict[str, Any]:
    draw, found = random.Random(seed), {}
    for name in FAULTS:
        total: dict[str, int] = {"rounds": rounds}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                for what, count in fault(name, Path(folder), draw).items():
                    total[what] = total.get(what, 0) + count
        found[name] = total
        print(name, total, flush=True)
    return {
        "name": NAME,
        **results.origin(),
        "command": f"python benchmarks/store_faults.py --rounds {rounds} --seed {seed}",
        "seed": seed,
        "found": found,
    }


def page(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each fault."""
    item = found.get(results.file_of(NAME).name)
    if item is None:
        return []
    lines = ["", "## Faults in the store", "", "Bar: detected, nothing wrong read, nothing lost that was acknowledged."]
    lines += ["Of files that are cut or changed, the records whose bytes are hit are encoded again.", ""]
    lines += ["| fault | rounds | records acknowledged | there | wrong | lost |", "| --- |" + " --- |" * 5]
    for name, one in item["found"].items():
        cells = [one["rounds"], *(one.get(what, "-") for what in ("acknowledged", "there", "wrong", "lost"))]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return [*lines, "", f"    {item['command']}", "", f"[json](results/{results.file_of(NAME).name})"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = run(options.rounds, options.seed)
    if options.rounds >= ROUNDS:
        results.write(NAME, result)


if __name__ == "__main__":
    main()
