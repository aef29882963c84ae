"""The tutorial of CONTRIBUTING.md is carried out as it stands: its files are written, its commands are run.

Its package is not installed, which would need a package index: a dist-info folder beside it, as an installer makes one from
its pyproject, is all that entry points are read from.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## A new modality and a new fusion")[2]
FILES: dict[str, str] = dict(re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL))
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)).replace("\\\n", "")
COMMANDS = [shlex.split(line) for line in SHELL.splitlines()]
MODULES = ("consilience_genes/dna.py", "consilience_genes/mean.py")


IN_ONE_PROCESS = """
import contextlib, io, json, sys
from consilience.cli import main

printed = []
for command in json.load(sys.stdin):
    sys.argv, caught, code = command, io.StringIO(), 0
    with contextlib.redirect_stdout(caught):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert not code, command
    printed.append(caught.getvalue())
json.dump(printed, sys.stdout)
"""
"""Runs `consilience` several times: to load torch and scikit-learn for each would take most of the time."""


@dataclass(frozen=True)
class Package:
    """Where the tutorial's files were written, and what its commands printed."""

    folder: Path
    printed: dict[str, str]

    def said(self, start: str) -> str:
        """What the one command that starts so printed."""
        (found,) = [text for command, text in self.printed.items() if command.startswith(start)]
        return found


def write_package(folder: Path) -> None:
    """The tutorial's files, and the dist-info that `pip install -e .` would leave."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    project = tomllib.loads(FILES["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    head = {"Metadata-Version": "2.1", "Name": project["name"], "Version": project["version"]}
    (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in head.items()))
    lines: list[str] = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def python(folder: Path, *arguments: str, given: str = "") -> str:
    """Standard output of Python with the tutorial's package on its path; fails where the program does."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    folder = tmp_path_factory.mktemp("genes")
    write_package(folder)
    wanted = {program: [command for command in COMMANDS if command[0] == program] for program in ("consilience", "python")}
    table, contract = wanted["python"]
    python(folder, *table[1:])
    cells = (folder / "genes.csv").read_text(encoding="utf-8")
    (folder / "flat.csv").write_text(re.sub(r",\d\.\d\d,", ",7.25,", cells), encoding="utf-8")
    commands = [*wanted["consilience"], shlex.split("consilience predict runs/kmers flat.csv --out runs/flat.csv")]
    found = json.loads(python(folder, "-c", IN_ONE_PROCESS, given=json.dumps(commands)))
    printed = dict(zip(map(shlex.join, commands), found, strict=True))
    printed["contract"] = python(folder, *(part.replace("path/to/consilience", str(ROOT)) for part in contract[1:]))
    return Package(folder, printed)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_tutorial_is_short() -> None:
    assert set(FILES) == {"pyproject.toml", "consilience_genes/__init__.py", *MODULES, "make_table.py"}
    code = [line for name in MODULES for line in FILES[name].splitlines() if line.strip()]
    assert len(code) <= 120


def test_the_new_modality_is_listed_with_its_package(package: Package) -> None:
    assert re.search(r"^ dna +consilience-genes +Sequences of A, C, G and T", package.said("consilience list"), re.MULTILINE)


def test_the_schema_gives_the_column_to_the_new_modality(package: Package) -> None:
    said = package.said("consilience inspect")
    sequence = r"^ sequence +input +sequence +dna +58 \(14\.5%\) +0 +size \d+ \.\. size \d+; .* cells are written in A, C,"
    assert re.search(sequence, said, re.MULTILINE)
    assert re.search(r"^ ph +input +ph +tabular, number +0 ", said, re.MULTILINE)


@pytest.mark.parametrize(("name", "encoders"), [("kmers", {}), ("bases", {"dna": "scratch"})])
def test_both_encoders_learn_with_the_new_fusion(package: Package, name: str, encoders: dict[str, str]) -> None:
    folder = package.folder / "runs" / name
    config = json.loads((folder / "predictors/fused/0/config.json").read_text())["config"]
    assert config["fusion"] == {"kind": "mean"}
    assert config["encoders"] == encoders
    accuracy = json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    assert accuracy["n"] == 60
    assert accuracy["value"] >= 0.7  # of two equally frequent classes: by chance once in a thousand


def test_every_row_is_answered_and_says_what_it_used(package: Package) -> None:
    answers = rows(package.folder / "runs/answers.csv")
    assert [row["row"] for row in answers] == [str(index) for index in range(400)]
    assert {row["prediction"] for row in answers} == {"yes", "no"}
    for index, row in enumerate(answers):
        expected = ("sequence,ph", "") if index % 7 else ("ph", "sequence: empty")
        assert (row["used"], row["reasons"]) == expected


def test_the_sequence_matters(package: Package) -> None:
    """Where all pH values are equal, what is right is right by the sequence."""
    answers, truth = rows(package.folder / "runs/flat.csv"), rows(package.folder / "flat.csv")
    pairs = [(row["prediction"], cell["hot"]) for row, cell in zip(answers, truth, strict=True) if cell["sequence"]]
    assert {cell["ph"] for cell in truth} == {"7.25"}
    assert len(pairs) == 342
    assert sum(answer == cell for answer, cell in pairs) >= 0.7 * len(pairs)


def test_the_new_fusion_keeps_the_contract(package: Package) -> None:
    passed = re.search(r"^(\d+) passed", package.said("contract"), re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 15
