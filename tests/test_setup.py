"""The files that install Consilience agree with each other and name no machine."""

from __future__ import annotations

import csv
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SET_UP = ("Makefile", "constraints.txt", "pyproject.toml", ".ci/run", "examples/demo/README.md", "examples/demo/make_table.py")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    found = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(found) == len(lines), "a package is pinned twice"
    return found


def test_torch_is_the_version_that_the_install_command_names():
    assert pins()["torch"] == "2.13.0"
    assert re.findall(r"torch==([0-9.]+)", (ROOT / "Makefile").read_text()) == ["2.13.0"]


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)])
def test_every_requirement_admits_its_pin(text: str):
    requirement = Requirement(text)
    assert requirement.specifier.contains(Version(pins()[canonicalize_name(requirement.name)]))


def test_everything_that_an_install_brings_is_pinned():
    waiting = [Requirement(text) for text in (*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra))]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        seen.add(canonicalize_name(requirement.name))
        for text in importlib.metadata.requires(requirement.name) or ():
            child = Requirement(text)
            wanted = any(child.marker is None or child.marker.evaluate({"extra": e}) for e in ("", *requirement.extras))
            own = re.match("cuda|nvidia|triton", child.name)  # a build of torch for GPUs pins the libraries that it brings
            if wanted and not own and canonicalize_name(child.name) not in seen:
                waiting.append(child)
    assert sorted(seen - set(pins())) == []


@pytest.mark.parametrize("name", SET_UP)
def test_set_up_files_name_no_registry_and_no_machine(name: str):
    text = (ROOT / name).read_text()
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|--trusted-host|/(?:work|opt|root|home|tmp)/", text) == []


def test_the_demo_table_keeps_a_picture_in_one_part_and_is_the_same_each_time(tmp_path: Path):
    pytest.importorskip("easy_vqa", reason="the demo extra is not installed")
    for folder in ("one", "two"):
        command = [sys.executable, str(ROOT / "examples/demo/make_table.py"), str(tmp_path / folder)]
        subprocess.run(command, check=True, capture_output=True)
    for name in ("table.csv", "test.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    rows, test = (
        list(csv.DictReader((tmp_path / "one" / name).read_text(encoding="utf-8").splitlines()))
        for name in ("table.csv", "test.csv")
    )
    assert test == [row for row in rows if row["split"] == "test"]
    parts = {(row["image"], row["split"]) for row in rows}
    assert len(parts) == len({image for image, _ in parts}) == 500
    assert all((tmp_path / "one" / image).is_file() for image, _ in parts)
    assert all(("images/test/" in image) == (part == "test") for image, part in parts)
    assert {row["answer"] for row in rows} == {row["answer"] for row in test}
    assert len({row["answer"] for row in test}) == 13
