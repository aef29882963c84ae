"""The short form of `benchmarks/fuzz_tables.py`: any table is read as it stands, or refused with an error of ours."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from consilience.data import table as module

EXAMPLES = {"text": 60, "json": 60, "arrow": 60, "inspect": 12, "fit": 5}


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("fuzz_tables")


@pytest.mark.parametrize("name", EXAMPLES)
def test_any_table_is_read_or_refused(name: str, fuzz: ModuleType) -> None:
    assert set(EXAMPLES) == set(fuzz.PROPERTIES)
    refused, tried = fuzz.explore(name, EXAMPLES[name], seed=0)
    assert tried >= EXAMPLES[name]
    assert refused.total() < 0.9 * tried, "hardly anything was read"


@pytest.mark.parametrize("fault", ["a cell is changed", "a row is lost", "another error"])
def test_a_fault_is_found(fault: str, fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    read = module.read_table

    def faulty(*args: Any) -> Any:
        if fault == "another error":
            raise KeyError("x")
        table = read(*args)
        if fault == "a row is lost":
            return read(table.data.slice(1))
        texts = [pa.array([f"{cell}!" for cell in column.to_pylist()]) for column in table.data.columns]
        return read(pa.table(texts, table.names))

    monkeypatch.setattr(fuzz, "read_table", faulty)
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        fuzz.explore("text", 30, seed=0)


@pytest.mark.parametrize(
    ("found", "wanted", "equal"),
    [
        (None, "", True),
        (None, float("nan"), True),
        (1.0, 1, True),
        ("[1]", [1], True),
        ("1", 1, True),
        ("a", "b", False),
        (None, "a", False),
        ([1, None], [1, ""], True),
        ([1], [1, 2], False),
        ({"x": 1, "y": None}, {"x": 1}, True),
        ({"x": 1}, {"x": 2}, False),
        (" ", "", False),
    ],
)
def test_what_counts_as_the_same_cell(found: Any, wanted: Any, equal: bool, fuzz: ModuleType) -> None:
    assert fuzz.same(found, wanted) is equal
