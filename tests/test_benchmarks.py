"""RESULTS.md is what the committed JSON results say, line for line."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[1] / "benchmarks"
FIELDS = {
    "case",
    "commit",
    "command",
    "seed",
    "machine",
    "seconds",
    "processor_seconds",
    "peak_mb",
    "chosen",
    "valid",
    "metrics",
}


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_run", HERE / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_what_the_results_say_and_nothing_else(benchmark: ModuleType) -> None:
    assert (HERE / "RESULTS.md").read_text() == benchmark.table()


def test_every_result_says_where_it_comes_from(benchmark: ModuleType) -> None:
    files = sorted((HERE / "results").glob("*.json"))
    assert files
    for path in files:
        result = json.loads(path.read_text())
        assert set(result) == FIELDS, path.name
        assert result["case"] in benchmark.cases()
        assert len(result["commit"].rstrip("+")) == 40
        assert result["command"].startswith("consilience train DATA/")
        for estimate in result["metrics"].values():
            assert set(estimate) == {"value", "low", "high", "n"}


def test_a_changed_figure_is_noticed(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (HERE / "results").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text().replace('"value": 0.', '"value": 0.1'))
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    assert benchmark.table() != (HERE / "RESULTS.md").read_text()
