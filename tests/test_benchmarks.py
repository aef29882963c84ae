"""RESULTS.md is what the committed JSON results say, line for line."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = (
    "results",
    "run",
    "folds",
    "damage",
    "rates",
    "audit_faults",
    "fuzz_tables",
    "mutants",
    "inspect_time",
    "encode",
    "loop",
    "size",
    "kill",
    "pins",
)
EVERY = {"commit", "command", "seed", "machine"}
"""What every result says, whatever script made it."""

CASE = EVERY | {"case", "seconds", "processor_seconds", "peak_mb", "chosen", "valid", "metrics"}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The benchmark scripts as modules; they import each other as scripts of one folder do."""
    monkeypatch.syspath_prepend(str(HERE))
    yield {name: importlib.import_module(name) for name in SCRIPTS}


def test_the_page_holds_what_the_results_say_and_nothing_else(scripts: dict[str, ModuleType]) -> None:
    assert (HERE / "RESULTS.md").read_text() == scripts["results"].page()


def test_every_result_says_where_it_comes_from_and_stands_on_the_page(scripts: dict[str, ModuleType]) -> None:
    files = sorted((HERE / "results").glob("*.json"))
    assert files
    page = (HERE / "RESULTS.md").read_text()
    for path in files:
        result = json.loads(path.read_text())
        assert set(result) >= EVERY, path.name
        assert len(result["commit"].rstrip("+")) == 40
        assert result["command"].startswith(("consilience train DATA/", "consilience inspect DATA/", "python benchmarks/"))
        assert path == scripts["results"].file_of(result.get("case") or result["name"])
        assert f"({path.parent.name}/{path.name})" in page, f"{path.name} is not on the page"
        if "case" in result:
            assert set(result) == CASE, path.name
            assert result["case"] in scripts["run"].cases()
        for estimate in result.get("metrics", {}).values():
            assert set(estimate) == {"value", "low", "high", "n"}


def test_a_changed_figure_is_noticed(scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (HERE / "results").glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text().replace('"value": 0.', '"value": 0.1'))
    monkeypatch.setattr(scripts["results"], "RESULTS", tmp_path)
    assert scripts["results"].page() != (HERE / "RESULTS.md").read_text()


@pytest.mark.parametrize(
    ("version", "hit"),
    [("1.0", False), ("1.2", True), ("1.4", False), ("2.0", True), ("3.0", True), ("3.1", False), ("9", True)],
)
def test_a_pin_is_affected_where_a_range_holds_it(scripts: dict[str, ModuleType], version: str, hit: bool) -> None:
    spans = [
        {"type": "ECOSYSTEM", "events": [{"introduced": "1.1"}, {"fixed": "1.4"}]},
        {"type": "ECOSYSTEM", "events": [{"introduced": "2"}, {"last_affected": "3.0"}]},
        {"type": "GIT", "events": [{"introduced": "0"}]},
    ]
    pins = scripts["pins"]
    assert pins.affected(pins.Version(version), {"ranges": spans, "versions": ["9.0"]}) == hit


def test_pins_are_read_from_the_constraints(scripts: dict[str, ModuleType]) -> None:
    found = scripts["pins"].pins("# word\nTorch_x==2.13.0  # why\na==1; python_version > '3'\n\n")
    assert {name: str(version) for name, version in found.items()} == {"torch-x": "2.13.0", "a": "1"}
