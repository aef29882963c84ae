"""The short form of benchmarks/mutants.py, and that it can fail."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[1] / "benchmarks"
READERS = ("image", "audio", "series", "series files", "arrays", "text tables", "binary tables", "recipe", "run", "checkpoint")
READERS += ("checkpoint behind its digest", "training")
MUTANTS = 200

BREAKING = """
import os, sys, time
first, said = int(sys.argv[4]), open(sys.argv[6], "ab", buffering=0)
for number in range(first, 6):
    said.write(f"{number}\\t".encode())
    if number == 1:
        os.kill(os.getpid(), 11)
    if number == 3:
        time.sleep(100)
    said.write(b"FAILED: KeyError at x.py:1: 'y'\\n" if number == 2 else b"read\\n")
    if number == 4:
        os._exit(3)
"""


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(HERE))
    yield importlib.import_module("mutants")


def test_every_reader_is_tried(mutants: ModuleType) -> None:
    assert tuple(mutants.READERS) == READERS


@pytest.mark.parametrize("name", READERS)
def test_mutants_are_read_or_refused(mutants: ModuleType, name: str, tmp_path: Path) -> None:
    seeds, read = mutants.READERS[name](tmp_path)
    assert [mutants.outcome(read, place, data) for place, data in enumerate(seeds)] == ["read"] * len(seeds)
    # Seed 7: another part of the mutants than that of the long form.
    outcomes = Counter(mutants.outcome(read, *mutants.mutant(name, seeds, 7, number)) for number in range(MUTANTS))
    assert not [what for what in outcomes if what.startswith("FAILED")]
    assert len(outcomes) > 1 or name == "checkpoint"  # whose digest lets nothing through


def test_a_mutant_can_be_made_again(mutants: ModuleType) -> None:
    seeds = [b"\0abcdefgh" * 9, b'{"a": [1, 2]}']
    made = [mutants.mutant("x", seeds, 0, number) for number in range(50)]
    assert made == [mutants.mutant("x", seeds, 0, number) for number in range(50)]
    assert len(set(made)) > 45
    assert made != [mutants.mutant("x", seeds, 1, number) for number in range(50)]


def test_what_is_no_error_of_ours_is_a_failure(mutants: ModuleType) -> None:
    def read(place: int, data: bytes) -> str:
        raise KeyError(data)

    assert mutants.outcome(read, 0, b"x").startswith("FAILED: KeyError")


def test_what_ends_or_hangs_a_process_is_a_failure_and_the_next_goes_on(
    mutants: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "breaking.py"
    script.write_text(BREAKING)
    monkeypatch.setattr(mutants, "DEADLINE", 1.0)
    found = mutants.run_reader("x", 6, 0, (sys.executable, str(script)))
    assert found["read"] == 3  # 0, 4 and 5
    assert found["failures"] == [
        "1: ended with -11",
        "2: FAILED: KeyError at x.py:1: 'y'",
        "3: took too long",
        f"4: more than {mutants.MEMORY >> 20} MiB",
    ]


@pytest.mark.parametrize("name", ["arrays", "npy", "messages", "checkpoints", "lists", "records", "trees", "run", "recipe"])
def test_what_the_fuzzer_begins_with_is_read(monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    fuzz = importlib.import_module("fuzz_loaders")
    assert name in fuzz.TARGETS
    assert sum(fuzz.TARGETS.values()) == 1_000_000
    read, _, seeds = fuzz.target(name, tmp_path)
    for data in seeds:
        assert len(data) <= fuzz.LENGTH, "the fuzzer would begin with a part of it"
        read(data)


def test_a_loader_that_is_not_reached_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    fuzz = importlib.import_module("fuzz_loaders")
    script = tmp_path / "said.py"
    head = "import sys; print('stat::number_of_executed_units: ' + sys.argv[3]); print("
    for line, edges, failed in (
        ("'#2 INITED exec/s: 0'", [0, 0], True),  # nothing of ours was run
        ("'#2 INITED cov: 40 ft: 40'); print('#9 DONE   cov: 61 ft: 70'", [40, 61], False),
    ):
        script.write_text(f"{head}{line})")
        found = fuzz.run_target("trees", 9, 1, (sys.executable, str(script)))
        assert (found["runs"], found["edges"], bool(found["failure"])) == (9, edges, failed)
