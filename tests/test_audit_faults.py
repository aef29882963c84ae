"""Planted faults are found and named, each is settled by the setting that its finding names, and clean tables have none.

The benchmark script says how often, over many tables.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from consilience.evidence import audit as module
from consilience.evidence.audit import KINDS, columns, files, target, values
from consilience.recipe import setting

HERE = Path(__file__).parents[1] / "benchmarks"

FEW = ("duplicate rows", "copy of the target")
QUICK = {kind for part in (columns, values, files, target) for kind in part.KINDS}
"""Kinds whose checks are quick enough for one fault of each to be planted here."""

SEED, CLEAN = 2000, (2500, 2501)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    monkeypatch.syspath_prepend(str(HERE))
    yield {name: importlib.import_module(name) for name in ("audit_faults", "audit_plants", "audit_tables")}


def faults(quick: bool) -> list[str]:
    """The first fault of each of the quick kinds, or all other faults."""
    sys.path.insert(0, str(HERE))  # the fixtures are not there yet when tests are gathered
    try:
        plants = importlib.import_module("audit_plants").PLANTS
    finally:
        sys.path.remove(str(HERE))
    first = {plant.kind: name for name, plant in reversed(plants.items()) if plant.kind in QUICK}
    return [name for name, plant in plants.items() if (first.get(plant.kind) == name) == quick]


def settled(scripts: dict[str, ModuleType], name: str, folder: Path, **needs: Any) -> None:
    """The fault is found and named, and gone with the setting that its finding names."""
    plant = scripts["audit_plants"].PLANTS[name]
    made, column = replace(plant, needs=plant.needs | needs).into(SEED, folder)
    findings = scripts["audit_faults"].findings
    found = [one for one in findings(made) if one.kind == plant.kind and (column is None or column in one.columns)]
    assert found, f"{name} is not found"
    assert found[0].found
    assert len(found[0].rows) <= 10
    after = findings(replace(made, settings=(*made.settings, setting(found[0].setting))))
    assert (found[0].kind, found[0].columns) not in [(one.kind, one.columns) for one in after], found[0].setting


def test_there_is_a_fault_of_every_kind(scripts: dict[str, ModuleType]) -> None:
    assert {plant.kind for plant in scripts["audit_plants"].PLANTS.values()} == set(KINDS)


@pytest.mark.parametrize("name", FEW)
def test_faults_are_found_and_settled(name: str, scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    settled(scripts, name, tmp_path, most=300)


@pytest.mark.parametrize("name", faults(quick=True))
def test_faults_of_cells_and_target(
    name: str, scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKS", tuple(check for part in (columns, values, files, target) for check in part.CHECKS))
    settled(scripts, name, tmp_path, most=240)


@pytest.mark.slow
@pytest.mark.parametrize("name", faults(quick=False))
def test_all_other_faults(name: str, scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    settled(scripts, name, tmp_path)


@pytest.mark.parametrize("seed", CLEAN)
def test_clean_tables(seed: int, scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    assert scripts["audit_faults"].findings(scripts["audit_tables"].clean(seed, tmp_path, most=300)) == []


def test_the_page_says_what_was_missed(scripts: dict[str, ModuleType]) -> None:
    script = scripts["audit_faults"]
    item = {
        "command": "python benchmarks/audit_faults.py --seeds 2 --clean 3",
        "faults": {
            "one": {"kind": "empty-column", "tables": 2, "found": 2, "missed": []},
            "two": {"kind": "spellings", "tables": 2, "found": 1, "missed": [1]},
        },
        "clean": {"tables": 3, "with findings": 1, "findings": {"spellings: x": 1}},
    }
    page = "\n".join(script.page({script.results.file_of(script.NAME).name: item}))
    assert f"| 2 | 2 of {len(KINDS)} | 1 | 3 | 1 |" in page
    assert "two (1 of 2)" in page
    assert "spellings: x" in page
    assert script.page({}) == []
